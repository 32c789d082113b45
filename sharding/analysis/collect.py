"""What statements read and write, and why they cannot be shipped: one pass over a body."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from sidestep.sharding.analysis.collect_expressions import Access, Expressions
from sidestep.sharding.analysis.places import without
from sidestep.sharding.analysis.sharing import shares
from sidestep.sharding.analysis.trees import loaded, stored_names, target_names, text_of
from sidestep.sharding.universe import effects
from sidestep.sharding.universe.types import ANY, scalar

_NONE = frozenset[str]()
#: exceptions that a body may catch: none that depends on how deep or where it runs
_CATCHABLE = effects.EXCEPTIONS - {"Exception", "RuntimeError", "RecursionError", "StopIteration"}


@dataclass(slots=True)
class Collector(Expressions):
    """Walks statements; ``accesses`` and ``refusals`` are what it found."""

    def statements(self, body: Iterable[ast.stmt]) -> None:
        """Several, in order."""
        for statement in body:
            self.statement(statement)

    def statement(self, s: ast.stmt) -> None:  # noqa: PLR0912 - one statement a branch
        """Note what executing it does."""
        match s:
            case ast.Assign():
                self.expression(s.value)
                for target in s.targets:
                    self.target(target, value=s.value)
                self._remember(s)
            case ast.AugAssign():
                self.expression(s.value)
                self.target(s.target, augmented=True, value=s.value)
                if isinstance(s.op, ast.Add | ast.BitOr):
                    self.ordered(s.value)
            case ast.AnnAssign():
                if s.value is not None:
                    self.expression(s.value)
                    self.target(s.target, value=s.value)
            case ast.Expr() | ast.Return():
                self.expression(s.value)
            case ast.If():
                self.expression(s.test)
                self.statements((*s.body, *s.orelse))
            case ast.For():
                self._for(s)
            case ast.While():
                before = set(self.places.varying)
                self.places.varying |= stored_names([s])
                self.expression(s.test)
                self.statements((*s.body, *s.orelse))
                self.places.varying = before
            case ast.Pass() | ast.Break() | ast.Continue():
                pass
            case ast.Import() | ast.ImportFrom():
                self.refuse("import", s)
            case ast.Raise():
                self._raise(s)
            case ast.Assert():
                self.expressions((s.test, s.msg))
            case ast.Delete():
                self._delete(s)
            case ast.Try():
                self._try(s)
            case ast.Global() | ast.Nonlocal():
                self.refuse("global" if isinstance(s, ast.Global) else "nonlocal", s, ", ".join(s.names))
            case ast.With() | ast.AsyncWith():
                self.refuse("with", s)
                self.expressions(item.context_expr for item in s.items)
                self.statements(s.body)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self.refuse("nested-def", s, s.name)
            case _:
                self.refuse("statement", s, type(s).__name__)

    def _remember(self, s: ast.Assign) -> None:
        """A name that is bound once in an iteration stands for what it was bound to."""
        target = s.targets[0]
        if len(s.targets) != 1 or not isinstance(target, ast.Name) or target.id not in self.single:
            return
        t = self.context.types.get(target.id, ANY)
        if t.name in {"int", "num", "bool"}:
            value = self.places.poly(s.value)
            if value is not None and target.id not in value.symbols():
                self.places.scalars[target.id] = value
        elif not scalar(t) and isinstance(s.value, ast.Subscript):
            place = self.places.place(s.value)
            if place is not None and place.root != target.id and all(d.kind == "index" for d in place.dims):
                self.places.aliases[target.id] = place

    def _for(self, s: ast.For) -> None:
        self.expression(s.iter)
        self.ordered(s.iter)
        outside = self.places
        self.places = inner = outside.copy()
        stored = stored_names(s.body)
        inner.aliases = without(inner.aliases, stored)
        inner.scalars = {name: p for name, p in inner.scalars.items() if name not in stored}
        inner.varying |= stored
        inner.enter(s.target, s.iter)
        for name in set(target_names(s.target)) & stored:
            inner.scalars.pop(name, None)
            inner.aliases.pop(name, None)
            inner.variables = [v for v in inner.variables if v.name != name]
        self._other_targets(s.target)
        self.statements(s.body)
        self.places = outside
        self.statements(s.orelse)

    def _other_targets(self, target: ast.expr) -> None:
        for n in ast.walk(target):
            if isinstance(n, ast.Subscript | ast.Attribute) and isinstance(n.ctx, ast.Store):
                self.target(n)

    def _raise(self, s: ast.Raise) -> None:
        raised = s.exc.func if isinstance(s.exc, ast.Call) else s.exc
        if isinstance(raised, ast.Name) and self.context.builtin(raised.id) and raised.id in effects.EXCEPTIONS:
            if isinstance(s.exc, ast.Call):
                self.expressions(s.exc.args)
        elif s.exc is not None:
            self.refuse("custom-exception", s, text_of(s))

    def _try(self, s: ast.Try) -> None:
        for handler in s.handlers:
            caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
            for kind in caught:
                known = isinstance(kind, ast.Name) and self.context.builtin(kind.id) and kind.id in _CATCHABLE
                if not known:
                    self.refuse("try", handler, text_of(kind) if kind else "except:")
        before = self.places.varying, dict(self.places.scalars), dict(self.places.aliases)
        self.places.varying = self.places.varying | stored_names([s])
        self.statements((*s.body, *(x for handler in s.handlers for x in handler.body), *s.orelse, *s.finalbody))
        self.places.varying, self.places.scalars, self.places.aliases = before

    def _delete(self, s: ast.Delete) -> None:
        for target in s.targets:
            if isinstance(target, ast.Name):
                continue
            self.within(loaded(target))
            base = target.value if isinstance(target, ast.Subscript | ast.Attribute) else target
            place = self.places.place(base)
            if place is not None:
                self.record(place, "write", target, "delete")
            elif not self.write_roots(base, target):
                self.refuse("store-to-expression", target, text_of(target))

    def target(self, target: ast.expr, *, augmented: bool = False, value: ast.expr | None = None) -> None:
        """Note what binding or storing to a target writes."""
        match target:
            case ast.Name():
                if augmented and not scalar(self.context.types.get(target.id, ANY)):
                    self.access(loaded(target), "write", "in-place" if target.id in self.places.aliases else "aug")
            case ast.Tuple() | ast.List():
                if value is not None:
                    self.ordered(value)
                for part in target.elts:
                    self.target(part, value=value)
            case ast.Starred():
                self.target(target.value, value=value)
            case ast.Subscript():
                self._store(target, augmented, value)
            case ast.Attribute():
                self.refuse("attribute-store", target, text_of(target))
            case _:
                self.refuse("statement", target, type(target).__name__)

    def _store(self, target: ast.Subscript, augmented: bool, value: ast.expr | None) -> None:
        self.within(target)
        place = self.places.place(target)
        if augmented and place is not None:
            self.record(place, "read", target)
        if place is None:
            if not self.write_roots(target.value, target):
                private = isinstance(target.value, ast.Name) and target.value.id in self.places.bound
                if not private:
                    self.refuse("store-to-expression", target, text_of(target))
            return
        held = shares(self.context, value, self.places.bound) - self.private if value is not None else _NONE
        array = self.places.type(target.value).name in {"array", "numarr"}
        if isinstance(target.slice, ast.Slice) and not array:
            base = self.places.place(target.value)
            assert base is not None
            self.record(base, "write", target, "resize", held)  # a slice of a list may change its length
            return
        in_place = augmented and not array and not scalar(self.places.type(loaded(target)))
        via = "in-place" if in_place else "aug" if augmented else ""
        self.record(place, "write", target, via, _NONE if array else held)


__all__ = ["Access", "Collector"]
