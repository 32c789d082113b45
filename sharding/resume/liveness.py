"""Which local names are needed later: structured backward liveness over a function's statements.

What is not live is not in a capsule (S5.11, S5.12). Statements that are not looked into (try, with, match) keep alive
whatever they name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Final

_COMPREHENSIONS: Final = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_Names = set[str]


def own(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of a body, but for those inside functions and classes that it defines (their headers are given)."""
    stack = list(body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, _SCOPES):
            stack += ast.iter_child_nodes(node)


def loads(node: ast.AST | None) -> _Names:
    """Names that an expression reads from the function's scope."""
    found: _Names = set()
    stack: list[tuple[ast.AST, frozenset[str]]] = [(node, frozenset())] if node is not None else []
    while stack:
        one, bound = stack.pop()
        if isinstance(one, ast.Name):
            if isinstance(one.ctx, ast.Load) and one.id not in bound:
                found.add(one.id)
        elif isinstance(one, _COMPREHENSIONS):
            inner = bound
            for part in one.generators:
                stack.append((part.iter, inner))
                inner |= {x.id for x in ast.walk(part.target) if isinstance(x, ast.Name)}
                stack += [(test, inner) for test in part.ifs]
            parts = [one.key, one.value] if isinstance(one, ast.DictComp) else [one.elt]
            stack += [(part, inner) for part in parts]
        elif isinstance(one, ast.Lambda):
            defaults = [*one.args.defaults, *(x for x in one.args.kw_defaults if x is not None)]
            stack += [(default, bound) for default in defaults]
            stack.append((one.body, bound | {x.arg for x in ast.walk(one.args) if isinstance(x, ast.arg)}))
        else:
            stack += [(child, bound) for child in ast.iter_child_nodes(one)]
    return found


def stores(target: ast.expr) -> _Names:
    """Names that an assignment to a target binds for certain."""
    if isinstance(target, ast.Name):
        return {target.id}
    if isinstance(target, ast.Tuple | ast.List):
        return set().union(*map(stores, target.elts))
    return stores(target.value) if isinstance(target, ast.Starred) else set()


def uses(target: ast.expr) -> _Names:
    """Names that an assignment to a target reads."""
    if isinstance(target, ast.Name):
        return set()
    if isinstance(target, ast.Tuple | ast.List):
        return set().union(*map(uses, target.elts))
    return uses(target.value) if isinstance(target, ast.Starred) else loads(target)


class Liveness:
    """Live names at the head of each loop, and across each call statement, by the identity of the statement."""

    def __init__(self, body: Sequence[ast.stmt]) -> None:
        self.head: dict[int, _Names] = {}
        self.across: dict[int, _Names] = {}
        self._block(body, set(), set(), set())

    def _block(self, body: Sequence[ast.stmt], out: _Names, leave: _Names, again: _Names) -> _Names:
        for statement in reversed(body):
            out = self._one(statement, out, leave, again)
        return out

    def _one(self, one: ast.stmt, out: _Names, leave: _Names, again: _Names) -> _Names:  # noqa: PLR0911
        match one:
            case ast.Assign():
                after = out - set().union(*map(stores, one.targets)) | set().union(*map(uses, one.targets))
                self.across[id(one)] = after
                return after | loads(one.value)
            case ast.AugAssign():
                target = {one.target.id} if isinstance(one.target, ast.Name) else loads(one.target)
                return out | target | loads(one.value)
            case ast.AnnAssign(value=None):
                return set(out)
            case ast.AnnAssign():
                return out - stores(one.target) | uses(one.target) | loads(one.value)
            case ast.Expr():
                self.across[id(one)] = set(out)
                return out | loads(one.value)
            case ast.Return():
                self.across[id(one)] = set()
                return loads(one.value)
            case ast.Raise():
                return loads(one)
            case ast.Break():
                return set(leave)
            case ast.Continue():
                return set(again)
            case ast.If():
                then, other = (self._block(body, out, leave, again) for body in (one.body, one.orelse))
                return then | other | loads(one.test)
            case ast.While() | ast.For():
                return self._loop(one, out, leave, again)
            case ast.Pass() | ast.Import() | ast.ImportFrom():
                return set(out)
        # Definitions, deletions, asserts, and what is not looked into.
        named = {x.id for x in ast.walk(one) if isinstance(x, ast.Name) and not isinstance(x.ctx, ast.Store)}
        return out | leave | again | named

    def _loop(self, one: ast.While | ast.For, out: _Names, leave: _Names, again: _Names) -> _Names:
        after = self._block(one.orelse, out, leave, again)
        head = after | loads(one.test) if isinstance(one, ast.While) else after
        while True:
            body = self._block(one.body, head, out, head)
            more = head | (body - stores(one.target) | uses(one.target) if isinstance(one, ast.For) else body)
            if more == head:
                break
            head = more
        self.head[id(one)] = head
        return head | loads(one.iter) if isinstance(one, ast.For) else set(head)
