"""Which names' memory the value of an expression may share."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable

from sidestep.sharding.analysis.context import GLOBAL, NOTHING, Bound, Context
from sidestep.sharding.analysis.trees import Comprehension
from sidestep.sharding.analysis.typing_values import bind, type_of
from sidestep.sharding.universe import effects
from sidestep.sharding.universe.types import element, scalar, stored

_NONE = frozenset[str]()
#: results hold elements of the arguments, in a container of their own
_ELEMENTS = frozenset({"list", "tuple", "set", "dict", "either", "sum", "copy", "pops", "ddict"})
_ITERATORS = frozenset({"iter", "enumerate", "zip", "map", "filter", "reduce", "unknown"})


def shares(context: Context, node: ast.expr | None, bound: Bound = NOTHING) -> frozenset[str]:  # noqa: PLR0911, PLR0912
    """The names (and ``::global`` names) with which the value may have mutable memory in common."""
    if node is None or scalar(type_of(context, node, bound)):
        return _NONE

    def of(n: ast.expr) -> frozenset[str]:
        return shares(context, n, bound)

    match node:
        case ast.Name(id=name):
            if name in bound:
                return bound[name].shares
            if name in context.local:
                return frozenset({name})
            return frozenset({GLOBAL + name}) if name in context.source.constants else _NONE
        case ast.Subscript() | ast.Attribute():
            return _part(context, node, bound)
        case ast.BinOp():
            return _operands(context, node, bound)
        case ast.UnaryOp() | ast.Compare() | ast.JoinedStr() | ast.Lambda() | ast.Constant():
            return _NONE
        case ast.List() | ast.Tuple() | ast.Set():
            return _all(map(of, node.elts))
        case ast.Dict():
            return _all(of(e) for e in (*node.values, *(k for k in node.keys if k)))
        case ast.Starred() | ast.NamedExpr():
            return of(node.value)
        case ast.IfExp():
            return of(node.body) | of(node.orelse)
        case ast.BoolOp():
            return _all(map(of, node.values))
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            return _comprehension(context, node, bound)
        case ast.Call():
            return _call(context, node, bound)
        case _:
            return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in context.local)


def _all(found: Iterable[frozenset[str]]) -> frozenset[str]:
    return _NONE.union(*found)


def _part(context: Context, node: ast.Subscript | ast.Attribute, bound: Bound) -> frozenset[str]:
    if isinstance(node, ast.Attribute) and context.dotted(node):
        return _NONE
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        base = type_of(context, node.value, bound)
        if base.args and scalar(element(base)):
            return _NONE  # a slice of a list is a new list
    return shares(context, node.value, bound)


def _operands(context: Context, node: ast.BinOp, bound: Bound) -> frozenset[str]:
    """Only ``+``, ``*`` and ``|`` of containers put elements of their operands into what they make."""
    made = type_of(context, node, bound)
    if not isinstance(node.op, ast.Add | ast.Mult | ast.BitOr) or made.name in {"array", "numarr"}:
        return _NONE
    found = _NONE
    for side in (node.left, node.right):
        t = type_of(context, side, bound)
        if t.name in {"array", "numarr"} or (t.args and scalar(stored(t))):
            continue
        found |= shares(context, side, bound)
    return found


def _comprehension(context: Context, node: Comprehension, bound: Bound) -> frozenset[str]:
    inner = dict(bound)
    for generator in node.generators:
        source = shares(context, generator.iter, inner)
        bind(inner, generator.target, element(type_of(context, generator.iter, inner)), source)
    if isinstance(node, ast.DictComp):
        return shares(context, node.key, inner) | shares(context, node.value, inner)
    return shares(context, node.elt, inner)


def _call(context: Context, node: ast.Call, bound: Bound) -> frozenset[str]:  # noqa: PLR0911
    f = node.func
    given = [*node.args, *(k.value for k in node.keywords)]

    def everything() -> frozenset[str]:
        return _all(shares(context, a, bound) for a in given)

    def elements() -> frozenset[str]:
        return _all(shares(context, a, bound) for a in given if not _flat(context, a, bound))

    if isinstance(f, ast.Name) and f.id not in bound and context.builtin(f.id):
        known = effects.BUILTINS.get(f.id)
        if known is None or (isinstance(known, str) and known in _ITERATORS):
            return everything()
        if f.id in {"min", "max"} and len(node.args) > 1:
            return everything()
        return elements() if isinstance(known, str) and known in _ELEMENTS else _NONE
    name = context.dotted(f)
    if name:
        return _dotted(context, name, node, bound, (everything, elements))
    if isinstance(f, ast.Attribute):
        return _method(context, f, node, bound)
    if isinstance(f, ast.Name) and f.id not in bound:
        summary = context.summarise(context, node, bound)
        if summary is not None and summary.fresh:
            return _NONE
    return everything()


def _flat(context: Context, node: ast.expr, bound: Bound) -> bool:
    """Whether taking the elements of it takes nothing mutable."""
    t = type_of(context, node, bound)
    return scalar(t) or (scalar(element(t)) and scalar(stored(t)))


_Lazy = Callable[[], frozenset[str]]


def _dotted(context: Context, name: str, node: ast.Call, bound: Bound, lazy: tuple[_Lazy, _Lazy]) -> frozenset[str]:
    everything, elements = lazy
    known = effects.DOTTED.get(name)
    tag = known if isinstance(known, str) else ""
    if tag in _ELEMENTS or name in effects.CONTAINERS or name in effects.ITERTOOLS:
        return elements()
    if name in effects.VIEWS or tag in _ITERATORS or known is None:
        return everything()
    for keyword in node.keywords:
        if keyword.arg == "out":
            return shares(context, keyword.value, bound)
    return shares(context, node.args[2], bound) if name in effects.WRITES_THIRD and len(node.args) > 2 else _NONE


def _method(context: Context, f: ast.Attribute, node: ast.Call, bound: Bound) -> frozenset[str]:
    method = effects.METHODS.get(f.attr)
    receiver = shares(context, f.value, bound)
    if method is None:
        return receiver | _all(shares(context, a, bound) for a in node.args)
    if method.result in {"element", "getdefault", "iter"}:
        return receiver | _all(shares(context, a, bound) for a in node.args)
    if method.result == "same":
        t = type_of(context, f.value, bound)
        copies = t.name == "array" or (bool(t.args) and scalar(stored(t)))
        return _NONE if copies else receiver | _all(shares(context, a, bound) for a in node.args)
    if method.result == "view":
        return receiver
    out = [k.value for k in node.keywords if k.arg == "out"]
    return _all(shares(context, o, bound) for o in out)
