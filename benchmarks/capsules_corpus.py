"""Functions of other people's modules, called as their doctests call them, stopped and resumed over and over."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sidestep.sharding.codec import Refused, canonical, clone, pack, unpack
from sidestep.sharding.resume import Program, Suspended, suspender

#: calls of one function, steps between stops, stops of one call, seconds of one call
CALLS, STEPS, STOPS, SECONDS = 3, (1, 3, 10, 200), 60, 10


@dataclass
class Outcome:
    """What was found in one module, or in all."""

    modules: int = 0
    unread: int = 0
    loops: int = 0
    resumable: int = 0
    tested: int = 0
    stopped: int = 0
    hops: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class _Late(BaseException):
    pass


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def recorded(source: str, names: frozenset[str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The module's names, and arguments (copies) with which its doctests call these functions."""
    namespace: dict[str, Any] = {"__name__": "corpus_module"}
    exec(compile(source, "<corpus>", "exec", dont_inherit=True), namespace)
    calls: dict[str, list[Any]] = {}

    def watch(name: str, original: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            some = calls.setdefault(name, [])
            if len(some) < CALLS:
                with contextlib.suppress(Refused, RecursionError):
                    some.append(clone((args, kwargs)))
            return original(*args, **kwargs)

        return called

    watched = {**namespace, **{name: watch(name, namespace[name]) for name in names if callable(namespace.get(name))}}
    runner = doctest.DocTestRunner(verbose=False)
    for name in [*names, "__module__"]:
        text = namespace.get("__doc__") if name == "__module__" else getattr(namespace.get(name), "__doc__", None)
        test = doctest.DocTestParser().get_doctest(text or "", dict(watched), name, None, 0)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(_Late, Exception), within(SECONDS):
            runner.run(test, out=lambda _: None)
    return namespace, calls


def result(run: Any) -> Any:
    try:
        value = run()
    except Exception as error:  # noqa: BLE001  whatever the function raises is its result
        return "raised", type(error).__name__, str(error)
    try:
        return canonical(value)
    except Refused:
        return None


def resumed(program: Program, name: str, call: Any, step: int, outcome: Outcome) -> Any:
    """The result with a stop at every ``step``-th loop head."""
    args, kwargs = clone(call)  # type: ignore[misc]
    captured, stops = None, 0
    while True:
        asks: Any = suspender(program)
        try:
            if stops < STOPS:
                asks.request(skip=step)
            return program.run(name, *args, **kwargs) if captured is None else program.resume(captured)
        except Suspended as stopped:
            captured, stops = unpack(pack(stopped.captured)), stops + 1
            outcome.hops += 1
        finally:
            if asks.refused is not None:
                code = asks.refused[0]
                outcome.refused[code] = outcome.refused.get(code, 0) + 1
            asks.close()


def module(path: Path) -> Outcome:
    """One module; meant for a process of its own."""
    outcome = Outcome(modules=1)
    source = path.read_text(encoding="utf-8")
    try:
        with contextlib.redirect_stdout(io.StringIO()), within(60):
            bare = Program(source, namespace={})
            plain, calls = recorded(source, bare.source.resumable)
            program = Program(source, name="corpus_module")
    except (Exception, SystemExit, _Late):  # noqa: BLE001  other people's modules
        outcome.unread = 1
        return outcome
    outcome.resumable = len(program.source.resumable)
    outcome.loops = outcome.resumable + len(program.source.refused)
    for name, some in calls.items():
        before, tested = outcome.hops, False
        for call in some:
            with contextlib.suppress(_Late), contextlib.redirect_stdout(io.StringIO()), within(SECONDS):
                expected, again = (result(partial(_called, plain[name], call)) for _ in range(2))
                if expected is None or expected != again:
                    continue
                tested = True
                for step in STEPS:
                    found = result(partial(resumed, program, name, call, step, outcome))
                    if found != expected:
                        outcome.wrong.append(f"{path.name}:{name}, a stop at every {step}: another result")
        outcome.tested += tested
        outcome.stopped += outcome.hops > before
    return outcome


def _called(function: Any, call: Any) -> Any:
    args, kwargs = clone(call)  # type: ignore[misc]
    return function(*args, **kwargs)


def corpus(folder: Path, limit: int) -> Outcome:
    """All modules of a folder, each in a process of its own."""
    total, refused = Outcome(), Counter[str]()
    for path in sorted(folder.rglob("*.py"))[:limit]:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.capsules_corpus", str(path)],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=600, check=True,
            )  # fmt: skip
            one = Outcome(**json.loads(done.stdout.splitlines()[-1]))
        except (subprocess.SubprocessError, ValueError, IndexError):
            one = Outcome(modules=1, unread=1)
        for key in ("modules", "unread", "loops", "resumable", "tested", "stopped", "hops"):
            setattr(total, key, getattr(total, key) + getattr(one, key))
        refused.update(one.refused)
        total.wrong += one.wrong
    total.refused = dict(refused.most_common())
    return total


if __name__ == "__main__":
    print(json.dumps(asdict(module(Path(sys.argv[1])))))
