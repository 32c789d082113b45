"""A job from its beginning to its end: rounds of slots at a pace, and what to do when a node is lost in between."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct, structs

from sidestep.backends.redis_cluster.carry import STEADY, Carrier, Tally
from sidestep.backends.redis_cluster.client import Node, Nodes
from sidestep.backends.redis_cluster.job import Job, Ledger, Leg
from sidestep.backends.redis_cluster.known import emptiest, foremost, higher, owning
from sidestep.backends.redis_cluster.pace import Ear, Pace, quantile
from sidestep.backends.redis_cluster.probe import BEFORE, EVERY, TIMES, Heard, listening
from sidestep.backends.redis_cluster.repair import member, settle
from sidestep.backends.redis_cluster.topology import Member, View
from sidestep.backends.redis_cluster.yielding import yielding
from sidestep.fleet.errors import HostError, SidestepError

#: times that a job may be interrupted without a single slot being moved in between
PATIENCE: Final = 4
#: seconds that one write may keep a node from its clients, at least: about what the smallest does
SLICE: Final = 0.0001
#: seconds for which the probe is listened to, at most, while nothing is moved
HUSH: Final = 0.5


class Done(Struct, frozen=True, kw_only=True):
    """What came of a job. Latencies in seconds, as the probe heard them; ``ceiling`` is what they were held to."""

    slots: int
    keys: int
    seconds: float
    #: keys that were at both ends, and of which the source's counted
    replaced: int
    interrupted: int
    ceiling: float
    p99_before: float
    p99_during: float


Told = Callable[[int, int], None]


class Mover:
    """Moves slots of one cluster; one job at a time (``job.alone``)."""

    def __init__(
        self, nodes: Nodes, seeds: Iterable[tuple[str, int]], *, ceiling: float = 0.0, before: float = BEFORE,
        patience: float = 30.0, pace: Pace = STEADY, progress: Told | None = None, yields: bool = False,
    ) -> None:  # fmt: skip
        self._nodes, self._seeds = nodes, tuple(seeds)
        self._ceiling, self._before, self._patience = ceiling, before, patience
        self._pace, self._quiet = pace, asyncio.Lock()
        self._progress = progress or (lambda done, total: None)
        #: whether the process is ours alone, and gives way to others while slots move
        self._yields = yields

    async def run(self, job: Job, ledger: Ledger) -> Done:
        """Do it, or what is left of it. Raises SidestepError: what is open then is finished by ``repair``."""
        ledger.begin()
        tally, interrupted, fruitless = Tally(), 0, 0
        seen = await settle(self._nodes, self._seeds, job.intents(), seconds=self._patience)
        members = [one for one in seen.masters if one.id in {id for leg in job.legs for id in (leg.source, leg.target)}]
        began = time.monotonic()
        for leg in remaining(job, seen)[:1]:  # its replicas hear of it while we listen
            with contextlib.suppress(HostError):
                await higher(self._nodes, member(seen, leg.target))
        async with listening(members, self._nodes.access, ceiling=self._ceiling, before=self._before) as heard:
            while legs := remaining(job, seen):
                before = tally.slots
                try:
                    began = began if interrupted or tally.slots else time.monotonic()
                    with yielding() if self._yields else contextlib.nullcontext():
                        await self._all(legs, seen, ledger, heard, tally, sum(len(leg.slots) for leg in job.legs))
                except HostError:
                    interrupted += 1
                    fruitless = 0 if tally.slots > before else fruitless + 1
                    if fruitless > PATIENCE:
                        raise
                    seen = await settle(self._nodes, self._seeds, job.intents(), seconds=self._patience)
                    continue
                seen = await settle(self._nodes, self._seeds, job.intents(), seconds=self._patience)
            seconds = time.monotonic() - began
            assert heard.ear is not None
            done = Done(
                slots=tally.slots, keys=tally.keys, seconds=seconds, replaced=tally.replaced, interrupted=interrupted,
                ceiling=heard.ear.ceiling, p99_before=quantile(heard.before, 0.99),
                p99_during=quantile(heard.during, 0.99),
            )  # fmt: skip
        ledger.end()
        return done

    async def _all(
        self, legs: Sequence[Leg], seen: View, ledger: Ledger, heard: Heard, tally: Tally, total: int
    ) -> None:
        """Legs to one target side by side; targets one after the other, since each raises its epoch to commit."""
        for target in dict.fromkeys(leg.target for leg in legs):
            mine = [leg for leg in legs if leg.target == target]
            there = member(seen, target)
            await foremost(self._nodes, there, seen)
            if not seen.slots_of(target) and seen.replicas(target):
                mine = await self._first(mine, there, seen, ledger, heard, tally, total)
            try:
                async with asyncio.TaskGroup() as group:
                    for leg in mine:
                        pace = self._pace.beside(len(mine))
                        group.create_task(self._leg(leg, seen, ledger, heard, tally, total, pace))
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None

    async def _first(
        self, legs: list[Leg], target: Member, seen: View, ledger: Ledger, heard: Heard, tally: Tally, total: int
    ) -> list[Leg]:
        """What is left after one slot; the target has none, and replicas are to know that it has one (``known``)."""
        first, *others = legs
        slot = await emptiest(self._nodes, member(seen, first.source), first.slots)
        one = structs.replace(first, slots=(slot,))
        await self._leg(one, seen, ledger, heard, tally, total, self._pace)
        await owning(self._nodes, target, seen)
        rest = structs.replace(first, slots=tuple(each for each in first.slots if each != slot))
        return [*([rest] if rest.slots else []), *others]

    async def _leg(self, leg: Leg, seen: View, ledger: Ledger, heard: Heard, tally: Tally, total: int, pace: Pace
    ) -> None:  # fmt: skip
        source, target = member(seen, leg.source), member(seen, leg.target)
        assert heard.ear is not None
        # connections of this leg's own: another leg's writes would wait for ours
        ends = [Node(one.host, one.port, self._nodes.access) for one in (source, target)]
        carrier = Carrier(
            ends[0], ends[1], (source, target), ledger.step,
            slice=max(SLICE, heard.slice), replicas=len(seen.replicas(target.id)), pace=pace,
        )  # fmt: skip

        async def after() -> None:
            assert heard.ear is not None
            self._progress(tally.slots, total)
            carrier.pace = await self._heeded(carrier.pace, heard.ear)

        try:
            await carrier.run(leg.slots, tally, after)
        finally:
            for node in ends:
                await node.aclose()

    async def _heeded(self, pace: Pace, ear: Ear) -> Pace:
        """The pace after what the probe heard; while it is not known whether we are the reason, nothing is moved."""
        async with self._quiet:
            loud = ear.loud()
            if loud is None:
                return pace
            if loud and not self._ceiling:
                ear.forget()
                end = asyncio.get_running_loop().time() + HUSH
                while (still := ear.loud()) is None and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
                    await asyncio.sleep(EVERY)  # the probe is other tasks
                if still:
                    ear.learn(TIMES)
                    loud = False
            if loud:
                ear.forget()
            else:
                ear.relax()
            return pace.heard(loud)


def remaining(job: Job, seen: View) -> list[Leg]:
    """What of a job is not done, with those who have taken the places of its nodes since. Raises SidestepError."""
    found: dict[tuple[str, str], list[int]] = {}
    for leg in job.legs:
        target = seen.heir(leg.target, *leg.heirs)
        if target is None:
            one = seen.by_id(leg.target)
            raise SidestepError(
                f"{one.name if one else leg.target} is lost, and nothing has taken its place",
                hint="start it again, then: sidestep cluster repair; or leave it: sidestep cluster repair --give-up",
            )
        for slot in leg.slots:
            owner = seen.owner(slot)
            if owner is not None and owner.id != target.id:
                found.setdefault((owner.id, target.id), []).append(slot)
    return [Leg(*ends, tuple(sorted(slots))) for ends, slots in found.items()]


def inherited(legs: Iterable[Leg], seen: View) -> list[Leg]:
    """Legs that say who may take the places of their targets."""
    return [Leg(o.source, o.target, o.slots, tuple(one.id for one in seen.replicas(o.target))) for o in legs]
