"""Names that every iteration combines into, and nothing else looks at."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidestep.sharding.analysis.context import Context
from sidestep.sharding.analysis.trees import loaded, names_in
from sidestep.sharding.loops.verdict import Reduction
from sidestep.sharding.universe.types import ANY, Type

#: operators whose terms can be written down and combined later, in order
OPERATORS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
}  # fmt: skip
_INTEGERS: Final = frozenset({"int", "bool"})


@dataclass(slots=True)
class _Found:
    """The statements that combine into one name."""

    forms: set[str] = field(default_factory=set)
    nodes: list[ast.stmt] = field(default_factory=list)
    covered: set[int] = field(default_factory=set)
    companions: set[str] = field(default_factory=set)


def reduction_of(body: Sequence[ast.stmt], name: str, context: Context) -> Reduction | None:
    """How the body combines into a name; None when it reads it otherwise, or combines in several ways.

    The form is ``+=`` (in place), ``x+`` or ``+x`` (an assignment), ``min`` or ``max``.
    """
    found = _Found()
    for node in _statements(body):
        if isinstance(node, ast.AugAssign):
            _augmented(node, name, found)
        elif isinstance(node, ast.Assign):
            _assigned(node, name, context, found)
        elif isinstance(node, ast.If):
            _compared(node, name, found)
    every = {id(n) for s in body for n in ast.walk(s) if isinstance(n, ast.Name) and n.id == name}
    t = context.types.get(name, ANY)
    if found.forms == {"+=", "-="} and t.name in _INTEGERS:
        found.forms = {"+="}
    if len(found.forms) != 1 or every != found.covered:
        return None
    if found.companions and (len(found.nodes) != 1 or not _only_within(body, found)):
        return None
    form = found.forms.pop()
    exact = form in {"min", "max"} or (t.name in _INTEGERS and form.endswith("="))
    return Reduction("scalar", form, t, exact, found.nodes, found.companions)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    for s in body:
        yield from ast.walk(s)


def _augmented(node: ast.AugAssign, name: str, found: _Found) -> None:
    target = node.target
    mine = isinstance(target, ast.Name) and target.id == name and type(node.op) in OPERATORS
    if mine and name not in names_in(node.value):
        found.covered.add(id(target))
        found.forms.add(OPERATORS[type(node.op)] + "=")
        found.nodes.append(node)


def _assigned(node: ast.Assign, name: str, context: Context, found: _Found) -> None:
    target, value = node.targets[0], node.value
    if len(node.targets) != 1 or not isinstance(target, ast.Name) or target.id != name:
        return
    if isinstance(value, ast.BinOp) and type(value.op) in OPERATORS:
        sign = OPERATORS[type(value.op)]
        for mine, other, form in ((value.left, value.right, "x" + sign), (value.right, value.left, sign + "x")):
            if isinstance(mine, ast.Name) and mine.id == name and name not in names_in(other):
                found.covered |= {id(target), id(mine)}
                found.forms.add(form)
                found.nodes.append(node)
                return
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in {"min", "max"}:
        first, *others = value.args or [value]
        plain = context.builtin(value.func.id) and not value.keywords and others
        if plain and isinstance(first, ast.Name) and first.id == name and not any(name in names_in(a) for a in others):
            found.covered |= {id(target), id(first)}
            found.forms.add(value.func.id)
            found.nodes.append(node)


def _compared(node: ast.If, name: str, found: _Found) -> None:
    """``if e > x: x = e`` with companions that are kept beside it, and with conditions that look at none of them."""
    tests = node.test.values if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And) else [node.test]
    test, *others = sorted(tests, key=lambda one: name not in names_in(one))
    if node.orelse or not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return
    if not isinstance(test.ops[0], ast.Lt | ast.Gt):
        return
    left, right = test.left, test.comparators[0]
    mine, other = (left, right) if isinstance(left, ast.Name) and left.id == name else (right, left)
    if not isinstance(mine, ast.Name) or mine.id != name or name in names_in(other):
        return
    pairs = list[tuple[str, ast.Assign]]()
    for s in node.body:
        target = s.targets[0] if isinstance(s, ast.Assign) and len(s.targets) == 1 else None
        if not isinstance(target, ast.Name) or not isinstance(s, ast.Assign):
            return
        pairs.append((target.id, s))
    own = [s for n, s in pairs if n == name]
    beside = [(n, s) for n, s in pairs if n != name]
    if len(own) != 1 or ast.dump(own[0].value) != ast.dump(loaded(other)):
        return
    changed = {n for n, _ in pairs}
    looked = [*(s.value for _, s in pairs), *others]
    if any(changed & names_in(one) for one in looked) or any(isinstance(n, ast.Call) for n in ast.walk(other)):
        return
    found.covered |= {id(mine), id(own[0].targets[0])}
    found.forms.add("max" if isinstance(test.ops[0], ast.Lt) == (mine is left) else "min")
    found.nodes.append(node)
    found.companions |= {n for n, _ in beside}


def _only_within(body: Sequence[ast.stmt], found: _Found) -> bool:
    """Whether companions are only written, and only by the statement that they belong to."""
    within = {id(n) for node in found.nodes for n in ast.walk(node)}
    return all(
        id(n) in within and isinstance(n.ctx, ast.Store)
        for n in _statements(body) if isinstance(n, ast.Name) and n.id in found.companions
    )  # fmt: skip


def logged_calls(body: Sequence[ast.stmt], methods: frozenset[str]) -> set[int]:
    """The receivers of calls that stand as statements, by identity: ``out.append(x)``."""
    return {
        id(s.value.func.value)
        for s in _statements(body)
        if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) and isinstance(s.value.func, ast.Attribute)
        and s.value.func.attr in methods and isinstance(s.value.func.value, ast.Name)
        and len(s.value.args) == 1 and not s.value.keywords and not isinstance(s.value.args[0], ast.Starred)
    }  # fmt: skip


def companion(of: str, t: Type) -> Reduction:
    """The reduction of a name that is kept beside a minimum or maximum."""
    return Reduction("companion", "companion", t, of=of)
