"""Names that an iteration reads before it has bound them: what iterations may hand to each other."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from sidestep.sharding.analysis.trees import COMPREHENSIONS, loaded, target_names

_NOTHING = frozenset[str]()


def exposed_reads(body: Sequence[ast.stmt], local: set[str], targets: Iterable[str] = ()) -> tuple[set[str], set[str]]:
    """Names read before they are surely bound, and names surely bound at the end; ``targets`` are from the begin on."""
    walker = _Exposure(local)
    bound = set(targets)
    walker.block(body, bound)
    return walker.exposed, bound


class _Exposure:
    def __init__(self, local: set[str]) -> None:
        self.local = local
        self.exposed = set[str]()

    def expression(  # noqa: PLR0912
        self, node: ast.AST | None, bound: set[str], own: frozenset[str] = _NOTHING
    ) -> None:
        match node:
            case None:
                return
            case ast.Name():
                read = isinstance(node.ctx, ast.Load) and node.id in self.local
                if read and node.id not in bound and node.id not in own:
                    self.exposed.add(node.id)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                self._comprehension(node, bound, own)
            case ast.Lambda():
                a = node.args
                names = {p.arg for p in ast.walk(a) if isinstance(p, ast.arg)}
                for default in (*a.defaults, *a.kw_defaults):
                    self.expression(default, bound, own)
                self.expression(node.body, bound, own | names)
            case ast.NamedExpr():
                self.expression(node.value, bound, own)
                bound.add(node.target.id)
            case ast.BoolOp():
                self.expression(node.values[0], bound, own)
                for value in node.values[1:]:
                    self.expression(value, set(bound), own)
            case ast.IfExp():
                self.expression(node.test, bound, own)
                self.expression(node.body, set(bound), own)
                self.expression(node.orelse, set(bound), own)
            case ast.Compare():
                self.expression(node.left, bound, own)
                self.expression(node.comparators[0], bound, own)
                for value in node.comparators[1:]:
                    self.expression(value, set(bound), own)
            case _:
                for child in ast.iter_child_nodes(node):
                    self.expression(child, bound, own)

    def _comprehension(self, node: ast.AST, bound: set[str], own: frozenset[str]) -> None:
        assert isinstance(node, COMPREHENSIONS)
        for generator in node.generators:
            self.expression(generator.iter, set(bound), own)
            own = own | frozenset(target_names(generator.target))
            for condition in generator.ifs:
                self.expression(condition, set(bound), own)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.expression(part, set(bound), own)

    def target(self, node: ast.expr, bound: set[str]) -> None:
        match node:
            case ast.Name():
                bound.add(node.id)
            case ast.Tuple() | ast.List():
                for part in node.elts:
                    self.target(part, bound)
            case ast.Starred():
                self.target(node.value, bound)
            case _:
                self.expression(node, bound)

    def block(self, body: Iterable[ast.stmt], bound: set[str]) -> bool:
        """Whether the end is never reached."""
        return any(self.statement(s, bound) for s in body)

    def statement(self, s: ast.stmt, bound: set[str]) -> bool:  # noqa: PLR0912 - one statement a branch
        match s:
            case ast.Assign():
                self.expression(s.value, bound)
                for target in s.targets:
                    self.target(target, bound)
            case ast.AugAssign():
                self.expression(loaded(s.target), bound)
                self.expression(s.value, bound)
                self.target(s.target, bound)
            case ast.AnnAssign():
                if s.value is not None:
                    self.expression(s.value, bound)
                    self.target(s.target, bound)
            case ast.Return():
                self.expression(s.value, bound)
                return True
            case ast.Raise():
                self.expression(s.exc, bound)
                self.expression(s.cause, bound)
                return True
            case ast.Continue() | ast.Break():
                return True
            case ast.If():
                return self._if(s, bound)
            case ast.For() | ast.AsyncFor():
                self.expression(s.iter, bound)
                within = set(bound)
                self.target(s.target, within)
                self.block(s.body, within)
                self.block(s.orelse, set(bound))
            case ast.While():
                self.expression(s.test, bound)
                self.block(s.body, set(bound))
                self.block(s.orelse, set(bound))
            case ast.Try():
                within = set(bound)
                self.block(s.body, within)
                for handler in s.handlers:
                    caught = set(bound) | ({handler.name} if handler.name else set())
                    self.block(handler.body, caught)
                self.block(s.orelse, within)
                self.block(s.finalbody, set(bound))
            case ast.With() | ast.AsyncWith():
                for item in s.items:
                    self.expression(item.context_expr, bound)
                    if item.optional_vars is not None:
                        self.target(item.optional_vars, bound)
                self.block(s.body, bound)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self.exposed |= {n.id for n in ast.walk(s) if isinstance(n, ast.Name) and n.id in self.local} - bound
                bound.add(s.name)
            case ast.Match():
                self.expression(s.subject, bound)
                for case in s.cases:
                    self.block(case.body, set(bound))
            case _:
                for child in ast.iter_child_nodes(s):
                    if isinstance(child, ast.expr):
                        self.expression(loaded(child), bound)
        return False

    def _if(self, s: ast.If, bound: set[str]) -> bool:
        self.expression(s.test, bound)
        yes, no = set(bound), set(bound)
        leaves_yes, leaves_no = self.block(s.body, yes), self.block(s.orelse, no)
        bound |= no if leaves_yes else yes if leaves_no else yes & no
        return leaves_yes and leaves_no
