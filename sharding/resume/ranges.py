"""Loops over ranges that need no iterator of ours: how far they are is told by their variable.

Where besides a range's arguments can be computed again at any turn, the loop stays exactly as it was written.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

#: arithmetic that gives the same from the same whole numbers, whenever it is done
_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
}  # fmt: skip


def steady_range(one: ast.For) -> str:
    """The variable of a loop over ``range(...)`` that nothing in the loop binds anew; nothing for any other loop."""
    call, target = one.iter, one.target
    if not isinstance(target, ast.Name) or not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return ""
    if call.func.id != "range" or call.keywords or any(isinstance(x, ast.Starred) for x in call.args):
        return ""
    return "" if target.id in bound(one.body) else target.id


def bound(body: Collection[ast.stmt]) -> set[str]:
    """Names that anything in these statements binds or deletes; rather too many."""
    found: set[str] = set()
    for part in body:
        for node in ast.walk(part):
            if isinstance(node, ast.Name):
                found |= set() if isinstance(node.ctx, ast.Load) else {node.id}
            elif isinstance(node, ast.alias):
                found |= {node.asname or "", node.name.partition(".")[0]}
            elif isinstance(node, ast.Nonlocal | ast.Global):
                found.update(node.names)
            else:
                found |= {getattr(node, "name", None) or "", getattr(node, "rest", None) or ""}
    return found


@dataclass(frozen=True, slots=True)
class Bounds:
    """The arguments of a loop's range, which are the same at each of its turns."""

    arguments: tuple[ast.expr, ...]

    def value(self, values: Mapping[str, Any]) -> range | None:
        """The range, by the variables of a frame in the loop, or about to begin it; None where it cannot be told."""
        try:
            return range(*(_told(one, values) for one in self.arguments))
        except (ValueError, TypeError, OverflowError):
            return None


def _told(one: ast.expr, values: Mapping[str, Any]) -> Any:
    """A whole number. Raises TypeError for what is none, or not known to stay as it is."""
    match one:
        case ast.Name(id=name):
            value = values.get(name)
            if type(value) in {int, bool} or isinstance(value, np.integer):
                return value
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=of):
            return -_told(of, values)
        case ast.BinOp(left, op, right):
            return _ARITHMETIC[type(op)](_told(left, values), _told(right, values))
    raise TypeError(ast.dump(one))


def steady_bounds(one: ast.For, names: Collection[str]) -> Bounds | None:
    """The bounds of a loop that has a ``steady_range``, if local names that it leaves alone are all they depend on."""
    assert isinstance(one.iter, ast.Call)
    used: set[str] = set()
    if not all(_simple(part, used) for part in one.iter.args):
        return None
    changed = bound(one.body) | {node.id for node in ast.walk(one.target) if isinstance(node, ast.Name)}
    return Bounds(tuple(one.iter.args)) if used <= set(names) - changed else None


def _simple(one: ast.expr, used: set[str]) -> bool:
    """Whether an expression is one that ``_told`` tells; its names are added to ``used``."""
    match one:
        case ast.Name(id=name):
            used.add(name)
            return True
        case ast.Constant(value=value):
            return type(value) is int
        case ast.UnaryOp(op=ast.USub(), operand=of):
            return _simple(of, used)
        case ast.BinOp(left, op, right):
            return type(op) in _ARITHMETIC and _simple(left, used) and _simple(right, used)
    return False
