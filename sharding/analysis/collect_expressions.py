"""What expressions read and write, and why they cannot be shipped."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from sidestep.sharding.analysis import collect_calls
from sidestep.sharding.analysis.context import Context, Local
from sidestep.sharding.analysis.places import Place, Places, Variable
from sidestep.sharding.analysis.sharing import shares
from sidestep.sharding.analysis.trees import COMPREHENSIONS, line_of, text_of
from sidestep.sharding.execute.contract import Refusal
from sidestep.sharding.universe import effects
from sidestep.sharding.universe.types import ANY, Type, scalar

_NONE = frozenset[str]()
#: exceptions that a body may catch: none that depends on how deep or where it runs
_CATCHABLE = effects.EXCEPTIONS - {"Exception", "RuntimeError", "RecursionError", "StopIteration"}


@dataclass(frozen=True, slots=True)
class Access:
    """One read or write of a part of a root; ``len`` reads its length only.

    ``via`` says how it is written: "" by a store, "aug" by an augmented one, else a method's name, "callee",
    "resize". ``held``: names whose memory the stored value may share.
    """

    root: str
    dims: tuple[object, ...]
    mode: Literal["read", "write", "length", "iterate"]
    node: ast.AST
    variables: tuple[Variable, ...]
    via: str = ""
    held: frozenset[str] = _NONE


@dataclass(slots=True)
class Expressions:
    """Walks expressions; ``accesses`` and ``refusals`` are what it found.

    ``private`` are names that hold only what was made here; ``single`` those that are bound once per iteration.
    ``orders_sets``: something that may be a set is iterated over, so sets must be shipped with their order.
    """

    context: Context
    places: Places
    private: frozenset[str] = _NONE
    single: frozenset[str] = _NONE
    accesses: list[Access] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    orders_sets: bool = False

    # what is found

    def refuse(self, code: str, node: ast.AST, text: str = "") -> None:
        """Note why this cannot be shipped."""
        self.refusals.append(Refusal(code, line_of(node), text))

    def access(
        self, node: ast.expr, mode: Literal["read", "write", "length"], via: str = "", held: frozenset[str] = _NONE
    ) -> None:
        """Note an access to the place that an expression names, if it names one."""
        place = self.places.place(node)
        if place is not None:
            self.record(place, mode, node, via, held)

    def record(
        self, place: Place, mode: Literal["read", "write", "length"], node: ast.AST, via: str = "",
        held: frozenset[str] = _NONE,
    ) -> None:  # fmt: skip
        """Note an access to a place; what stands behind a view or copy belongs to all of it."""
        dims = []
        for dim in place.dims:
            if dim.kind == "stop":
                break
            dims.append(dim)
        self.accesses.append(Access(place.root, tuple(dims), mode, node, tuple(self.places.variables), via, held))

    def write_roots(self, node: ast.expr, at: ast.AST) -> bool:
        """Note a write to everything that an expression may share memory with."""
        roots = shares(self.context, node, self.places.bound)
        root = self.context.root(node)
        if root and root in self.context.local and root not in self.places.bound:
            roots |= {root}
        for name in roots:
            self.record(Place(name, ()), "write", at, "callee")
        return bool(roots)

    def ordered(self, node: ast.expr, *, deep: bool = False) -> None:
        """Something follows the order of this value: sets from outside are shipped with their order.

        A set of hashed strings made here would have another order in another process: refused.
        """
        t = self.places.type(node)
        found = _within(t) if deep else {t.name}
        if found & {"set", "any"}:
            self.orders_sets = True
        made_here = bool(shares(self.context, node, self.places.bound) <= self.private) or deep
        if "set" in found and made_here and not (t.name == "set" and _plain_keys(t.args[0])):
            self.refuse("set-order", node, text_of(node))

    # expressions

    def expressions(self, nodes: Iterable[ast.expr | None]) -> None:
        """Several, in order."""
        for node in nodes:
            self.expression(node)

    def expression(self, node: ast.expr | None) -> None:  # noqa: PLR0912
        """Note what evaluating it does."""
        match node:
            case None | ast.Constant():
                return
            case ast.Name():
                if isinstance(node.ctx, ast.Load):
                    self._name(node)
            case ast.Subscript():
                self.within(node)
                self.access(node, "read")
            case ast.Attribute():
                self._attribute(node)
            case ast.Call():
                collect_calls.call(self, node)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                self._comprehension(node)
            case ast.Lambda():
                self._lambda(node)
            case ast.Yield() | ast.YieldFrom():
                self.refuse("generator", node)
            case ast.Await():
                self.refuse("async", node)
            case ast.Starred():
                self.ordered(node.value)
                self.expression(node.value)
            case ast.FormattedValue():
                self.ordered(node.value, deep=True)
                self.expressions((node.value, node.format_spec))
            case ast.Compare():
                self._compare(node)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self.expression(child)
                    elif isinstance(child, ast.keyword):
                        self.expression(child.value)

    def _compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for op, left, right in zip(node.ops, sides, sides[1:], strict=False):
            if isinstance(op, ast.Is | ast.IsNot) and not any(
                isinstance(side, ast.Constant) and side.value in {None, True, False, Ellipsis} for side in (left, right)
            ):
                self.refuse("identity", node, text_of(node))
        self.expressions(sides)

    def _name(self, node: ast.Name) -> None:  # noqa: PLR0912 - one case a branch
        context, name = self.context, node.id
        if name in self.places.aliases and not scalar(self.places.type(node)):
            self.access(node, "read")
        elif name in self.places.bound:
            return
        elif name in context.local:
            if name in context.nested:
                self.refuse("nested-function", node, name)
            elif not scalar(context.types.get(name, ANY)):
                self.access(node, "read")
        elif name in context.source.constants and name not in context.source.functions:
            if name in context.source.unsure:
                self.refuse("mutable-global", node, name)
            else:
                self.access(node, "read")
        elif dotted := context.dotted(node):
            if dotted not in effects.DOTTED:
                self.refuse("unknown-global", node, dotted)
        elif name in context.source.functions:
            self.refuse("function-value", node, name)
        elif not context.builtin(name):
            self.refuse("unresolved-name", node, name)
        elif name not in effects.VALUES and name not in effects.EXCEPTIONS:
            self.refuse("builtin-value", node, name)

    def within(self, node: ast.expr) -> None:
        """Evaluate a place's subscripts and base without reading the whole base."""
        while isinstance(node, ast.Subscript | ast.Attribute):
            if isinstance(node, ast.Subscript):
                for index in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
                    if isinstance(index, ast.Slice):
                        self.expressions((index.lower, index.upper, index.step))
                    else:
                        self.expression(index)
            elif node.attr not in effects.ATTRIBUTES and not self.context.dotted(node):
                self.refuse("object-attribute", node, text_of(node))
            node = node.value
        if not isinstance(node, ast.Name) or (node.id not in self.context.local and node.id not in self.places.bound):
            self.expression(node)

    def _attribute(self, node: ast.Attribute) -> None:
        dotted = self.context.dotted(node)
        if dotted:
            if dotted not in effects.DOTTED and dotted not in effects.DTYPES:
                collect_calls.refuse_dotted(self, dotted, node)
        elif node.attr in effects.FORM:
            self.access(node.value, "length")
            self.within(node.value)
        else:
            self.within(node)
            if node.attr in effects.ATTRIBUTES:
                self.access(node, "read")

    def _comprehension(self, node: ast.expr) -> None:
        assert isinstance(node, COMPREHENSIONS)
        outside = self.places
        self.places = outside.copy()
        for generator in node.generators:
            if generator.is_async:
                self.refuse("async", node)
            self.expression(generator.iter)
            self.ordered(generator.iter)
            self.places.enter(generator.target, generator.iter, comprehension=True)
            self.expressions(generator.ifs)
        self.expressions((node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,))
        self.places = outside

    def _lambda(self, node: ast.Lambda) -> None:
        outside = self.places
        self.places = outside.copy()
        a = node.args
        for p in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))):
            self.places.bound[p.arg] = Local(ANY, frozenset(outside.context.local))
        self.expressions((*a.defaults, *a.kw_defaults, node.body))
        self.places = outside


def _plain_keys(t: Type) -> bool:
    """Whether values of it hash the same in every process."""
    if t.name in {"tuple", "tuples"}:
        return all(map(_plain_keys, t.args))
    return t.name in {"int", "bool", "float", "complex", "bot"}


def _within(t: Type) -> set[str]:
    return {t.name}.union(*map(_within, t.args))
