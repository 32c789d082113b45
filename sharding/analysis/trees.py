"""Small questions to syntax trees."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

#: statements and expressions with a scope of their own
OWN_SCOPE: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
COMPREHENSIONS: Final = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
Comprehension = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
Expression = TypeVar("Expression", bound=ast.expr)


def walk(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Every node below in the order of the text, except what is inside functions and classes defined there."""
    todo = [*body][::-1]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, OWN_SCOPE):
            todo.extend([*ast.iter_child_nodes(node)][::-1])


def parts_of(node: ast.AST) -> dict[str, list[ast.AST]]:
    """What stands in the lists of a node, by their names; the names that ``global`` and patterns list are no nodes."""
    lists = {name: part for name, part in ast.iter_fields(node) if isinstance(part, list)}
    return {name: [one for one in part if isinstance(one, ast.AST)] for name, part in lists.items()}


def line_of(node: ast.AST) -> int:
    """Where it stands; 0 when unknown."""
    return int(getattr(node, "lineno", 0))


def text_of(node: ast.AST, limit: int = 60) -> str:
    """Its source text, shortened."""
    try:
        said = ast.unparse(node)
    except (AttributeError, ValueError, RecursionError):
        return type(node).__name__
    return said if len(said) <= limit else said[: limit - 1] + "…"


def loaded(target: Expression) -> Expression:
    """The same place, as what is read."""
    read = copy.copy(target)
    if hasattr(read, "ctx"):
        read.ctx = ast.Load()
    return read


def target_names(target: ast.AST) -> list[str]:
    """Names that an assignment to the target binds."""
    if isinstance(target, ast.Name):
        return [target.id]
    return [n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def stored_names(body: Iterable[ast.AST]) -> set[str]:
    """Names bound or deleted anywhere in the statements; comprehensions' own included (they shadow)."""
    found = set[str]()
    for node in walk(body):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            found |= {node.name} if node.name else set()
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
    return found


def names_in(node: ast.AST) -> set[str]:
    """All names that occur."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def names_in_all(body: Iterable[ast.AST]) -> set[str]:
    """All names that occur in the statements."""
    return {n.id for statement in body for n in ast.walk(statement) if isinstance(n, ast.Name)}


def bound_imports(body: Iterable[ast.AST]) -> dict[str, str]:
    """Names that import statements bind, with the full name of what they stand for."""
    found = dict[str, str]()
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                found[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{'.' * node.level}{node.module or ''}.{alias.name}"
    return found


def always_leaves(body: Sequence[ast.stmt]) -> bool:
    """Whether the statements never run off their end."""
    for s in body:
        if isinstance(s, ast.Return | ast.Raise):
            return True
        if isinstance(s, ast.If) and s.orelse and always_leaves(s.body) and always_leaves(s.orelse):
            return True
        if isinstance(s, ast.While) and isinstance(s.test, ast.Constant) and s.test.value:
            return not any(isinstance(n, ast.Break) for n in walk(s.body))
        if isinstance(s, ast.With) and always_leaves(s.body):
            return True
    return False


def own_exits(body: Iterable[ast.stmt]) -> list[ast.Return | ast.Break]:
    """The breaks of this loop level, and every return."""
    found = list[ast.Return | ast.Break]()

    def look(statements: Iterable[ast.AST], inner: bool) -> None:
        for s in statements:
            if isinstance(s, ast.Return) or (isinstance(s, ast.Break) and not inner):
                found.append(s)
            if isinstance(s, (*OWN_SCOPE, ast.expr)):
                continue
            loop = isinstance(s, ast.For | ast.While | ast.AsyncFor)
            for name, part in parts_of(s).items():
                look(part, inner or (loop and name == "body"))

    look(body, False)
    return found
