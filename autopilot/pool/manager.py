"""The loop over all pools: look, decide, act, sleep (S4.17–S4.21). One writer, and every tick may be the last.

What is decided is pure (``planning.pool``); what is there comes from the hosts, and what should be there from the
journal. A tick begins by making these two agree: an instance that the journal does not know is ended, one that its
host does not know is buried, and what a dead daemon was in the middle of is finished or taken back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.pool.foresee import LEVELS, Foresight
from sidestep.autopilot.pool.hands import PoolHands
from sidestep.autopilot.pool.ledger import PoolInstance
from sidestep.autopilot.pool.routes import PoolRoutes
from sidestep.autopilot.pool.steering import Counted, Steering
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.pool.client import Seen
from sidestep.fleet.errors import HostError, SidestepError
from sidestep.fleet.instances import InstanceState
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.newwork import SpeculativeWork
from sidestep.planning.pool import Decider, Decision, Look, Terms
from sidestep.planning.pool.lead import Durations

_I = InstanceState
#: seconds between two ticks, with a tenth of jitter; and assumed until they are measured
EVERY: Final = 1.0
ASSUMED_ACTIVATION: Final = 0.1
ASSUMED_WARMING: Final = 2.0
#: seconds beyond the deadline after which an instance that is still warming is given up
_SLACK: Final = 20.0


class Shown(Struct, frozen=True, kw_only=True):
    """What a tick found and decided, for whoever asks."""

    time: float
    decision: Decision
    load: tuple[float, ...]
    soon: tuple[float, ...]
    counted: Counted
    unmet: tuple[int, ...]


class PoolManager:
    """Keeps the pools of a fleet; ``run`` is its life. Nothing happens where no pool is declared.

    ``expected`` says what new work is likely, ``held`` why nothing may begin just now.
    """

    def __init__(
        self, fleet: FleetSpec, world: World, journal: Journal, clock: Clock, report: Callable[[str], None], *,
        routes: PoolRoutes | None = None, expected: Callable[[], Sequence[SpeculativeWork]] = tuple,
        held: Callable[[], str] = str, every: float = EVERY, seed: int | None = None,
    ) -> None:  # fmt: skip
        self.fleet, self.journal, self._clock, self._world = fleet, journal, clock, world
        self._report, self._routes, self._held, self.every = report, routes, held, every
        self._expected = expected
        self._random = random.Random(seed)  # noqa: S311 - it only spreads work
        self.pools = fleet.pools
        self.apps = [(row, str(app)) for row, pool in enumerate(self.pools) for app in pool.apps]
        self.terms = Terms.of(self.pools)
        count = len(self.pools)
        self.activation = Durations(count, np.full(count, ASSUMED_ACTIVATION))
        self.warming = Durations(count, np.full(count, ASSUMED_WARMING))
        #: seconds between two ticks: hosts and routers that are slow to answer make it longer
        self.pace = Durations(1, np.array([every]))
        self._ticked = clock.monotonic()
        self._decider = Decider(self.terms, every)
        self.foresight = Foresight(fleet.oracle, len(self.apps), every)
        self.hands = PoolHands(fleet, world, journal, clock, routes, report, self._timed)
        self.steering = Steering(self.pools, self.apps, self.terms, journal, self.hands, fleet, every)
        #: ticks, those that were left out since one took too long, and requests by what met them
        self.ticks = self.missed = 0
        self.shown: Shown | None = None
        self._seen: dict[int, Seen] = {}
        self._served: dict[int, int] = {}
        self.served = [0] * count
        self._joined: set[int] = set()
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Tick until cancelled."""
        if not self.pools:
            return
        try:
            while True:
                began = self._clock.monotonic()
                try:
                    await self.tick()
                    self._say("", "")
                except Exception as error:  # noqa: BLE001 - the supervisor of pools: the next tick may succeed
                    self._say("", f"pools: {type(error).__name__}: {error}")
                late = self._clock.monotonic() - began
                self.missed += int(late // self.every)
                await self._clock.sleep(max(0.0, self.every * self._random.uniform(0.9, 1.0) - late))
        finally:
            await self.hands.aclose()

    async def tick(self) -> None:
        """Look, make journal and hosts agree, decide, and begin what follows from it."""
        began, before = self._clock.monotonic(), self._ticked
        self._ticked = began
        if self.ticks:
            self.pace.add(0, max(0.0, began - before))
        reached = await self._look()
        load = await self._loads(reached)
        wall = self._clock.wall()
        self.foresight.observe(wall, load)
        counted = self.steering.count(reached, self._world.states())
        guessed = self.steering.guess(wall, self._expected())
        decision = self._decider.decide(
            Look(
                now=wall, levels=LEVELS, step=self.foresight.step, quantiles=self.foresight.quantiles, load=load,
                serving=counted.serving, activation=self.activation.p95(), warming=self.warming.p95(),
                every=float(self.pace.p95()[0]),
            ),
            guessed,
        )  # fmt: skip
        unmet = tuple(0 for _ in self.apps) if self._held() else self.steering.act(wall, decision, counted, self._seen)
        for (row, app), short in zip(self.apps, unmet, strict=True):
            pool = self.pools[row].name
            self._say(
                f"unmet {pool} {app}", f"pool {pool}: UNMET: {short} instances are missing for {app}" if short else ""
            )
        soon = tuple(self.foresight.soon().tolist())
        self.shown = Shown(
            time=wall, decision=decision, load=tuple(load.tolist()), soon=soon, counted=counted, unmet=unmet
        )
        self.ticks += 1

    def drill(self, name: str) -> str:
        """Begin a fire drill of that pool now; what is said to whoever asked. Raises SidestepError."""
        row = next((row for row, pool in enumerate(self.pools) if pool.name == name), None)
        if row is None:
            from sidestep.autopilot.server_service import UnknownReference  # noqa: PLC0415 - it imports the protocol

            raise UnknownReference(f"there is no pool {name}", hint="see: sidestep pool")
        if why := self._held():
            raise SidestepError(f"nothing new begins: {why}")
        one = self.steering.drill(row)
        if one is None:
            raise SidestepError(f"pool {name} has no cold instance to wake", hint="write cold = 1, or wait for one")
        return f"pool {name}: {one.name} on {one.host} is woken; see how it went with: sidestep pool {name}"

    # -- what is there

    async def _look(self) -> frozenset[tuple[str, str]]:
        """Ask every host of every pool; those that answered. Then journal and hosts agree on these."""
        asked = [(str(pool.name), str(host)) for pool in self.pools for host in pool.hosts]
        there = set(map(str, self._world.reachable()))
        found = await asyncio.gather(*(self._ask(pool, host) for pool, host in asked if host in there))
        answers = {
            key: seen for key, seen in zip([k for k in asked if k[1] in there], found, strict=True) if seen is not None
        }
        known: dict[tuple[str, str], list[PoolInstance]] = {key: [] for key in answers}
        for one in self.journal.pool_instances():
            if one.pool not in self.hands.pools:
                continue  # its pool is not declared any more: what it has stays until it is declared again
            known.get((str(one.pool), str(one.host)), []).append(one)
        for key, seen in answers.items():
            await self._agree(key, known[key], {each.id: each for each in seen})
        return frozenset(answers)

    async def _ask(self, pool: str, host: str) -> tuple[Seen, ...] | None:
        try:
            found = await self.hands.host(pool, host).instances()
        except HostError as error:
            self._say(f"{pool} {host}", str(error.args[0]))
            return None
        self._say(f"{pool} {host}", "")
        return found

    async def _agree(self, key: tuple[str, str], known: list[PoolInstance], seen: dict[str, Seen]) -> None:
        for name in seen.keys() - {one.name for one in known}:
            self._report(f"pool {key[0]}: {name} on {key[1]} is in no journal of ours: it is ended")
            await self.hands.host(*key).end(name)
        for one in known:
            found = seen.get(one.name)
            if found is not None:
                self._seen[one.id] = found
                row = self.terms_row(one)
                self.served[row] += max(0, found.served - self._served.get(one.id, 0))
                self._served[one.id] = found.served
            if not self.hands.busy(one):
                self._settle(one, found.state if found is not None else "gone", found)

    def terms_row(self, one: PoolInstance) -> int:
        """The row of its pool."""
        return next(row for row, pool in enumerate(self.pools) if pool.name == one.pool)

    def _settle(self, one: PoolInstance, found: str, seen: Seen | None) -> None:
        """What becomes of an instance to which nothing is being done: as a dead daemon, or its host, left it."""
        hands, pool = self.hands, self.hands.pools[one.pool]
        lost = found in {"gone", "dead"}
        match one.state:
            case _I.COLD if found == "gone":
                # the row was written, and its host was not asked yet, or has lost it
                hands.begin(one, hands.cold(one))
            case _I.WARMING if found == "ready":
                self.journal.pool_move(one, _I.READY, pool, checked=True)
            case _I.WARMING:
                late = self._clock.wall() - one.since > pool.warm_deadline + _SLACK
                hands.begin(one, hands.gone(one) if late else hands.warm(one))
            case _I.READY if lost or found in {"cold", "warming"}:
                hands.begin(one, hands.gone(one))
            case _I.READY if seen is not None and (seen.dirty or found != "ready"):
                hands.begin(one, hands.discard(one))
            case _I.ACTIVATING if found == "active" and seen is not None and seen.tenant == one.app:
                self.journal.pool_move(one, _I.ACTIVE, pool)
            case _I.ACTIVE if lost:
                self._report(f"pool {one.pool}: {one.name} on {one.host} served {one.app}, and has ended")
                hands.begin(one, hands.gone(one))
            case _I.ACTIVE if found == "active":
                # a router that began anew, or a daemon that died in between: joining again changes nothing
                if one.id not in self._joined:
                    self._joined.add(one.id)
                    hands.begin(one, hands.join(one))
            case _I.ACTIVE | _I.ACTIVATING | _I.DEACTIVATING | _I.SCRUBBING:
                hands.begin(one, hands.gone(one) if lost else hands.retire(one))
            case _:
                pass

    async def _loads(self, reached: frozenset[tuple[str, str]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """(A,) places in use: as the router says, else as instances themselves do; NaN where nobody knows."""
        load = np.full(len(self.apps), np.nan)
        rows = {key: at for at, key in enumerate(self.apps)}
        for one in self.journal.pool_instances():
            seen = self._seen.get(one.id)
            if one.state is _I.ACTIVE and seen is not None and (str(one.pool), str(one.host)) in reached:
                at = rows.get((self.terms_row(one), str(one.app))) if one.pool in self.hands.pools else None
                if at is not None:
                    load[at] = np.nan_to_num(load[at]) + seen.in_flight
        for at, (_, app) in enumerate(self.apps):
            if self._routes is not None and self._routes.knows(app):
                try:
                    load[at] = await self._routes.load(app)
                except SidestepError as error:
                    self._say(f"load {app}", f"pool: load of {app}: {error.args[0]}")
        return load

    def _timed(self, pool: str, what: str, seconds: float) -> None:
        row = next(row for row, each in enumerate(self.pools) if each.name == pool)
        (self.activation if what == "activate" else self.warming).add(row, seconds)

    def _say(self, about: str, text: str) -> None:
        """Say trouble once until it changes, and that it is over."""
        before = self._told.get(about, "")
        if text and text != before:
            self._report(text)
        elif before and not text:
            self._report(f"over: {before}")
        self._told[about] = text
