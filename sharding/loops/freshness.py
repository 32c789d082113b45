"""Names that, within one iteration, hold only what that iteration has made."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from sidestep.sharding.analysis.context import Context
from sidestep.sharding.analysis.sharing import shares
from sidestep.sharding.analysis.trees import target_names, walk
from sidestep.sharding.analysis.typing_values import is_array
from sidestep.sharding.universe import effects


def fresh_names(context: Context, body: Sequence[ast.stmt], exposed: set[str], targets: set[str]) -> frozenset[str]:
    """The greatest set of names whose every value, and everything stored into them, is of the set or new.

    Names that share memory fall together: what is stored through one is seen through the other.
    """
    values = dict[str, list[ast.expr]]()
    stores = dict[str, list[ast.expr]]()
    other = set[str]()
    for node in walk(body):
        _values(context, node, values, stores, other)
    fresh = set(values) - exposed - targets - other
    while True:
        allowed = frozenset(fresh)
        out = {name for name in fresh if any(not shares(context, v) <= allowed for v in values[name])}
        soiled = {
            context.region(name)
            for name, held in stores.items()
            if any(not shares(context, v) <= allowed for v in held)
        }
        out |= {name for name in fresh if context.region(name) in soiled}
        if not out:
            return allowed
        fresh -= out


def _values(  # noqa: PLR0912 - one statement a branch
    context: Context, node: ast.AST, values: dict[str, list[ast.expr]], stores: dict[str, list[ast.expr]],
    other: set[str],
) -> None:  # fmt: skip
    def bind(target: ast.expr, value: ast.expr) -> None:
        for name in target_names(target):
            values.setdefault(name, []).append(value)
        for n in ast.walk(target):
            if isinstance(n, ast.Subscript | ast.Attribute) and isinstance(n.ctx, ast.Store):
                hold(n, value)

    def hold(place: ast.expr, value: ast.expr) -> None:
        for name in {context.root(place) or ""} | set(shares(context, place)):
            stores.setdefault(name, []).append(value)

    match node:
        case ast.Assign():
            for target in node.targets:
                bind(target, node.value)
        case ast.AnnAssign(value=ast.expr() as value):
            bind(node.target, value)
        case ast.AugAssign():
            if not is_array(context, node.target):  # numbers and arrays take numbers over, no reference
                hold(node.target, node.value)
        case ast.For():
            bind(node.target, node.iter)
        case ast.NamedExpr():
            bind(node.target, node.value)
        case ast.ExceptHandler(name=str() as name):
            other.add(name)
        case ast.Call():
            f = node.func
            if isinstance(f, ast.Attribute) and not context.dotted(f):
                known = effects.METHODS.get(f.attr)
                if known is None or known.mutates:
                    for a in (*node.args, *(k.value for k in node.keywords)):
                        hold(f.value, a)
            elif isinstance(f, ast.Name) and context.known_function(f.id):
                for holder, held in context.linked(context, node):
                    hold(holder, held)
            elif context.dotted(f) and node.args:
                for a in node.args[1:]:
                    hold(node.args[0], a)
