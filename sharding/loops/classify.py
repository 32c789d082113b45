"""The verdict on every loop of a function."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from sidestep.sharding.analysis.collect import Access, Collector
from sidestep.sharding.analysis.context import Context
from sidestep.sharding.analysis.places import Iteration, Places, Variable, hidden, without
from sidestep.sharding.analysis.polynomials import Poly
from sidestep.sharding.analysis.trees import (
    OWN_SCOPE,
    names_in_all,
    own_exits,
    parts_of,
    stored_names,
    target_names,
    text_of,
    walk,
)
from sidestep.sharding.execute.contract import Refusal
from sidestep.sharding.loops import conflicts
from sidestep.sharding.loops.exposure import exposed_reads
from sidestep.sharding.loops.freshness import fresh_names
from sidestep.sharding.loops.iterated import reading
from sidestep.sharding.loops.reductions import companion, reduction_of
from sidestep.sharding.loops.verdict import Guard, Verdict
from sidestep.sharding.universe import effects
from sidestep.sharding.universe.types import ANY, scalar

Loop = ast.For | ast.While | ast.AsyncFor
#: reasons by which the loop is sequential, not out of reach
_SEQUENTIAL = ("dep:", "loop-carried", "early-exit", "negative-index", "zero-step")


def classify_all(context: Context) -> list[Verdict]:
    """A verdict for every loop, outermost first, in the order of the text."""
    found = list[Verdict]()

    def look(body: Iterable[ast.AST], around: tuple[Loop, ...]) -> None:
        for s in body:
            if isinstance(s, (*OWN_SCOPE, ast.expr)):
                continue
            if isinstance(s, ast.For | ast.While | ast.AsyncFor):
                found.append(classify(context, s, around))
                look(s.body, (*around, s))
                look(s.orelse, around)
            else:
                for part in parts_of(s).values():
                    look(part, around)

    look(context.node.body, ())
    return found


def classify(context: Context, node: Loop, around: tuple[Loop, ...] = ()) -> Verdict:
    """The verdict on one loop, inside the loops ``around`` it."""
    verdict = Verdict(node, len(around))
    if isinstance(node, ast.While):
        verdict.refusals.append(Refusal("while-loop", node.lineno, text_of(node.test)))
        return verdict
    if isinstance(node, ast.AsyncFor):
        verdict.refusals.append(Refusal("async", node.lineno))
        verdict.kind = "refused"
        return verdict
    _Classifier(context, node, around, verdict).run()
    return verdict


class _Classifier:
    """One loop's verdict in the making."""

    def __init__(self, context: Context, node: ast.For, around: tuple[Loop, ...], verdict: Verdict) -> None:
        self.context, self.node, self.around, self.verdict = context, node, around, verdict
        self.targets = set(target_names(node.target))
        self.stored = stored_names(node.body)
        self.exposed, _ = exposed_reads(node.body, context.local, self.targets)
        self.fresh = fresh_names(context, node.body, self.exposed, self.targets)
        self.outer = list[Variable]()
        self.iteration = Iteration("other", "", None)
        self.keys = dict[str, int]()

    def run(self) -> None:
        verdict, node = self.verdict, self.node
        verdict.leaves = bool(own_exits(node.body))
        if any(isinstance(n, ast.Subscript | ast.Attribute) for n in _stored_places(node.target)):
            verdict.refusals.append(Refusal("loop-target", node.lineno, text_of(node.target)))
        self._declared()
        before, body = self._collect()
        verdict.refusals += body.refusals
        verdict.orders_sets = body.orders_sets
        self._iterable()
        self._scalars()
        self._regions(before, body)
        self._names()
        self._kind()

    def _declared(self) -> None:
        """Names that the function declares to be the module's: whoever else reads them would see them change."""
        bound = self.stored | self.targets
        for one in walk(self.context.node.body):
            if isinstance(one, ast.Global) and (names := bound.intersection(one.names)):
                self.verdict.refusals.append(Refusal("global", one.lineno, ", ".join(sorted(names))))

    def _collect(self) -> tuple[list[Access], Collector]:
        """Accesses of the iterable and of the body; a second pass knows what changes its length."""
        reshaped = frozenset[str]()
        first = self._pass(reshaped)
        writes = [a for a in first[1].accesses if a.mode == "write"]
        reshaped = frozenset(a.root for a in writes if a.via not in {"", "aug"} or not a.dims)
        regions = self.context.regions(reshaped)
        reshaped |= {name for name in self.context.local if self.context.region(name) in regions}
        return self._pass(reshaped) if reshaped else first

    def _pass(self, reshaped: frozenset[str]) -> tuple[list[Access], Collector]:
        places = Places(self.context, reshaped=reshaped)
        for loop in self.around:
            if isinstance(loop, ast.For):
                places.varying = stored_names(loop.body)
                places.enter(loop.target, loop.iter)
        places.variables = [v for v in places.variables if v.name not in self.stored]
        self.outer = list(places.variables)
        inner = self.stored | self.targets
        places.varying = set(inner)
        places.aliases = without(places.aliases, inner)
        places.scalars = {n: p for n, p in places.scalars.items() if n not in inner}
        places.aliases = {n: p for n, p in places.aliases.items() if p.root not in inner}
        collector = Collector(self.context, places, private=self.fresh, single=self._single())
        collector.expression(self.node.iter)
        before, collector.accesses = collector.accesses, []
        self.iteration = places.enter(self.node.target, self.node.iter)
        for name in self.targets & self.stored:
            places.scalars.pop(name, None)
            places.aliases.pop(name, None)
            places.variables = [v for v in places.variables if v.name != name]
        if not self.iteration.variable or self.iteration.variable in self.stored:
            self.iteration = Iteration("other", hidden(self.node.iter), Poly.const(1))
            places.variables.append(Variable(hidden(self.node.iter), Poly.const(0), None))
        self.keys = self._keys(places)
        places.keys = frozenset(self.keys)
        collector.statements(self.node.body)
        return before, collector

    def _keys(self, places: Places) -> dict[str, int]:
        """Names that are an item, or a part of one, and nothing else; which part, -1 for all of it."""
        target = self.node.target
        parts = dict[str, int]()
        if isinstance(target, ast.Name):
            parts = {target.id: -1}
        elif isinstance(target, ast.Tuple | ast.List) and not any(isinstance(e, ast.Starred) for e in target.elts):
            parts = {one.id: at for at, one in enumerate(target.elts) if isinstance(one, ast.Name)}
        known = {v.name for v in places.variables} | set(places.scalars)
        twice = len(parts) != len(target_names(target))
        return {} if twice else {name: at for name, at in parts.items() if name not in self.stored | known}

    def _single(self) -> frozenset[str]:
        """Names that the body binds once, before it reads them."""
        times = dict[str, int]()
        for n in walk(self.node.body):
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store | ast.Del):
                times[n.id] = times.get(n.id, 0) + 1
            elif isinstance(n, ast.AugAssign | ast.For | ast.comprehension):
                for name in target_names(n.target):
                    times[name] = times.get(name, 0) + 2
        return frozenset({n for n, count in times.items() if count == 1} - self.exposed - self.targets)

    def _iterable(self) -> None:
        verdict, node = self.verdict, self.node
        step = self.iteration.step
        if step is None:
            verdict.refusals.append(Refusal("non-affine-step", node.lineno, text_of(node.iter)))
        elif step.value is None:
            verdict.guards.append(Guard("holds", f"{step.text()} >= 1"))
        elif step.value == 0:
            verdict.refusals.append(Refusal("zero-step", node.lineno))
        it = node.iter
        if isinstance(it, ast.GeneratorExp) or (isinstance(it, ast.Call) and not self._plain_call(it)):
            verdict.refusals.append(Refusal("opaque-iterator", node.lineno, text_of(it)))
        if verdict.leaves:
            self._lazily(it)

    def _plain_call(self, call: ast.Call) -> bool:
        """Whether the iterable can be listed before the first iteration without being seen."""
        f, context = call.func, self.context
        if isinstance(f, ast.Name):
            if context.builtin(f.id):
                return f.id in effects.BUILTINS
            return context.summarise(context, call, {}) is not None
        dotted = context.dotted(f)
        if dotted:
            return dotted in effects.ITERTOOLS or dotted in effects.DOTTED or dotted in effects.VIEWS
        return isinstance(f, ast.Attribute) and f.attr in effects.METHODS and not effects.METHODS[f.attr].mutates

    def _lazily(self, it: ast.expr) -> None:
        """A loop that may be left must not use up an iterator that others see."""
        call = it if isinstance(it, ast.Call) else None
        parts = [it] if call is None else [*call.args, *(k.value for k in call.keywords)]
        if call is not None and isinstance(call.func, ast.Attribute):
            parts.append(call.func.value)
        for part in parts:
            inner = part.value if isinstance(part, ast.Starred) else part
            for n in ast.walk(inner):
                unclear = isinstance(n, ast.Name) and self.context.types.get(n.id, ANY).name in {"any", "iter"}
                if isinstance(n, ast.Name) and unclear and n.id in self.context.local:
                    self.verdict.guards.append(Guard("sequence", n.id))

    def _scalars(self) -> None:
        verdict, context = self.verdict, self.context
        for name in sorted(self.exposed & self.stored):
            found = reduction_of(self.node.body, name, context)
            if found is None:
                plain = scalar(context.types.get(name, ANY))
                code = "loop-carried-scalar" if plain else "loop-carried-name"
                verdict.refusals.append(Refusal(code, self.node.lineno, name))
                continue
            verdict.reductions[name] = found
            for beside in found.companions:
                verdict.reductions.setdefault(beside, companion(name, context.types.get(beside, ANY)))

    def _regions(self, before: list[Access], body: Collector) -> None:
        how = reading(self.context, self.node.iter)
        iterated = [
            Access(a.root, a.dims, "iterate", a.node, (), "inside" if how == "inside" else "")
            for a in before if a.mode != "length" and how != "before"
        ]  # fmt: skip
        by_region = dict[str, list[Access]]()
        for access in (*body.accesses, *iterated):
            by_region.setdefault(self.context.region(access.root), []).append(access)
        loop = conflicts.LoopView(
            context=self.context, body=self.node.body, iteration=self.iteration,
            fixed={v.name for v in self.outer}, fresh=self.fresh, target=self.node.target, iterated=self.node.iter,
            keys=self.keys, bound=self.stored | self.targets,
        )  # fmt: skip
        for accesses in by_region.values():
            conflicts.settle(loop, accesses, self.verdict)

    def _names(self) -> None:
        verdict, node = self.verdict, self.node
        inside = {id(n) for part in (node.target, *node.body) for n in ast.walk(part)}
        every = [n for n in ast.walk(self.context.node) if id(n) not in inside]
        outside = {n.id for n in every if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load | ast.Del)}
        outside |= {n.target.id for n in every if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)}
        bound = self.stored | self.targets
        verdict.private = bound - set(verdict.reductions)
        verdict.exposed = self.exposed - self.targets
        verdict.last = (bound & outside) - set(verdict.reductions)
        verdict.reads = names_in_all(node.body)
        verdict.variable = self.iteration.variable

    def _kind(self) -> None:
        verdict = self.verdict
        verdict.guards = sorted(set(verdict.guards), key=lambda g: (g.kind, g.text))
        verdict.refusals = list(dict.fromkeys(verdict.refusals))
        if verdict.refusals:
            hard = any(not why.code.startswith(_SEQUENTIAL) for why in verdict.refusals)
            verdict.kind = "refused" if hard else "sequential"
        else:
            verdict.kind = "reduction" if verdict.reductions else "doall"


def _stored_places(target: ast.expr) -> Sequence[ast.AST]:
    return [n for n in ast.walk(target) if isinstance(getattr(n, "ctx", None), ast.Store)]
