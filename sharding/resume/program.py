"""The resumable functions of one module: run from the start, captured at a loop head, run on from there."""

from __future__ import annotations

import ast
import builtins
import dis
import random
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FrameType, FunctionType, MappingProxyType, ModuleType
from typing import Any, Final

import numpy as np

from sidestep.fleet.capsules import CHUNK
from sidestep.sharding.codec import Damaged, Encoded, Sets, decode, encode
from sidestep.sharding.resume.lines import CALL_COLUMN, Lines
from sidestep.sharding.resume.module import Source
from sidestep.sharding.resume.ranges import Bounds
from sidestep.sharding.resume.transform import DUMMY, ITER, PC, RT, Position, Resumable, iterator

#: values that cannot change, or that count as code
_CONSTANT: Final = (
    type(None), bool, int, float, complex, str, bytes, range, type, ModuleType, FunctionType, type(len), np.ufunc,
    np.dtype, np.generic,
)  # fmt: skip
_HARMLESS: Final = frozenset({"re", "typing", "types", "logging", "functools", "operator", "abc", "enum", "__future__"})
#: iterators over ranges
_RANGES: Final = (type(iter(range(0))), type(iter(range(1 << 70))))
_NEXT, _EXTENDED = dis.opmap["FOR_ITER"], dis.opmap["EXTENDED_ARG"]
_State = tuple[list[tuple[str, int, dict[str, object]]], dict[str, Any]]


class Unsuited(Exception):
    """A capture at this place, or of this program, is not possible; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Program:
    """The functions of one module in resumable form.

    They replace the module's own in ``namespace``, which is made by running the module if none is given. ``trusted``
    are modules besides numpy and the standard library that keep no state which results depend on.
    """

    def __init__(
        self,
        source: str,
        *,
        name: str = "sidestep_program",
        namespace: dict[str, Any] | None = None,
        trusted: frozenset[str] = frozenset(),
        sets: Sets = Sets.EXACT,
    ) -> None:
        self.source = Source(source, f"<{name}>")
        self._sets = sets
        self.namespace = namespace if namespace is not None else _run(source, name)
        self._codes: dict[CodeType, str] = {}
        self._lines: dict[str, Lines] = {}
        self.positions: dict[int, Position] = {}
        #: where the last capture stands: the innermost function, its line, the position's number
        self.where = ("", 0, 0)
        self._bounds: dict[str, Bounds] = {}
        self._random = self.source.random()
        self._foreign = sorted(self.source.foreign() - trusted)
        self._transform()
        self._reach: dict[str, tuple[frozenset[str], tuple[str, ...], str]] = {}
        self._depth = 0
        self._entry = ""

    @property
    def digest(self) -> bytes:
        """16 bytes that are another for another program (comments and layout do not count)."""
        return self.source.digest

    @property
    def codes(self) -> Mapping[CodeType, str]:
        """Names of the functions by their new code."""
        return MappingProxyType(self._codes)

    def _transform(self) -> None:
        self.namespace[ITER] = builtins.iter
        self.namespace[DUMMY] = lambda function: (None,) * function.__code__.co_argcount
        first, line = 1, 0
        for name in sorted(self.source.resumable):
            was = self.namespace.get(name)
            if not isinstance(was, FunctionType):
                continue
            names = self.source.local_names(name)
            form = Resumable(
                self.source.function(name), names, self.source.resumable - names, first,
                ranges="range" not in self.namespace,
            )  # fmt: skip
            first += len(form.positions)
            lines = Lines(form.tree, form.marked, line)
            line = lines.last
            code = compile(ast.Module([form.tree], []), f"<resumable {name}>", "exec", dont_inherit=True)
            exec(code, self.namespace)  # noqa: S102  the user's own program, on the host that runs it
            now = self.namespace[name]
            now.__defaults__ = was.__defaults__
            now.__kwdefaults__ = {**(was.__kwdefaults__ or {}), RT: None}
            self._codes[now.__code__] = name
            self._lines[name] = lines
            self.positions.update(form.positions)
            self._bounds.update(form.bounds)

    def run(self, function: str, *args: object, **kwargs: object) -> Any:
        """Run a function from its start. Raises what it raises, and Suspended."""
        return self._enter(function, args, kwargs)

    def resume(self, captured: Encoded) -> Any:
        """Run on from a capture. Raises Damaged, what the function raises, and Suspended."""
        return self.ready(captured)()

    def ready(self, captured: Encoded, *, copy: bool = True) -> Callable[[], Any]:
        """What runs on from a capture, once, with everything decoded. Raises Damaged.

        Without a copy its arrays stay in the capture's memory where they can, which is then the program's.
        """
        frames, around = self._decoded(captured, copy=copy)
        return lambda: self._go_on(frames, around)

    def _go_on(self, frames: list[tuple[str, int, dict[str, object]]], around: dict[str, Any]) -> Any:
        self._restore(around)
        chain: Any = None
        for _, position, values in reversed(frames):
            chain = (position, values, chain)
        name = frames[0][0]
        function = self.namespace[name]
        keywords = {one.arg: None for one in self.source.function(name).args.kwonlyargs}
        # From here on the frames alone hold the values, as in a run that was never stopped.
        count = function.__code__.co_argcount
        frames.clear()
        return self._enter(name, (None,) * count, {**keywords, RT: chain})

    def _enter(self, function: str, args: tuple[object, ...], kwargs: dict[str, Any]) -> Any:
        if self._depth == 0:
            self._entry = function
        self._depth += 1
        try:
            return self.namespace[function](*args, **kwargs)
        finally:
            self._depth -= 1

    def at_head(self, code: CodeType, line: int) -> bool:
        """Whether a line of new code is a loop head where a capture may begin."""
        name = self._codes.get(code)
        number = self._lines[name].heads.get(line) if name is not None else None
        return number is not None and self.positions[number].stop

    def capture(self, frame: FrameType) -> Encoded:
        """The state at a loop head, as views of living memory. Raises Unsuited, or Refused by the codec."""
        frames: list[tuple[str, int, dict[str, object]]] = []
        one: FrameType | None = frame
        while one is not None and (name := self._codes.get(one.f_code)) is not None:
            position = self._position(name, one, frames[-1][0] if frames else "")
            values = one.f_locals
            if not frames and values.get(PC):
                raise Unsuited("resuming", "it has not arrived where it was yet")
            live = {name: values[name] for name in position.live if name in values}
            live.update(self._nameless(name, one, values))
            self.where = self.where if frames else (name, position.line, position.id)
            _iterate(live, position, one, values)
            frames.append((name, position.id, live))
            one = one.f_back
        # A foreign frame in between (a generator, a sort key, a caller that is not of the program) would be dropped,
        # and with it the outer part of the computation.
        if one is None or one.f_code is not Program._enter.__code__ or self._depth != 1:
            raise Unsuited("foreign-frame", "something else is between the calls")
        frames.reverse()
        return encode((frames, self._around()), sets=self._sets, grain=CHUNK)

    def _position(self, name: str, frame: FrameType, callee: str) -> Position:
        lines = self._lines[name]
        number = (lines.calls if callee else lines.heads).get(frame.f_lineno)
        if number is None:
            raise Unsuited("call-site", f"{name} cannot be left where it is")
        position = self.positions[number]
        if callee:
            places = list(frame.f_code.co_positions())
            column = places[frame.f_lasti // 2][2] if frame.f_lasti // 2 < len(places) else None
            if position.callee != callee or column != CALL_COLUMN:
                raise Unsuited("call-site", f"{callee} is called from {name} where it cannot be left")
        return position

    def _nameless(self, name: str, frame: FrameType, values: Mapping[str, Any]) -> dict[str, range]:
        """The ranges around a frame's line that have no name in this copy. Raises Unsuited."""
        found: dict[str, range] = {}
        for one in self._lines[name].nameless[frame.f_lineno]:
            over = self._bounds[one].value(values)
            if over is None:
                raise Unsuited("iterator", f"{name} loops over a range that cannot be told")
            found[one] = over
        return found

    def _around(self) -> dict[str, Any]:
        """State outside the frames: of the module, of defaults, of random numbers. Raises Unsuited."""
        names, functions, why = self._reached(self._entry)
        if why:
            raise Unsuited(*why.split("|", 1))
        held = {name: self.namespace[name] for name in sorted(names) if name in self.namespace}
        around: dict[str, Any] = {}
        if held:
            around["globals"] = held
        defaults = {}
        for name in functions:
            one = self.namespace.get(name)
            if isinstance(one, FunctionType):
                pair = (one.__defaults__ or (), {k: v for k, v in (one.__kwdefaults__ or {}).items() if k != RT})
                if not all(map(_constant, (*pair[0], *pair[1].values()))):
                    defaults[name] = pair
        if defaults:
            around["defaults"] = defaults
        if self._random:
            around["random"] = random.getstate()
            if "numpy.random" in sys.modules:
                around["numpy.random"] = np.random.get_state(legacy=True)
        return around

    def _reached(self, entry: str) -> tuple[frozenset[str], tuple[str, ...], str]:
        if entry not in self._reach:
            reached = self.source.reached(frozenset({entry}))
            named, rebound = self.source.state_names(reached)
            why = ""
            if stored := self.source.stores_attributes(reached):
                why = f"{stored.code}|line {stored.line}: {stored.text}"
            elif self._foreign:
                why = f"foreign|it uses {', '.join(self._foreign)}, which may keep state of their own"
            wanted = {
                name
                for name in named | rebound
                if name in rebound or (name in self.namespace and not _constant(self.namespace[name]))
            }
            for name in named:
                one = self.namespace.get(name)
                if (
                    isinstance(one, type)
                    and name in self.source.definitions
                    and not all(map(_quiet, vars(one).values()))
                ):
                    why = why or f"class-state|class {name} holds what may change"
            functions = tuple(sorted(one.name for one in reached))
            self._reach[entry] = frozenset(wanted), functions, why
        return self._reach[entry]

    def _decoded(self, captured: Encoded, *, copy: bool) -> _State:
        """Frames and surroundings. Raises Damaged for what no capture of this program can be."""
        value: Any = decode(captured, copy=copy)
        try:
            frames, around = value
            for at, (name, number, values) in enumerate(frames):
                position = self.positions[number]
                last = at == len(frames) - 1
                if position.function != name or (position.kind == "call") == last or set(values) - set(position.live):
                    raise Damaged("positions that do not fit")
                if not last and position.callee != frames[at + 1][0]:
                    raise Damaged("calls that do not fit")
            known = {"globals", "defaults", "random", "numpy.random"}
            if type(around) is not dict or set(around) - known or not frames:
                raise Damaged("state that does not fit")
        except (TypeError, KeyError, ValueError) as error:
            raise error if isinstance(error, Damaged) else Damaged("not a capture of this program") from error
        return frames, around

    def _restore(self, around: dict[str, Any]) -> None:
        allowed = self._names()
        for name, value in around.get("globals", {}).items():
            if name not in allowed:
                raise Damaged(f"the program has no state {name!r}")
            self.namespace[name] = value
        for name, (some, named) in around.get("defaults", {}).items():
            function = self.namespace.get(name)
            if name not in self.source.definitions or not isinstance(function, FunctionType):
                raise Damaged(f"the program has no function {name!r}")
            function.__defaults__ = some or None
            function.__kwdefaults__ = {**named, RT: None} if function.__code__ in self._codes else named
        try:
            if "random" in around:
                random.setstate(around["random"])
            if "numpy.random" in around:
                np.random.set_state(around["numpy.random"])
        except (TypeError, ValueError, KeyError) as error:
            raise Damaged("no state of random numbers") from error

    def _names(self) -> frozenset[str]:
        reached = self.source.reached(frozenset(self.source.definitions))
        named, rebound = self.source.state_names(reached)
        code = {name for name in named if isinstance(self.namespace.get(name), FunctionType | type | ModuleType)}
        return (named | rebound) - code


def _iterate(live: dict[str, object], position: Position, frame: FrameType, values: Mapping[str, Any]) -> None:
    """Put iterators in the place of ranges: what is left of each, by its loop's variable. Raises Unsuited."""
    for name, target in position.ranges:
        held = live.get(name)
        if type(held) is range:
            if name == iterator(position.id) and not _under_way(frame):
                live[name] = iter(held)
                continue
            now = values.get(target)
            if type(now) is not int or now not in held:
                raise Unsuited("iterator", f"{target} is not where its loop is")
            live[name] = iter(held[held.index(now) + 1 :])
        elif type(held) not in _RANGES:
            raise Unsuited("iterator", f"the loop of {target} runs over what is no range")


def _under_way(frame: FrameType) -> bool:
    """Whether a frame at the line of a loop's head comes from a turn of it, and not from before its first."""
    code, at = frame.f_code.co_code, frame.f_lasti
    while code[at] == _EXTENDED:
        at += 2
    return code[at] == _NEXT


def _constant(one: object) -> bool:
    if isinstance(one, tuple | frozenset):
        return all(map(_constant, one))
    return isinstance(one, _CONSTANT) or type(one).__module__ in _HARMLESS


def _quiet(one: object) -> bool:
    """Whether something in a class's own dictionary cannot hold what changes."""
    return _constant(one) or not isinstance(one, list | dict | set | bytearray | np.ndarray)


def _run(source: str, name: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(source, f"<{name}>", "exec", dont_inherit=True), namespace)  # noqa: S102  the user's own program
    return namespace
