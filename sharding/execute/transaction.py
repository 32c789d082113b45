"""One loop as a transaction: pack once, run shards on copies, validate all, then commit in order, or run it here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from sidestep.sharding import codec
from sidestep.sharding.execute import guards
from sidestep.sharding.execute.contract import Executor, ExecutorLost, ShardTask
from sidestep.sharding.execute.differences import Change, apply, conflicting, thawed_changes
from sidestep.sharding.execute.emitting import Emitted
from sidestep.sharding.execute.folding import Fold, Unfoldable
from sidestep.sharding.execute.iterating import CONTAINERS, ITERATORS, again, containers, listed
from sidestep.sharding.execute.rewriting import RAN, LoopPlan
from sidestep.sharding.execute.shipping import Thawer
from sidestep.sharding.execute.walk import ATOMS, Outside, Survey, inner, overlap, surveyed
from sidestep.sharding.execute.worker import DONE, join_live, survey_of
from sidestep.sharding.universe.types import Type

#: after as many failures in a row a loop is left alone
_STRIKES: Final = 3
_NUMPY_ERRORS: Final = np.geterr()

Cuts = Callable[[int, int], Sequence[int]]


@dataclass(slots=True)
class LoopResult:
    """What the call site gets: values to bind, how the loop was left, and what is still to run there."""

    values: dict[str, Any] = field(default_factory=dict)
    left: int = RAN
    value: Any = None
    rest: Any = ()


@dataclass(slots=True)
class Shard:
    """A shard's answer; every reference in it is the coordinator's own object again."""

    how: int
    value: Any
    changes: list[Change]
    logs: dict[str, list[Any]]
    picked: dict[str, Any]


class Fallback(Exception):
    """The loop, or what is left of it, has to run where it is; says why."""


@dataclass(slots=True)
class Totals:
    """What happened during one call."""

    sharded: int = 0
    fallbacks: list[str] = field(default_factory=list)
    sent: int = 0
    received: int = 0


@dataclass(slots=True)
class Transaction:
    """One loop of one planned function; called by the function itself whenever it gets there."""

    plan: LoopPlan
    emitted: Emitted
    types: dict[str, Type]
    module: dict[str, Any]
    executor: Executor
    cuts: Cuts
    block: str
    totals: Totals
    #: the iterable is made by the loop itself
    fresh: bool = False
    #: times in a row that it did not work
    strikes: int = 0
    #: an attribute path for each live name that stands for one (``self.x``)
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def run(self, iterable: Any, local: dict[str, Any], live: Any = None) -> LoopResult:
        """Run the loop; what cannot run as shards is left to the call site as ``rest``.

        ``live`` goes over the same as ``iterable``, and sees what the loop changes on the way.
        """
        if self.strikes >= _STRIKES or not self._listable(iterable):
            return LoopResult(rest=iterable if live is None else live)
        spare = live if live is not None else iterable if type(iterable) in CONTAINERS else again(iterable)
        if spare is None and self.plan.changes:
            self._give_up("iterable")
            return LoopResult(rest=iterable)
        walked = containers(iterable) if self.plan.foreign and self.plan.changes else []
        if type(iterable) is range:
            items: Any = iterable
        else:
            items, failure = listed(iterable)
            if failure is not None:
                self._give_up("iterable")
                return LoopResult(rest=failure if spare is None else spare)
        result = LoopResult(rest=items if spare is None else spare)
        try:
            self._transact(items, local, result, walked)
            self.totals.sharded += 1
            self.strikes = 0
        except Fallback as why:
            self._give_up(str(why))
        return result

    def _transact(self, items: Any, local: dict[str, Any], result: LoopResult, walked: list[Any]) -> None:
        """Block after block: run, validate, commit. Raises Fallback with everything committed before it in place."""
        scope = local
        live = self._prepare(items, local, walked)
        for first, last in self._waves(len(items)):
            if first:
                scope = {**local, **result.values}
                live = self._live(scope)
                self._check_values(live)
            shards, objects = self._shards(items, live, first, last)
            self._commit(shards, objects, scope, result)
            result.rest = items[last:] if last < len(items) else ()
            if result.left != RAN:
                return

    def _give_up(self, why: str) -> None:
        self.totals.fallbacks.append(why)
        self.strikes += why != "short"

    def _listable(self, iterable: Any) -> bool:
        """Whether listing it early is not seen by anyone: containers, and built-in iterators made for this loop."""
        kind = type(iterable)
        if kind in CONTAINERS:
            return True
        return self.fresh and kind in ITERATORS

    def _prepare(self, items: Any, local: dict[str, Any], walked: list[Any]) -> dict[str, Any]:
        if len(items) < 2:
            raise Fallback("short")
        if np.geterr() != _NUMPY_ERRORS:
            raise Fallback("numpy's error state is not the default")
        live = self._live(local)
        scope = {**live, **{x: local[x] for x in self.plan.logs if x in local}, **self._globals(), **local}
        why = guards.failed(self.plan.verdict.guards, scope, items)
        if why:
            raise Fallback(f"guard: {why}")
        self._check_values(live)
        self._check_memory(live, items, local, walked)
        return live

    def _globals(self) -> dict[str, Any]:
        return {name: self.module[name] for name in self.plan.globals if name in self.module}

    def _live(self, local: dict[str, Any]) -> dict[str, Any]:
        """Values of everything that shards read."""
        live = self._globals()
        for name in self.plan.live:
            path = self.attributes.get(name)
            if path is not None:
                live[name] = _attribute(local, path)
            elif name in local:
                live[name] = local[name]
            else:
                raise Fallback(f"unbound: {name}")
        if len(live) != len(self.plan.live) + len(self.plan.globals):
            raise Fallback("unbound: a module variable")
        for name in (*self.plan.logs, *self.plan.parts):
            if name not in local:
                raise Fallback(f"unbound: {name}")
        return live

    def _check_values(self, live: dict[str, Any]) -> None:
        wrong = guards.mistyped(self.types, live)
        if wrong:
            raise Fallback(f"type: {wrong}")

    def _check_memory(self, live: dict[str, Any], items: Any, local: dict[str, Any], walked: list[Any]) -> None:
        """Regions that are written share nothing with others; accumulators are reached by nothing shipped."""
        plan = self.plan
        if not plan.written_regions and not plan.logs:
            return
        try:
            by_region = self._by_region(live, items) if plan.written_regions else {}
            everything = surveyed(live, None if type(items) is range else items)
            over = surveyed(*walked)
        except Outside as error:
            raise Fallback(f"universe: {error}") from error
        for region in plan.written_regions & by_region.keys():
            if any(overlap(by_region[region], other) for r, other in by_region.items() if r != region):
                raise Fallback("memory is shared between names")
        if any(overlap(by_region[r], over) for r in plan.written_regions & by_region.keys() - plan.item_regions):
            raise Fallback("what is gone over is written")
        logs = [local[name] for name in plan.logs]
        if any(guards.reaches(over, local[x]) for x in plan.logs if plan.regions[x] not in plan.item_regions):
            raise Fallback("what is gone over is changed")
        if any(guards.reaches(everything, one) for one in logs if type(one) not in ATOMS):
            raise Fallback("an accumulator is read in the loop")
        mutable = [one for one in logs if type(one) not in ATOMS]
        if any(a is b for i, a in enumerate(mutable) for b in mutable[:i]):
            raise Fallback("two accumulators are one object")

    def _by_region(self, live: dict[str, Any], items: Any) -> dict[str, Survey]:
        plan, found = self.plan, dict[str, Survey]()
        for name in plan.live:
            found.setdefault(plan.regions[name], Survey()).visit(live[name])
        for name in plan.globals:
            found.setdefault(f"::{name}", Survey()).visit(live[name])
        for region in plan.item_regions or {"@items"}:
            for item in () if type(items) is range else inner(items):
                found.setdefault(region, Survey()).visit(item)
        return found

    def _waves(self, count: int) -> Iterator[tuple[int, int]]:
        """All at once; loops that may be left run in growing blocks, so that little is done for nothing."""
        if not self.plan.verdict.leaves:
            yield 0, count
            return
        first, size = 0, max(self.executor.workers * 2, count // 4)
        while first < count:
            last = min(count, first + size)
            yield first, last
            first, size = last, size * 2

    def _shards(self, items: Any, live: dict[str, Any], first: int, last: int) -> tuple[list[Shard], list[Any]]:
        """Run a block of iterations; the shards whose work counts, and the objects that their changes name."""
        sets = codec.Sets.EXACT if self.plan.verdict.orders_sets else codec.Sets.CONTENTS
        ranged = type(items) is range
        plain = not ranged and set(map(type, items)) <= ATOMS
        try:
            survey, _ = survey_of(live, None if ranged or plain else items, self.plan.written, self.plan.items_written)
            common = codec.dumps((live, items if ranged or not plain else None), sets=sets)
            cuts = self.cuts(first, last)
            tasks = [
                ShardTask(
                    self.emitted.digest, self.emitted.text, self.block,
                    join_live(common, codec.dumps(items[a:b]) if plain else b""), a, b,
                ).payload()
                for a, b in itertools.pairwise(cuts) if a < b
            ]  # fmt: skip
        except (codec.Refused, Outside) as error:
            raise Fallback(f"universe: {error}") from error
        self.totals.sent += sum(map(len, tasks))
        try:
            answers = self.executor.run(tasks)
        except ExecutorLost as error:
            raise Fallback(f"executor: {error}") from error
        self.totals.received += sum(map(len, answers))
        if len(answers) != len(tasks):
            raise Fallback("executor: answers are missing")
        return self._answers(answers, survey), survey.objects

    def _answers(self, answers: Sequence[bytes], survey: Survey) -> list[Shard]:
        """The answers up to the first shard that left the loop."""
        found = list[Shard]()
        for answer in answers:
            try:
                said: Any = codec.loads(answer)
                if said[0] != DONE:
                    raise Fallback(str(said[1]))
                found.append(_thawed(said, survey))
            except (codec.Damaged, codec.Refused, TypeError, ValueError, LookupError) as error:
                raise Fallback(f"executor: {error}") from error
            if found[-1].how != RAN:
                break
        if conflicting([shard.changes for shard in found]):
            raise Fallback("two shards wrote the same element")
        return found

    def _commit(self, shards: list[Shard], objects: list[Any], scope: dict[str, Any], result: LoopResult) -> None:
        """Reductions first (they can be undone), then stores, which cannot fail."""
        fold = Fold(self.plan, scope)
        picked = [shard.picked for shard in shards]
        try:
            fold.check(picked)
            fold.run([shard.logs for shard in shards], picked)
        except Unfoldable as error:
            raise Fallback(f"fold: {error}") from error
        for shard in shards:
            apply(objects, shard.changes)
        result.values |= fold.values
        result.left = shards[-1].how
        result.value = shards[-1].value


def _thawed(said: Any, survey: Survey) -> Shard:
    _, how, value, changed, logs, picked = said
    thaw = Thawer(survey.objects)
    return Shard(
        how=how,
        changes=thawed_changes(changed, thaw),
        logs={name: thaw.column(log) for name, log in logs.items()},
        picked={name: thaw(tree) for name, tree in picked.items()},
        value=None if value is None else thaw(value),
    )


def _attribute(local: dict[str, Any], path: tuple[str, ...]) -> Any:
    """``self.x`` when it is a plain attribute of a plain instance; a Fallback when anything computes it."""
    one = local.get(path[0])
    for name in path[1:]:
        kind = type(one)
        held: Any = getattr(one, "__dict__", None)
        plain = type(held) is dict and name in held
        computed = any("__getattribute__" in vars(base) or name in vars(base) for base in kind.__mro__[:-1])
        if not plain or computed:
            raise Fallback(f"attribute: {'.'.join(path)}")
        one = held[name]
    return one
