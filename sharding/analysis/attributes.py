"""Attributes of parameters that a function only reads (``self.n``), as names of their own.

The name stands for the attribute's value when a loop starts. That is exact as long as nothing stores to an attribute
in the loop, which is refused, and the attribute is a plain one of the instance, which is checked at run time.
"""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass, field
from typing import Final

from sidestep.sharding.analysis.source import AnyFunction
from sidestep.sharding.analysis.trees import stored_names
from sidestep.sharding.analysis.webs import separated
from sidestep.sharding.universe import effects

#: what the names begin with
AT: Final = "_sd_at_"


@dataclass(frozen=True, slots=True)
class Hoisted:
    """A function with names for attributes, and the path that each name stands for: ``("self", "n")``."""

    node: ast.FunctionDef
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)


def hoisted(node: AnyFunction) -> Hoisted:
    """A copy of the function with attributes of parameters as names, loops' own names apart; locations are kept."""
    assert isinstance(node, ast.FunctionDef)
    parameters = {a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    parameters -= stored_names(node.body)
    called = {id(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}
    written = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and not isinstance(n.ctx, ast.Load)}
    visitor = _Hoist(parameters, called, written)
    made = copy.copy(node)
    made.body = [visitor.visit(_copied(s, called)) for s in node.body]
    separated(made.body)
    return Hoisted(made, visitor.paths)


def _copied(node: ast.AST, called: set[int]) -> ast.AST:
    """A deep copy in which called attributes are still known by identity."""
    fresh = copy.copy(node)
    if id(node) in called:
        called.add(id(fresh))
    for name, part in ast.iter_fields(node):
        if isinstance(part, ast.AST):
            setattr(fresh, name, _copied(part, called))
        elif isinstance(part, list):
            setattr(fresh, name, [_copied(p, called) if isinstance(p, ast.AST) else p for p in part])
    return fresh


class _Hoist(ast.NodeTransformer):
    def __init__(self, parameters: set[str], called: set[int], written: set[str]) -> None:
        self.parameters, self.called, self.written = parameters, called, written
        self.paths = dict[str, tuple[str, ...]]()

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        path = self._path(node)
        if path is None or id(node) in self.called:
            self.generic_visit(node)
            return node
        name = AT + "__".join(path)
        self.paths[name] = path
        return ast.copy_location(ast.Name(name, ast.Load()), node)

    def _path(self, node: ast.Attribute) -> tuple[str, ...] | None:
        names = list[str]()
        one: ast.expr = node
        while isinstance(one, ast.Attribute):
            if one.attr in effects.ATTRIBUTES or one.attr in self.written or not isinstance(one.ctx, ast.Load):
                return None
            names.insert(0, one.attr)
            one = one.value
        return (one.id, *names) if isinstance(one, ast.Name) and one.id in self.parameters else None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node


def restored(node: ast.FunctionDef, moved: Hoisted) -> ast.FunctionDef:
    """The function with attributes again where names stand for them."""
    made = _Restore(moved.paths).visit(copy.deepcopy(node))
    assert isinstance(made, ast.FunctionDef)
    return made


class _Restore(ast.NodeTransformer):
    def __init__(self, paths: dict[str, tuple[str, ...]]) -> None:
        self.paths = paths

    def visit_Name(self, node: ast.Name) -> ast.AST:
        path = self.paths.get(node.id)
        if path is None:
            return node
        one: ast.expr = ast.Name(path[0], ast.Load())
        for name in path[1:]:
            one = ast.Attribute(one, name, node.ctx)
        return ast.copy_location(one, node)
