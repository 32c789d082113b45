"""Which part of which object an expression names: a root name and subscripts in normal form."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from sidestep.sharding.analysis.context import GLOBAL, Context, Local
from sidestep.sharding.analysis.polynomials import Poly
from sidestep.sharding.analysis.trees import names_in, target_names
from sidestep.sharding.analysis.typing_values import type_of
from sidestep.sharding.universe import effects
from sidestep.sharding.universe.types import INT, Type, element, scalar


@dataclass(frozen=True, slots=True)
class Dim:
    """One subscript: an index, a slice from ``low`` to ``high`` (not included), or something unknown.

    After a ``stop`` nothing is known: the part before it was a view or a copy.
    """

    kind: Literal["index", "slice", "unknown", "stop"]
    low: Poly | None = None
    high: Poly | None = None


UNKNOWN: Final = Dim("unknown")
STOP: Final = Dim("stop")


#: a comprehension's variable that counts: an integer with known bounds
COUNTER: Final = Local(INT, frozenset())


class Variable(NamedTuple):
    """A loop variable with its lowest and highest value, where known."""

    name: str
    low: Poly | None
    high: Poly | None


class Place(NamedTuple):
    """A root name and the subscripts below it."""

    root: str
    dims: tuple[Dim, ...]


class Iteration(NamedTuple):
    """How a loop counts: ``range`` by its own variable, a sequence by a hidden one, or neither."""

    kind: Literal["range", "sequence", "other"]
    variable: str
    step: Poly | None


def hidden(node: ast.AST) -> str:
    """The counting variable of a loop that has none of its own."""
    return f"@{getattr(node, 'lineno', 0)}.{getattr(node, 'col_offset', 0)}"


def key_symbol(name: str) -> str:
    """What stands for the value of a loop's target where it is a subscript: nothing is known of it but whose it is."""
    return f"{name}δ"


_CALLABLE_SYMBOLS: Final = frozenset({"len", "int", "min", "max", "abs", "round"})
_SYMBOL_NODES: Final = (
    ast.Name, ast.BinOp, ast.Constant, ast.Attribute, ast.Subscript, ast.UnaryOp, ast.operator, ast.unaryop,
    ast.expr_context, ast.Call,
)  # fmt: skip


@dataclass(slots=True)
class Places:
    """What is known at a point inside loops: variables in scope, scalars and aliases that stand for expressions."""

    context: Context
    variables: list[Variable] = field(default_factory=list)
    #: scalars that equal a polynomial of loop variables
    scalars: dict[str, Poly] = field(default_factory=dict)
    #: names that are another place's part
    aliases: dict[str, Place] = field(default_factory=dict)
    #: names that change within the loop in a way that is not known
    varying: set[str] = field(default_factory=set)
    #: names of comprehensions and lambdas
    bound: dict[str, Local] = field(default_factory=dict)
    #: roots whose form (length, shape) changes within the loop
    reshaped: frozenset[str] = frozenset()
    #: names of the loop's target that nothing rebinds: each iteration has a value of its own when all differ
    keys: frozenset[str] = frozenset()

    def copy(self) -> Places:
        """What is known now, to come back to."""
        return Places(
            self.context, list(self.variables), dict(self.scalars), dict(self.aliases), set(self.varying),
            dict(self.bound), self.reshaped, self.keys,
        )  # fmt: skip

    def type(self, node: ast.expr) -> Type:
        """The type of an expression here."""
        return type_of(self.context, node, self.bound)

    def poly(self, node: ast.expr) -> Poly | None:  # noqa: PLR0911
        """An integer expression as a polynomial; None when it may change in unknown ways."""
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return Poly.const(node.value)
        if isinstance(node, ast.Name):
            if self.bound.get(node.id, COUNTER) is not COUNTER:
                return None
            if node.id in self.scalars:
                return self.scalars[node.id]
            if any(v.name == node.id for v in self.variables):
                return Poly.symbol(node.id)
            return None if node.id in self.varying else self._symbol(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self.poly(node.operand)
            return None if inner is None else -inner
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
            a, b = self.poly(node.left), self.poly(node.right)
            if a is None or b is None:
                return None
            return a + b if isinstance(node.op, ast.Add) else a - b if isinstance(node.op, ast.Sub) else a * b
        return self._symbol(node)

    def _symbol(self, node: ast.expr) -> Poly | None:
        """An expression that keeps its value as long as the loop runs, as one symbol."""
        names = names_in(node)
        moving = self.varying | set(self.scalars) | {v.name for v in self.variables} | set(self.bound) | self.reshaped
        if names & moving or any(GLOBAL + name in self.reshaped for name in names):
            return None
        for n in ast.walk(node):
            if not isinstance(n, _SYMBOL_NODES):
                return None
            if isinstance(n, ast.Call) and not self._pure_symbol(n):
                return None
            if isinstance(n, ast.Subscript) and not (isinstance(n.value, ast.Attribute) and n.value.attr == "shape"):
                return None
            if isinstance(n, ast.Attribute) and n.attr not in {"shape", "size", "ndim"}:
                return None
        return Poly.symbol(ast.unparse(node))

    def _pure_symbol(self, call: ast.Call) -> bool:
        f = call.func
        return isinstance(f, ast.Name) and f.id in _CALLABLE_SYMBOLS and self.context.builtin(f.id)

    def dim(self, index: ast.expr) -> Dim:
        """One subscript in normal form; negative constants count from the end and are unknown."""
        if isinstance(index, ast.Slice):
            step = index.step
            if step is not None and not (isinstance(step, ast.Constant) and type(step.value) is int and step.value > 0):
                return Dim("slice")
            low = self.poly(index.lower) if index.lower is not None else Poly.const(0)
            high = self.poly(index.upper) if index.upper is not None else None
            return Dim("slice", _from_start(low), _from_start(high))
        if isinstance(index, ast.Name) and index.id in self.keys and index.id not in self.bound:
            key = Poly.symbol(key_symbol(index.id))
            return Dim("index", key, key + Poly.const(1))
        if self.type(index).name not in {"int", "num", "any", "bot", "scalar", "bool"}:
            return UNKNOWN
        at = _from_start(self.poly(index))
        return UNKNOWN if at is None else Dim("index", at, at + Poly.const(1))

    def place(self, node: ast.expr) -> Place | None:  # noqa: PLR0911
        """The place an expression names; None when it is no name's part."""
        context = self.context
        if isinstance(node, ast.Name):
            if node.id in self.aliases:
                return self.aliases[node.id]
            if node.id in self.bound:
                return None
            if node.id in context.local:
                return Place(node.id, ())
            return Place(GLOBAL + node.id, ()) if node.id in context.source.constants else None
        if isinstance(node, ast.Subscript):
            return self._subscripted(node)
        if isinstance(node, ast.Attribute) and not context.dotted(node):
            base = self.place(node.value)
            if base is not None and effects.ATTRIBUTES.get(node.attr) == "view":
                return Place(base.root, (*base.dims, STOP))
            return base
        return None

    def _subscripted(self, node: ast.Subscript) -> Place | None:
        base = self.place(node.value)
        if base is None:
            return None
        if any(d.kind in {"stop", "slice"} for d in base.dims):
            return Place(base.root, (*base.dims, STOP))
        index = node.slice
        if not isinstance(index, ast.Tuple):
            return Place(base.root, (*base.dims, self.dim(index)))
        t = self.type(node.value)
        odd = any(isinstance(e, ast.Constant) and (e.value is None or e.value is Ellipsis) for e in index.elts)
        if odd or t.name not in {"array", "numarr"} or any(isinstance(e, ast.Starred) for e in index.elts):
            return Place(base.root, (*base.dims, UNKNOWN))
        return Place(base.root, (*base.dims, *map(self.dim, index.elts)))

    def enter(self, target: ast.expr, iterated: ast.expr, *, comprehension: bool = False) -> Iteration:
        """Bring a loop's or comprehension's variables into scope."""
        for name in target_names(target):
            self.scalars.pop(name, None)
            self.aliases.pop(name, None)
        f = iterated.func if isinstance(iterated, ast.Call) else None
        name = f.id if isinstance(f, ast.Name) and f.id not in self.bound and self.context.builtin(f.id) else ""
        found: Iteration | None = None
        if isinstance(iterated, ast.Call) and name and not iterated.keywords:
            if name == "range" and isinstance(target, ast.Name) and 1 <= len(iterated.args) <= 3:
                return self._range(target.id, iterated.args, comprehension)
            if comprehension:
                self._bind(target, iterated)
            if name == "enumerate" and isinstance(target, ast.Tuple | ast.List) and len(target.elts) == 2:
                found = self._enumerate(target, iterated, comprehension)
            elif name == "zip" and isinstance(target, ast.Tuple | ast.List):
                found = self._count(iterated)
                for part, sequence in zip(target.elts, iterated.args, strict=False):
                    self._element(part, sequence, found.variable)
        elif isinstance(iterated, ast.Name | ast.Subscript | ast.Attribute):
            if comprehension:
                self._bind(target, iterated)
            found = self._count(iterated)
            self._element(target, iterated, found.variable)
        elif comprehension:
            self._bind(target, iterated)
        return found or Iteration("other", "", None)

    def _count(self, node: ast.AST) -> Iteration:
        self.variables.append(Variable(hidden(node), Poly.const(0), None))
        return Iteration("sequence", hidden(node), Poly.const(1))

    def _bind(self, target: ast.expr, iterated: ast.expr) -> None:
        from sidestep.sharding.analysis.sharing import shares  # noqa: PLC0415 - the two need each other
        from sidestep.sharding.analysis.typing_values import bind  # noqa: PLC0415

        bind(self.bound, target, element(self.type(iterated)), shares(self.context, iterated, self.bound))

    def _range(self, name: str, given: list[ast.expr], comprehension: bool) -> Iteration:
        low = Poly.const(0) if len(given) == 1 else self.poly(given[0])
        high = self.poly(given[0] if len(given) == 1 else given[1])
        step = Poly.const(1) if len(given) < 3 else self.poly(given[2])
        one = Poly.const(1)
        if step is not None and step.value is not None and step.value < 0:
            low, high = (high + one if high is not None else None), low
        else:
            high = high - one if high is not None else None
        if comprehension:
            self.bound[name] = COUNTER
        self.variables.append(Variable(name, low, high))
        return Iteration("range", name, step)

    def _enumerate(self, target: ast.Tuple | ast.List, call: ast.Call, comprehension: bool) -> Iteration:
        found = self._count(call)
        index, item = target.elts
        start = self.poly(call.args[1]) if len(call.args) > 1 else Poly.const(0)
        if isinstance(index, ast.Name) and start is not None:
            self.scalars[index.id] = Poly.symbol(found.variable) + start
            if comprehension:
                self.bound[index.id] = COUNTER
        if call.args and not isinstance(call.args[0], ast.Call):
            self._element(item, call.args[0], found.variable)
        return found

    def _element(self, target: ast.expr, sequence: ast.expr, variable: str) -> None:
        """A target that is the sequence's element at a counting variable: an alias of that place.

        Only of lists, tuples and arrays: a dict or set yields keys, in whatever order.
        """
        if self.type(sequence).name not in {"list", "tuple", "tuples", "array"}:
            return
        base = self.place(sequence)
        if base is None or any(d.kind != "index" for d in base.dims):
            return
        at = Poly.symbol(variable)
        here = (*base.dims, Dim("index", at, at + Poly.const(1)))
        if isinstance(target, ast.Name):
            if not scalar(element(self.type(sequence))):
                self.aliases[target.id] = Place(base.root, here)
        elif isinstance(target, ast.Tuple | ast.List):
            for k, part in enumerate(target.elts):
                if isinstance(part, ast.Starred):
                    break
                if isinstance(part, ast.Name):
                    fixed = Dim("index", Poly.const(k), Poly.const(k + 1))
                    self.aliases[part.id] = Place(base.root, (*here, fixed))


def _from_start(at: Poly | None) -> Poly | None:
    return None if at is not None and at.value is not None and at.value < 0 else at


def without(places: Mapping[str, Place], names: set[str]) -> dict[str, Place]:
    """The aliases that do not depend on these names."""
    return {name: place for name, place in places.items() if name not in names}
