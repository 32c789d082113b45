"""Statements that combine into an element of a container and look at nothing else of it.

Each is written down by shards as ``(what, op, keys, default, term)`` and done later, in order. Counting by ``get``, by
``in`` and by a default, and grouping into lists are such statements, as is ``h[k] += v``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sidestep.sharding.analysis.trees import names_in
from sidestep.sharding.loops.reductions import OPERATORS

#: what an entry does: ``r[k] op= v``, ``r[k] = r.get(k, d) op v``, ``if k not in r: r[k] = d``,
#: ``r[k] op= v if k in r else r[k] = d``, ``r[k].append(v)``, ``r.setdefault(k, d).append(v)``
UPDATE, GET, DEFAULT, EITHER, APPEND, GROUP = range(6)
_COLLECTS: Final = frozenset({"append"})


@dataclass(frozen=True, slots=True)
class Keyed:
    """One such statement; ``covered`` are the nodes by which it touches the container."""

    root: str
    what: int
    op: str
    keys: tuple[ast.expr, ...]
    default: ast.expr
    term: ast.expr
    covered: tuple[int, ...]


_NOTHING: Final = ast.Constant(None)


def keyed_statement(s: ast.AST) -> Keyed | None:
    """The form of a statement, when it is one."""
    found = _form(s)
    if found is None:
        return None
    parts = [*found.keys, found.default, found.term]
    return None if any(found.root in names_in(part) for part in parts) else found


def _form(s: ast.AST) -> Keyed | None:
    match s:
        case ast.AugAssign(target=ast.Subscript() as target, op=op, value=value) if type(op) in OPERATORS:
            place = _place(target)
            if place is not None:
                return Keyed(place[0], UPDATE, OPERATORS[type(op)], place[1], _NOTHING, value, (id(target),))
        case ast.Assign(targets=[ast.Subscript() as target], value=ast.BinOp() as value):
            return _by_get(target, value)
        case ast.If(test=ast.Compare(left=key, ops=[op], comparators=[ast.Name() as name])):
            return _by_test(s, key, op, name)
        case ast.Expr(value=ast.Call(func=ast.Attribute() as f, args=[term], keywords=[]) as made):
            return _collected(made, f, term) if f.attr in _COLLECTS else None
    return None


def _place(target: ast.expr) -> tuple[str, tuple[ast.expr, ...]] | None:
    """The name and subscripts of ``r[k1][k2]``; slices are no keys."""
    keys = list[ast.expr]()
    while isinstance(target, ast.Subscript):
        if any(isinstance(n, ast.Slice) for n in ast.walk(target.slice)):
            return None
        keys.insert(0, target.slice)
        target = target.value
    return (target.id, tuple(keys)) if isinstance(target, ast.Name) else None


def _by_get(target: ast.Subscript, value: ast.BinOp) -> Keyed | None:
    place = _place(target)
    call = value.left
    if place is None or len(place[1]) != 1 or type(value.op) not in OPERATORS or not isinstance(call, ast.Call):
        return None
    f = call.func
    if not (isinstance(f, ast.Attribute) and f.attr == "get" and isinstance(f.value, ast.Name)):
        return None
    if f.value.id != place[0] or len(call.args) != 2 or call.keywords or not _same(call.args[0], place[1][0]):
        return None
    op = OPERATORS[type(value.op)]
    return Keyed(place[0], GET, op, place[1], call.args[1], value.right, (id(target), id(f.value)))


def _by_test(s: ast.If, key: ast.expr, op: ast.cmpop, name: ast.Name) -> Keyed | None:
    there, absent = (s.body, s.orelse) if isinstance(op, ast.In) else (s.orelse, s.body)
    if not isinstance(op, ast.In | ast.NotIn) or len(absent) != 1 or len(there) > 1:
        return None
    store = absent[0]
    target = store.targets[0] if isinstance(store, ast.Assign) and len(store.targets) == 1 else None
    if not isinstance(store, ast.Assign) or not _at(target, name.id, key):
        return None
    if not there:
        return Keyed(name.id, DEFAULT, "", (key,), store.value, _NOTHING, (id(name), id(target)))
    update = there[0]
    if isinstance(update, ast.AugAssign) and type(update.op) in OPERATORS and _at(update.target, name.id, key):
        covered = (id(name), id(target), id(update.target))
        sign = OPERATORS[type(update.op)]
        return Keyed(name.id, EITHER, sign, (key,), store.value, update.value, covered)
    return None


def _collected(call: ast.Call, f: ast.Attribute, term: ast.expr) -> Keyed | None:
    holder = f.value
    if isinstance(holder, ast.Subscript):
        place = _place(holder)
        return Keyed(place[0], APPEND, "", place[1], _NOTHING, term, (id(holder),)) if place is not None else None
    inner = holder.func if isinstance(holder, ast.Call) else None
    if isinstance(holder, ast.Call) and isinstance(inner, ast.Attribute) and inner.attr == "setdefault":
        name = inner.value
        if isinstance(name, ast.Name) and len(holder.args) == 2 and not holder.keywords:
            covered = (id(name), id(call))
            return Keyed(name.id, GROUP, "", (holder.args[0],), holder.args[1], term, covered)
    return None


def _same(one: ast.expr, other: ast.expr) -> bool:
    return ast.dump(one) == ast.dump(other)


def _at(target: ast.expr | None, root: str, key: ast.expr) -> bool:
    plain = isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id == root
    return plain and isinstance(target, ast.Subscript) and _same(target.slice, key)


def keyed_forms(body: Sequence[ast.stmt], root: str) -> list[Keyed]:
    """The statements of this root, wherever they stand; what stands inside one of them is part of it."""
    found = list[Keyed]()

    def look(nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            form = keyed_statement(node)
            if form is not None and form.root == root:
                found.append(form)
            else:
                look(ast.iter_child_nodes(node))

    look(body)
    return found
