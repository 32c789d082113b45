"""When what a loop goes over is read: all before the first iteration, an element a turn, or more than that a turn."""

from __future__ import annotations

import ast
from typing import Final, Literal

from sidestep.sharding.analysis.context import Context
from sidestep.sharding.analysis.sharing import shares
from sidestep.sharding.universe import effects

#: ``before``: evaluated to something new. ``elements``: the elements of containers, each at its turn.
#: ``inside``: whatever is reached from there, at its turn
Reading = Literal["before", "elements", "inside"]

_WALKS: Final = frozenset({"enumerate", "zip", "reversed"})
_LAZY: Final = frozenset({"map", "filter", "iter"})
_VIEWED: Final = frozenset({"items", "keys", "values"})


def reading(context: Context, node: ast.expr) -> Reading:
    """How going over the value of an expression reads it."""
    match node:
        case ast.Name() | ast.Subscript() | ast.Attribute():
            return "elements"
        case ast.Call():
            return _called(context, node)
        case ast.GeneratorExp() | ast.IfExp() | ast.BoolOp() | ast.NamedExpr() | ast.Starred() | ast.Lambda():
            return "inside"
    return "before"


def _called(context: Context, call: ast.Call) -> Reading:
    f, plain = call.func, ast.Name | ast.Subscript | ast.Attribute
    if isinstance(f, ast.Name) and context.builtin(f.id) and f.id not in _LAZY:
        parts = {reading(context, a) for a in call.args} if f.id in _WALKS else set[Reading]()
        return "inside" if "inside" in parts else "elements" if "elements" in parts else "before"
    if isinstance(f, ast.Attribute) and f.attr in _VIEWED and isinstance(f.value, plain) and not context.dotted(f):
        return "elements"
    lazy = isinstance(f, ast.Name) and f.id in _LAZY
    known = context.dotted(f) not in effects.ITERTOOLS and not lazy
    return "before" if known and not shares(context, call) else "inside"
