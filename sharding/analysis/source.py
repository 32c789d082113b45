"""A module's text: its functions, imports and constants, without running any of it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidestep.sharding.analysis.trees import bound_imports

if TYPE_CHECKING:
    from sidestep.sharding.analysis.context import Summary

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Source:
    """What a module defines at its top. Methods are functions named ``Class.method``.

    ``unsure`` are names that are bound more than once, or by ``global``: what they mean cannot be told.
    """

    text: str
    functions: dict[str, AnyFunction] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    #: names that ``from m import name`` binds
    from_imports: set[str] = field(default_factory=set)
    #: ``from m import *`` may bind anything
    star: bool = False
    #: summaries of functions for argument types, filled by the analysis
    summaries: dict[object, Summary] = field(default_factory=dict)


def read(text: str) -> Source:
    """Parse a module. Raises SyntaxError, ValueError (null bytes) and RecursionError as ``ast.parse`` does."""
    tree = ast.parse(text)
    source = Source(text)
    bound = dict[str, int]()
    _top(source, tree.body, bound)
    source.unsure |= {name for name, times in bound.items() if times > 1}
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            source.unsure |= set(node.names)
        elif isinstance(node, ast.ImportFrom):
            source.from_imports |= {alias.asname or alias.name for alias in node.names}
    return source


def _top(source: Source, body: list[ast.stmt], bound: dict[str, int]) -> None:
    def count(name: str) -> None:
        bound[name] = bound.get(name, 0) + 1

    for s in body:
        if isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef):
            source.functions[s.name] = s
            count(s.name)
        elif isinstance(s, ast.ClassDef):
            source.classes[s.name] = s
            count(s.name)
            source.functions |= {
                f"{s.name}.{m.name}": m for m in s.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef)
            }
        elif isinstance(s, ast.Import | ast.ImportFrom):
            source.imports |= bound_imports([s])
            source.star |= any(alias.name == "*" for alias in s.names)
        elif isinstance(s, ast.Assign) and len(s.targets) == 1 and isinstance(s.targets[0], ast.Name):
            source.constants[s.targets[0].id] = s.value
            count(s.targets[0].id)
        elif isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name) and s.value is not None:
            source.constants[s.target.id] = s.value
            count(s.target.id)
        elif isinstance(s, ast.AugAssign) and isinstance(s.target, ast.Name):
            count(s.target.id)
        elif isinstance(s, ast.If | ast.Try) and not _main(s):
            _top(source, s.body, bound)
            _top(source, s.orelse, bound)
            for handler in getattr(s, "handlers", ()):
                _top(source, handler.body, bound)


def _main(s: ast.stmt) -> bool:
    test = s.test if isinstance(s, ast.If) else None
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"
