"""One file of public Python: every function analysed, every accepted loop run as shards with recorded arguments.

Run as a process of its own (``python -m benchmarks.sharder_corpus FILE``): it imports the file, records arguments of
calls that its doctests, ``# runas`` comments and tests without arguments make, and prints one line of JSON.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import doctest
import functools
import importlib.util
import io
import json
import random
import re
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.sharder_exact import TooLong, within
from sidestep.sharding import codec
from sidestep.sharding.analysis.attributes import hoisted
from sidestep.sharding.analysis.function import analysed
from sidestep.sharding.analysis.source import Source, read
from sidestep.sharding.execute.local import InProcess
from sidestep.sharding.execute.planned import CannotPlan, Prepared, Sharded, compiled, prepare, rebuilt
from sidestep.sharding.loops.classify import classify_all
from sidestep.sharding.loops.verdict import Verdict

SAMPLES, SECONDS, PARTS = 4, 3.0, (2, 3, 7)
Sample = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(slots=True)
class Loop:
    """A loop: its verdict, whether its shards left the same, whether its order is seen, and whether it can be."""

    line: int
    kind: str
    codes: list[str]
    ran: str = ""
    sharded: int = 0
    fallbacks: list[str] = field(default_factory=list)
    order: str = ""
    visible: bool = False


@dataclass(slots=True)
class Found:
    """What one file held."""

    file: str
    error: str = ""
    functions: int = 0
    with_loops: int = 0
    crashes: list[str] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    mismatches: list[str] = field(default_factory=list)


def snapshot(value: Any) -> object:
    """A value bit for bit; plain instances by their attributes. Raises codec.Refused."""
    kind = type(value)
    if kind in (list, tuple) and any(hasattr(v, "__dict__") for v in value):
        return [kind.__name__, *(snapshot(v) for v in value)]
    if hasattr(value, "__dict__") and kind.__module__ == "corpus_module":
        return [kind.__name__, snapshot(sorted(vars(value).items()))]
    return codec.canonical(value)


def leaves(function: Callable[..., Any], sample: Sample) -> object:
    """What a call on a copy of a sample leaves; None when that is outside the universe."""
    args, kwargs = copy.deepcopy(sample)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            value = function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the corpus may raise anything
        value = (type(error).__name__, str(error))
    try:
        return snapshot((value, list(args), kwargs))
    except codec.Refused:
        return None


def samples_of(path: Path, source: Source) -> tuple[types.ModuleType, dict[str, list[Sample]]]:
    """Import the file and record arguments of its own functions."""
    sys.path[:0] = [str(path.parent)]
    spec = importlib.util.spec_from_file_location("corpus_module", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["corpus_module"] = module
    spec.loader.exec_module(module)
    recorded: dict[str, list[Sample]] = {}
    originals = dict[str, Any]()
    for name in source.functions:
        holder: Any = module
        *owners, leaf = name.split(".")
        for owner in owners:
            holder = getattr(holder, owner, None)
        function = vars(holder).get(leaf) if holder is not None else None
        if isinstance(function, types.FunctionType):
            originals[name] = (holder, leaf, function)
            setattr(holder, leaf, _recorder(function, recorded.setdefault(name, [])))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        _exercise(module, source)
    for holder, leaf, function in originals.values():
        setattr(holder, leaf, function)
    return module, recorded


def _recorder(function: types.FunctionType, into: list[Sample]) -> Callable[..., Any]:
    @functools.wraps(function)
    def record(*args: Any, **kwargs: Any) -> Any:
        if len(into) < SAMPLES:
            with contextlib.suppress(Exception):
                into.append(copy.deepcopy((args, kwargs)))
        return function(*args, **kwargs)

    return record


def _exercise(module: types.ModuleType, source: Source) -> None:
    """Make the file call its functions, by whatever it brings along."""
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    with contextlib.suppress(TooLong), within(4 * SECONDS):
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, "corpus_module"):
            runner.run(test, clear_globs=False)
    for text in re.findall(r"^#\s*runas\s+(.*)$", source.text, re.M):
        with contextlib.suppress(Exception, TooLong), within(SECONDS):
            exec(text, vars(module))
    for name, node in source.functions.items():
        if name.startswith("test") and "." not in name and not node.args.args:
            with contextlib.suppress(Exception, TooLong, SystemExit), within(SECONDS):
                getattr(module, name)()


def examine(path: Path, *, execute: bool = True) -> Found:
    """Analyse a file, and run it when it can be."""
    found = Found(str(path))
    try:
        source = read(path.read_text(encoding="utf-8", errors="replace"))
    except (SyntaxError, ValueError, RecursionError) as error:
        found.error = f"no Python: {type(error).__name__}"
        return found
    module, recorded = None, dict[str, list[Sample]]()
    if execute:
        try:
            module, recorded = samples_of(path, source)
        except (Exception, SystemExit, TooLong) as error:  # noqa: BLE001
            found.error = f"no import: {type(error).__name__}: {error}"[:160]
    for name, node in source.functions.items():
        found.functions += 1
        if isinstance(node, ast.AsyncFunctionDef):
            continue
        try:
            verdicts = classify_all(analysed(source, hoisted(node).node))
        except Exception as error:  # noqa: BLE001 - what is counted here
            found.crashes.append(f"{name} line {node.lineno}: {type(error).__name__}: {error}"[:200])
            continue
        found.with_loops += any(isinstance(v.node, ast.For) for v in verdicts)
        samples = [s for s in recorded.get(name, []) if _quick(module, name, s)]
        if module is not None and samples:
            _run_all(found, module, name, samples, source.text)
        else:
            found.loops += [_loop(v) for v in verdicts if isinstance(v.node, ast.For)]
    return found


def _function(module: types.ModuleType | None, name: str) -> types.FunctionType | None:
    one: Any = module
    for part in name.split("."):
        one = vars(one).get(part) if one is not None else None
    return one if isinstance(one, types.FunctionType) else None


def _quick(module: types.ModuleType | None, name: str, sample: Sample) -> bool:
    function = _function(module, name)
    if function is None:
        return False
    try:
        with within(0.5):
            return leaves(function, sample) is not None
    except BaseException:  # noqa: BLE001 - TooLong, SystemExit: not a sample
        return False


def _loop(verdict: Verdict) -> Loop:
    return Loop(verdict.line, verdict.kind, sorted({why.code for why in verdict.refusals}))


def _run_all(found: Found, module: types.ModuleType, name: str, samples: Sequence[Sample], text: str) -> None:
    """Every loop of a function: as shards when accepted, in other orders when not."""
    function = _function(module, name)
    assert function is not None
    merged = dict[tuple[int, int], Loop]()
    for sample in samples:
        try:
            prepared = prepare(function, *copy.deepcopy(sample), text=text)
        except (CannotPlan, TypeError):
            continue
        try:
            with within(4 * SECONDS):
                expected = leaves(function, sample)
                if expected is None or leaves(function, sample) != expected:
                    continue
                for verdict in prepared.verdicts:
                    if isinstance(verdict.node, ast.For):
                        key = verdict.line, verdict.node.col_offset
                        loop = merged.setdefault(key, _loop(verdict))
                        _one(found, prepared, verdict, sample, expected, loop, f"{name}:{verdict.line}")
        except TooLong:
            continue
    found.loops += merged.values()


def _one(
    found: Found, prepared: Prepared, verdict: Verdict, sample: Sample, expected: object, loop: Loop, where: str
) -> None:
    loop.visible = loop.visible or _visible(prepared, verdict, sample, expected)
    if verdict.accepted:
        if not loop.ran:
            loop.ran, loop.kind = "same", verdict.kind
        for parts in PARTS:
            made, totals = Sharded.of(prepared, [verdict]).bound(InProcess(parts))
            if leaves(made, sample) != expected:
                loop.ran = "MISMATCH"
                found.mismatches.append(f"{where} in {parts}")
            loop.sharded += totals.sharded
            loop.fallbacks = sorted({*loop.fallbacks, *totals.fallbacks})[:4]
    elif loop.order != "seen":
        loop.order = _order(prepared, verdict, sample, expected, loop.order)


def _turned(prepared: Prepared, verdict: Verdict, turns: Callable[[Any], list[Any]]) -> Callable[..., Any]:
    """The function with a loop that goes over other turns."""
    node = verdict.node
    assert isinstance(node, ast.For)
    call = ast.Call(ast.Name("_sd_other", ast.Load()), [copy.deepcopy(node.iter)], [])
    loop = ast.For(copy.deepcopy(node.target), call, copy.deepcopy(node.body), copy.deepcopy(node.orelse), None)
    return rebuilt(prepared, compiled(prepared, {id(node): [loop]}, "_sd_other"), turns)


def _visible(prepared: Prepared, verdict: Verdict, sample: Sample, expected: object) -> bool:
    """Whether the oracle can see an order: turns can be told apart, and something else is left when there are none."""
    node = verdict.node
    assert isinstance(node, ast.For)
    bound = {one.id for one in ast.walk(node.target) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    read = {one.id for part in node.body for one in ast.walk(part) if isinstance(one, ast.Name)}
    if isinstance(node.target, ast.Name | ast.Tuple) and not bound & read:
        return False
    return leaves(_turned(prepared, verdict, lambda _: []), sample) != expected


def _order(prepared: Prepared, verdict: Verdict, sample: Sample, expected: object, before: str) -> str:
    """Whether iterating backwards or shuffled leaves something else: a bound on how much more could be accepted."""
    lengths = list[int]()
    for shuffle in (False, True):
        chance = random.Random(5)

        def other(iterable: Any, chance: random.Random = chance, shuffle: bool = shuffle) -> list[Any]:
            items = list(iterable)
            lengths.append(len(items))
            if shuffle:
                chance.shuffle(items)
            else:
                items.reverse()
            return items

        if leaves(_turned(prepared, verdict, other), sample) != expected:
            return "seen"
    return "unseen" if any(n > 2 for n in lengths) else before


if __name__ == "__main__":
    print(json.dumps(asdict(examine(Path(sys.argv[1]), execute="--static" not in sys.argv))))
