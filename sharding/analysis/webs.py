"""One name that several loops use for things of their own, as a name for each.

Types and memory are inferred by name, for the whole function: a ``row`` that counts in one loop and is a list in the
next would be both in each. A name that is seen nowhere but in loops that bind it anew in every iteration can be told
apart, loop by loop: no value of it ever goes from one to the other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Final

from sidestep.sharding.analysis.trees import COMPREHENSIONS, OWN_SCOPE, names_in, target_names

#: whoever calls these sees names
_SEES_NAMES: Final = frozenset({"locals", "vars", "eval", "exec", "dir", "globals"})
#: between a name and its number: part of an identifier, and in nobody's code
_MARK: Final = "·"


def separated(body: Sequence[ast.AST]) -> None:
    """Rename in place: of a name that loops bind for themselves, the second loop's and later ones' get a number."""
    found = _Seen()
    found.look(body, ())
    if found.names & _SEES_NAMES:
        return
    for name, loops in found.loops.items():
        if name in found.outside or len(loops) < 2:
            continue
        for number, uses in enumerate(loops.values(), 1):
            for node in uses if number > 1 else ():
                node.id = f"{name}{_MARK}{number}"


class _Seen:
    """Where each name stands: by the outermost loop that binds it, or outside of all."""

    def __init__(self) -> None:
        self.names = set[str]()
        self.outside = set[str]()
        self.loops = dict[str, dict[int, list[ast.Name]]]()

    def look(self, nodes: Iterable[ast.AST], around: tuple[ast.For, ...], own: frozenset[str] = frozenset()) -> None:
        """Note every name below; ``around`` are loops, ``own`` what comprehensions around bind for themselves."""
        for node in nodes:
            match node:
                case ast.Name():
                    self._name(node, around, own)
                case ast.For():
                    self.look([node.iter], around, own)
                    self.look([node.target, *node.body], (*around, node), own)
                    self.look(node.orelse, around, own)
                case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                    self._comprehension(node, around, own)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() | ast.ClassDef():
                    self._elsewhere(node)
                case _:
                    self._bound(node)
                    self.look(ast.iter_child_nodes(node), around, own)

    def _name(self, node: ast.Name, around: tuple[ast.For, ...], own: frozenset[str]) -> None:
        if node.id in own:
            return
        self.names.add(node.id)
        mine = next((loop for loop in around if node.id in target_names(loop.target)), None)
        if mine is None or isinstance(node.ctx, ast.Del):
            self.outside.add(node.id)
        else:
            self.loops.setdefault(node.id, {}).setdefault(id(mine), []).append(node)

    def _comprehension(self, node: ast.expr, around: tuple[ast.For, ...], own: frozenset[str]) -> None:
        assert isinstance(node, COMPREHENSIONS)
        inner = own | {name for generator in node.generators for name in target_names(generator.target)}
        self.look([node.generators[0].iter], around, own)
        if isinstance(node, ast.GeneratorExp):  # it may be run later, and sees names as they are then
            self.outside |= names_in(node) - inner
        self.look((n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.comprehension)), around, inner)
        for at, generator in enumerate(node.generators):
            self.look([generator.target, *generator.ifs, *([generator.iter] if at else [])], around, inner)

    def _elsewhere(self, node: ast.AST) -> None:
        """What functions and classes inside see or bind is nobody's loop's."""
        assert isinstance(node, OWN_SCOPE)
        for one in ast.walk(node):
            if isinstance(one, ast.Name):
                self.outside.add(one.id)
                self.names.add(one.id)
            self._bound(one)

    def _bound(self, node: ast.AST) -> None:
        """Names that stand in no node of their own."""
        match node:
            case ast.Global() | ast.Nonlocal():
                self.outside.update(node.names)
            case ast.Import() | ast.ImportFrom():
                self.outside.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() | ast.FunctionDef() | ast.ClassDef():
                self.outside |= {node.name} if node.name else set()
            case ast.MatchMapping():
                self.outside |= {node.rest} if node.rest else set()
            case ast.arg():
                self.outside.add(node.arg)
            case _:
                pass
