"""The resumable form of one function.

Loops run as they did; only their iterators get names, and not even those of most ranges. Beside each nest of loops
stands a second, guarded copy that is entered when the function is called with a position: it goes straight to the loop
or the call that the position names, finishes the iteration that was under way, and joins the first copy. The code grows
with the depth of nesting.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sidestep.sharding.resume.liveness import Liveness
from sidestep.sharding.resume.ranges import Bounds, steady_bounds, steady_range

#: what our names begin with; a module that uses such a name is refused
PREFIX: Final = "_ss_"
PC, RT, STATE, KIDS, ONCE, DUMMY, ITER = (PREFIX + x for x in ("pc", "rt", "state", "kids", "once", "dummy", "iter"))
_Loop = ast.For | ast.While
#: a loop of fewer turns with nothing but simple statements in it is no place to stop
_MANY: Final = 9


@dataclass(frozen=True, slots=True)
class Position:
    """A place where a function can be left and entered again."""

    id: int
    function: str
    #: ``for``, ``while`` or ``call``
    kind: str
    #: of the source
    line: int
    #: names that are live there, and the iterators of the loops around it
    live: tuple[str, ...]
    #: of a call: who is called
    callee: str = ""
    #: whether a capture may begin here (a loop whose test loops on its own line is passed, but is no place to stop)
    stop: bool = True
    #: iterators of the loops around it (its own too) that are ranges as long as nobody captured them; loop variables
    ranges: tuple[tuple[str, str], ...] = ()


def statement(text: str) -> ast.stmt:
    """One statement from its text."""
    return ast.parse(text).body[0]


def expression(text: str) -> ast.expr:
    """One expression from its text."""
    return ast.parse(text, mode="eval").body


def _name(text: str) -> ast.Name:
    return ast.Name(text, ast.Load())


def iterator(loop: int) -> str:
    """What the iterator of a loop is called."""
    return f"{PREFIX}it_{loop}"


class Marked:
    """Statements of the new code that stand for positions, by the identity of the node."""

    def __init__(self) -> None:
        self.heads: dict[int, int] = {}
        self.calls: dict[int, int] = {}
        #: of both: iterators of the loops around it (its own too) that have no name in this copy
        self.nameless: dict[int, frozenset[str]] = {}


class Resumable:
    """One function transformed; ``positions`` by id, ids from ``first`` on."""

    def __init__(
        self, function: ast.FunctionDef, names: Collection[str], callees: Collection[str], first: int, *,
        ranges: bool = False,
    ) -> None:  # fmt: skip
        """``ranges``: the name ``range`` means what it means everywhere in this module."""
        self._function, self._callees = function, callees
        self._ranges = ranges and "range" not in names
        #: loop variables of loops over ranges, by the loop's id
        self._steady: dict[int, str] = {}
        #: ranges that can be told at any turn, by the iterator's name; and those that are being written without a name
        self.bounds: dict[str, Bounds] = {}
        self._open: list[str] = []
        self._closed = not any(isinstance(x, ast.Nonlocal) for x in ast.walk(function))
        # Names that only imports of the function's own body bind are bound anew on entering.
        self._names = frozenset(names) - imported(function)
        self._live = Liveness(function.body)
        self._ids: dict[int, int] = {}
        self._next = first
        self.positions: dict[int, Position] = {}
        self.marked = Marked()
        self._number(function.body, ())
        self.tree = self._build()

    def _add(self, node: ast.stmt, kind: str, live: set[str], around: tuple[int, ...], callee: str = "") -> int:
        number = self._next
        self._next += 1
        self._ids[id(node)] = number
        inner = (*around, number) if kind == "for" else around
        names = (*sorted(live & self._names), *map(iterator, inner))
        stop = not (isinstance(node, ast.While) and _loops_inline(node.test))
        if self._ranges and isinstance(node, ast.For) and (target := steady_range(node)):
            self._steady[number] = target
            if self._closed and (bounds := steady_bounds(node, self._names)):
                self.bounds[iterator(number)] = bounds
        ranges = tuple((iterator(loop), self._steady[loop]) for loop in inner if loop in self._steady)
        self.positions[number] = Position(number, self._function.name, kind, node.lineno, names, callee, stop, ranges)
        return number

    def _number(self, body: Sequence[ast.stmt], around: tuple[int, ...]) -> None:
        for one in body:
            if isinstance(one, ast.For) and _short(one, self._callees):
                continue
            if isinstance(one, ast.For):
                number = self._add(one, "for", self._live.head[id(one)], around)
                self._number(one.body, (*around, number))
                self._number(one.orelse, around)
            elif isinstance(one, ast.While):
                self._add(one, "while", self._live.head[id(one)], around)
                self._number(one.body, around)
                self._number(one.orelse, around)
            elif isinstance(one, ast.If):
                self._number(one.body, around)
                self._number(one.orelse, around)
            elif callee := called(one, self._callees):
                self._add(one, "call", self._live.across[id(one)], around, callee)

    def _inside(self, one: ast.stmt) -> list[int]:
        """Ids of the positions in a statement, its own first."""
        found = [self._ids[id(one)]] if id(one) in self._ids else []
        if isinstance(one, ast.For | ast.While | ast.If):
            found += self._within([*one.body, *one.orelse])
        return found

    def _within(self, body: Sequence[ast.stmt]) -> list[int]:
        return [number for one in body for number in self._inside(one)]

    def _plain(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The first copy."""
        out: list[ast.stmt] = []
        for one in body:
            number = self._ids.get(id(one), 0)
            if isinstance(one, ast.For) and not number:
                out.append(copy.deepcopy(one))
            elif isinstance(one, ast.For) and iterator(number) in self.bounds:
                out.append(self._nameless(one, number))
            elif isinstance(one, ast.For):
                out.append(self._begun(one, number))
                out.append(self._loop(one, number))
            elif isinstance(one, ast.While):
                out.append(self._loop(one, number))
            elif isinstance(one, ast.If):
                out.append(ast.If(copy.deepcopy(one.test), self._plain(one.body), self._plain(one.orelse)))
            else:
                out.append(self._called(one, number) if number else copy.deepcopy(one))
        return out

    def _begun(self, one: ast.For, number: int) -> ast.stmt:
        if number in self._steady:
            # A range tells by the loop's variable how far it is: no call of ours at every start of an inner loop.
            return ast.Assign([ast.Name(iterator(number), ast.Store())], copy.deepcopy(one.iter))
        begun = statement(f"{iterator(number)} = {ITER}(0)")
        assert isinstance(begun, ast.Assign) and isinstance(begun.value, ast.Call)
        begun.value.args = [copy.deepcopy(one.iter)]
        return begun

    def _loop(self, one: _Loop, number: int) -> ast.stmt:
        body, orelse = self._plain(one.body), self._plain(one.orelse)
        loop: _Loop
        if isinstance(one, ast.For):
            loop = ast.For(copy.deepcopy(one.target), _name(iterator(number)), body, orelse, None)
        else:
            loop = ast.While(copy.deepcopy(one.test), body, orelse)
        self._mark(self.marked.heads, loop, number)
        return loop

    def _nameless(self, one: ast.For, number: int) -> ast.stmt:
        """A loop over a range as it was written."""
        self._open.append(iterator(number))
        loop = ast.For(copy.deepcopy(one.target), copy.deepcopy(one.iter), self._plain(one.body), [], None)
        self._mark(self.marked.heads, loop, number)
        self._open.pop()
        loop.orelse = self._plain(one.orelse)
        return loop

    def _mark(self, marks: dict[int, int], node: ast.stmt, number: int) -> None:
        marks[id(node)] = number
        self.marked.nameless[id(node)] = frozenset(self._open)

    def _called(self, one: ast.stmt, number: int) -> ast.stmt:
        again = copy.deepcopy(one)
        self._mark(self.marked.calls, again, number)
        return again

    def _guarded(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The second copy: statements before the position are passed, but for imports."""
        out: list[ast.stmt] = []
        pending: list[ast.stmt] = []
        last = max((at for at, one in enumerate(body) if self._inside(one)), default=-1)

        def passed() -> None:
            if pending:
                out.append(ast.If(expression(f"not {PC}"), pending.copy(), []))
                pending.clear()

        for at, one in enumerate(body):
            inside = self._inside(one)
            if inside:
                passed()
                code = self._entered(one)
                if at < last:
                    code = [ast.If(expression(f"not {PC} or {PC} in {tuple(inside)!r}"), code, [])]
                out += code
            elif isinstance(one, ast.Import | ast.ImportFrom):
                passed()
                out.append(copy.deepcopy(one))
            else:
                (pending if at < last else out).extend(self._plain([one]))
        return out

    def _entered(self, one: ast.stmt) -> list[ast.stmt]:
        if isinstance(one, ast.If):
            then = tuple(self._within(one.body))
            test = ast.IfExp(_name(PC), expression(f"{PC} in {then!r}"), copy.deepcopy(one.test))
            return [ast.If(test, self._guarded(one.body) or [ast.Pass()], self._guarded(one.orelse))]
        number = self._ids[id(one)]
        if isinstance(one, ast.For | ast.While):
            return self._reentered(one, number)
        again = self._called(one, number)
        assert isinstance(again, ast.Assign | ast.Expr | ast.Return)
        callee = self.positions[number].callee
        again.value = expression(f"{callee}(*{DUMMY}({callee}), {RT}={KIDS})")
        return [ast.If(expression(f"{PC} == {number}"), [statement(f"{PC} = 0"), again], [self._called(one, number)])]

    def _reentered(self, one: _Loop, number: int) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        if isinstance(one, ast.For):
            out.append(ast.If(expression(f"not {PC}"), [self._begun(one, number)], []))
        out.append(statement(f"if {PC} == {number}: {PC} = 0"))
        loop = self._loop(one, number)
        inner, other = tuple(self._within(one.body)), tuple(self._within(one.orelse))
        if not inner and not other:
            return [*out, loop]
        on = f"{PREFIX}on_{number}"
        out.append(statement(f"{on} = 1"))
        if inner:
            # One turn in which break and continue mean what they mean in the loop itself.
            turn = ast.For(ast.Name(ONCE, ast.Store()), expression("(0,)"), self._guarded(one.body), [], None)
            turn.orelse = [statement(f"{on} = 1")]
            out.append(ast.If(expression(f"{PC} in {inner!r}"), [statement(f"{on} = 0"), turn], []))
        if other:
            rest = [statement(f"{on} = 0"), *self._guarded(one.orelse)]
            out.append(ast.If(expression(f"{PC} in {other!r}"), rest, []))
        return [*out, ast.If(_name(on), [loop], [])]

    def _build(self) -> ast.FunctionDef:
        restored = dict.fromkeys(name for one in self.positions.values() for name in one.live)
        lines = [f"    if {name!r} in {STATE}: {name} = {STATE}[{name!r}]" for name in restored]
        enter = "\n".join([f"if {RT} is not None:", f"    {PC}, {STATE}, {KIDS} = {RT}", *lines, f"    del {STATE}"])
        body = [
            statement(f"{PC} = 0"),
            statement(enter),
            statement(f"{RT} = None"),
            *self._guarded(self._function.body),
        ]
        tree = copy.copy(self._function)
        tree.args = copy.deepcopy(self._function.args)
        tree.args.kwonlyargs.append(ast.arg(RT))
        tree.args.kw_defaults.append(ast.Constant(None))
        # Defaults are taken over from the function as it is; here they only have to be there.
        tree.args.defaults = [ast.Constant(None) for _ in tree.args.defaults]
        tree.args.kw_defaults = [one and ast.Constant(None) for one in tree.args.kw_defaults]
        for one in ast.walk(tree.args):
            if isinstance(one, ast.arg):
                one.annotation = None
        tree.body, tree.decorator_list, tree.returns = body, [], None
        return tree


def _short(one: ast.For, callees: Collection[str]) -> bool:
    """Whether a loop is over after a few turns, so that a place to stop in it would cost more than it is worth."""
    turns = _MANY
    match one.iter:
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            turns = _MANY if any(isinstance(x, ast.Starred) for x in parts) else len(parts)
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int(stop))], keywords=[]):
            turns = stop
    inside = [x for part in (*one.body, *one.orelse) for x in ast.walk(part)]
    return turns < _MANY and not any(
        isinstance(x, ast.For | ast.While) or (isinstance(x, ast.Name) and x.id in callees) for x in inside
    )


def _loops_inline(test: ast.expr) -> bool:
    """Whether a test may come to its own line again before it is done."""
    return any(isinstance(one, ast.ListComp | ast.SetComp | ast.DictComp) for one in ast.walk(test))


def called(one: ast.stmt, callees: Collection[str]) -> str:
    """Whom a statement calls, if it is a call of one of these and does nothing before it that a second run repeats."""
    if not isinstance(one, ast.Assign | ast.Expr | ast.Return) or not isinstance(one.value, ast.Call):
        return ""
    # Unpacking may run anything, at the very instruction that makes the call.
    if any(isinstance(x, ast.Starred) for x in one.value.args) or any(x.arg is None for x in one.value.keywords):
        return ""
    callee = one.value.func
    return callee.id if isinstance(callee, ast.Name) and callee.id in callees else ""


def imported(function: ast.FunctionDef) -> set[str]:
    """Local names that nothing but imports at the top of the function's body bind."""
    top = [one for one in function.body if isinstance(one, ast.Import | ast.ImportFrom)]
    names = {(alias.asname or alias.name).partition(".")[0] for one in top for alias in one.names}
    other = {one.id for one in ast.walk(function) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)}
    other |= {one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg)}
    for one in ast.walk(function):
        if isinstance(one, ast.Import | ast.ImportFrom) and one not in top:
            other |= {(alias.asname or alias.name).partition(".")[0] for alias in one.names}
        elif isinstance(one, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            other.add(one.name)
    return names - other
