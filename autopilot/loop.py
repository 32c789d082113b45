"""The control loop: look, forecast, plan, and act as far as the automation level allows.

A tick never blocks observation, which goes on in the world's own tasks; whatever fails in
a tick is said once and the next tick comes at its time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

import numpy as np

from sidestep.autopilot.actions.ledger import in_force
from sidestep.autopilot.capsules.keeper import CapsuleKeeper
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.failover.watch import NOTHING_LOST, LossWatch
from sidestep.autopilot.foreign import Foreign
from sidestep.autopilot.frames import Picture, quality_of, tables_of
from sidestep.autopilot.host_orders import OrderBook
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_watch import alerts
from sidestep.autopilot.levels_acting import Acting
from sidestep.autopilot.levels_governor import Governor
from sidestep.autopilot.levels_view import with_notices
from sidestep.autopilot.loop_alerts import Alerts
from sidestep.autopilot.loop_approval import Approvals
from sidestep.autopilot.loop_planning import Planning
from sidestep.autopilot.loop_proposals import Proposals
from sidestep.autopilot.loop_runs import Runs
from sidestep.autopilot.loop_words import says_of
from sidestep.autopilot.pool.manager import PoolManager
from sidestep.autopilot.protocol import PlanView
from sidestep.autopilot.world import ShardFacts, World
from sidestep.autopilot.world_clock import Clock
from sidestep.autopilot.world_past import Past
from sidestep.fleet.contention import Foresight
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import FleetSpec, Level
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import NoPlan
from sidestep.fleet.resources import PLANNED
from sidestep.fleet.snapshot import Snapshot
from sidestep.planning.load import foreseen, persistence

#: plans that every picture carries
SHOWN_PLANS: Final = 20
#: share of an interval that a tick waits for the planner before it shows the fleet without its answer
PATIENCE: Final = 0.5


class OracleLike(Protocol):
    """The part of the oracle that the loop needs."""

    async def forecast(self, snapshot: Snapshot) -> Forecast:
        """The newest forecast."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the loop works with; the daemon makes them, tests replace some."""

    fleet: FleetSpec
    world: World
    oracle: OracleLike
    journal: Journal
    proposals: Proposals
    approvals: Approvals
    runs: Runs
    log: Log
    clock: Clock
    #: shards that a running plan moves
    moving: Callable[[], frozenset[str]]
    #: who decides how far the loop may go; None makes one that forgets
    governor: Governor | None = None
    #: takes every tick's snapshot into the history
    keep: Callable[[Snapshot], None] = lambda snapshot: None
    #: knows which hosts are lost; None: nobody gives up a host
    losses: LossWatch | None = None
    #: which hosts people closed or have emptied; None: nobody can
    orders: OrderBook | None = None
    #: what runs as nobody here put it; None: nobody looks
    foreign: Foreign | None = None
    #: keeps capsules for the day on which a host is lost; None keeps none
    capsules: CapsuleKeeper | None = None
    #: keeps pools of pre-initialised instances; None keeps none
    pools: PoolManager | None = None


class ControlLoop:
    """One tick after the other, each with one numbered picture."""

    def __init__(self, parts: Parts, *, level: Level) -> None:
        self._parts = parts
        #: called after every tick
        self.publish: Callable[[], None] = lambda: None
        #: what every screen has to say beside the journal's own
        self.notices: Callable[[], tuple[Label, ...]] = tuple
        self.governor = parts.governor or Governor(parts.fleet, parts.journal, parts.log, parts.clock)
        self.level = level
        parts.approvals.policy = lambda: self._parts.fleet.policy
        self.picture: Picture | None = None
        #: ticks that were left out because an earlier one took too long
        self.missed = 0
        #: rounds that came to their end, ticks that failed among them
        self.rounds = 0
        self.lag = 0.0
        self._past = Past(tuple(str(host.name) for host in parts.fleet.hosts))
        self._alerts = Alerts(parts.fleet.policy, parts.log.told("forecast"))
        self._oracle_says = ""
        self._trouble = ""
        self._planning = Planning(parts.clock)
        self._acting = Acting(self.governor, parts.proposals, parts.approvals, parts.runs, parts.log, parts.clock)

    def switch(self, fleet: FleetSpec) -> None:
        """Go by another policy from the next tick on; hosts, shards and the interval are the same."""
        self._parts = replace(self._parts, fleet=fleet)
        self._alerts.policy = fleet.policy
        self.governor.switch(fleet)
        if self._parts.losses is not None:
            self._parts.losses.switch(fleet)
        if self._parts.orders is not None:
            self._parts.orders.switch(fleet)

    @property
    def level(self) -> str:
        """The fleet's automation level as it was set; trust may allow less."""
        return self.governor.level

    @level.setter
    def level(self, level: Level) -> None:
        self.governor.set_in_memory(level)

    async def run(self) -> None:
        """Tick every ``fleet.interval`` seconds until cancelled."""
        try:
            await self._ticks()
        finally:
            await self._planning.aclose()

    async def _ticks(self) -> None:
        clock, interval = self._parts.clock, self._parts.fleet.interval
        due = clock.monotonic()
        while True:
            self.lag = max(0.0, clock.monotonic() - due)
            try:
                await self.tick()
                self._trouble = ""
            except Exception as error:  # noqa: BLE001 - the supervisor of ticks: the next one may succeed
                self._complain(f"tick failed: {type(error).__name__}: {error}")
            self.rounds += 1
            due += interval
            late = clock.monotonic() - due
            if late > 0:
                skipped = math.ceil(late / interval)
                self.missed += skipped
                due += skipped * interval
            await clock.sleep(max(0.0, due - clock.monotonic()))

    def begin(self) -> Picture:
        """The picture before the first look: what the journal knows, no host heard yet, and no forecast."""
        parts = self._parts
        facts = ShardFacts(state_bytes=parts.runs.state_bytes, moving=parts.moving())
        snapshot = parts.world.snapshot(parts.journal.placement(), facts)
        self.picture = with_notices(self._pictured(snapshot, None, self._foresee(snapshot, None), None), self.governor)
        return self.picture

    async def tick(self) -> Picture:
        """Look once, and do what follows from it."""
        parts = self._parts
        found = parts.losses.look() if parts.losses is not None else NOTHING_LOST
        if parts.orders is not None:
            parts.orders.look()
        placement = parts.journal.placement()
        facts = ShardFacts(
            state_bytes=parts.runs.state_bytes, moving=parts.moving(),
            lost=found.lost, stays=found.stays, poisoned=found.poisoned,
        )  # fmt: skip
        snapshot = parts.world.snapshot(placement, facts)
        if parts.foreign is not None:
            parts.foreign.look(snapshot, parts.moving(), parts.clock.monotonic())
        self._past.add(snapshot)
        parts.keep(snapshot)
        parts.runs.observe(snapshot)
        self.governor.shadow.observe(snapshot)
        forecast = await self._ask(snapshot)
        foresight = self._foresee(snapshot, forecast)
        self._alerts.tell(foresight.contention, parts.clock.monotonic())
        no_plan = None
        try:
            parts.proposals.tidy(snapshot, placement, needed=bool(foresight.contention or foresight.imminent))
            ground = forecast
            if found.lost and (forecast is None or forecast.confidence != "ok"):
                ground = persistence(snapshot, parts.fleet.policy)  # lost hosts wait for no oracle
            if ground is not None and self.governor.effective != "off" and not parts.runs.running:
                no_plan = await self._advise(snapshot, ground, foresight)
        except Exception as error:  # noqa: BLE001 - the supervisor of planning: the picture is still shown
            self._complain(f"planning failed: {type(error).__name__}: {error}")
        self.picture = with_notices(self._pictured(snapshot, forecast, foresight, no_plan), self.governor)
        parts.log.mirror()
        self.publish()
        return self.picture

    async def _ask(self, snapshot: Snapshot) -> Forecast | None:
        try:
            forecast = await self._parts.oracle.forecast(snapshot)
        except Exception as error:  # noqa: BLE001 - the supervisor of the oracle: without it we still observe
            self._oracle_says = f"no forecast: {type(error).__name__}: {error}"
            self._complain(self._oracle_says)
            return None
        self._oracle_says = says_of(snapshot, forecast)
        return forecast

    def _foresee(self, snapshot: Snapshot, forecast: Forecast | None) -> Foresight:
        """What the forecast says; nothing while it has not seen enough to be believed."""
        if forecast is None or forecast.confidence != "ok":
            return Foresight(np.full((len(snapshot.hosts.names), PLANNED), np.nan), ())
        return foreseen(snapshot, forecast, self._parts.fleet.policy)

    async def _advise(self, snapshot: Snapshot, forecast: Forecast, foresight: Foresight) -> NoPlan | None:
        parts = self._parts
        search = partial(
            parts.proposals.consider,
            snapshot,
            forecast,
            parts.journal.placement(),
            busy=parts.moving(),
            settling=parts.runs.settling() | self.governor.levels.off() | self._apart(),
        )
        ended = await self._planning.turn(search, PATIENCE * parts.fleet.interval)
        if ended and forecast.confidence == "ok":
            self._acting.act((*foresight.contention, *foresight.imminent))
        return self._planning.no_plan

    def _lost(self) -> tuple[Label, ...]:
        kept, losses, foreign = self._parts.capsules, self._parts.losses, self._parts.foreign
        return tuple(line for who in (losses, kept, foreign) if who is not None for line in who.notices())

    def _apart(self) -> frozenset[str]:
        foreign = self._parts.foreign
        return foreign.shards if foreign is not None else frozenset()

    def _complain(self, text: str) -> None:
        """Say trouble once until it changes."""
        if text != self._trouble:
            self._trouble = text
            self._parts.log.say("error", text)

    def _pictured(
        self,
        snapshot: Snapshot,
        forecast: Forecast | None,
        foresight: Foresight,
        no_plan: NoPlan | None,
    ) -> Picture:
        return Picture(
            snapshot=snapshot,
            forecast=forecast,
            tables=tables_of(snapshot, self.picture.tables if self.picture else None),
            risk=foresight.risk,
            contention=foresight.contention,
            no_plan=no_plan,
            policy=self._parts.fleet.policy,
            level=self.governor.effective,
            lag=self.lag,
            oracle=scrub(self._oracle_says),
            past=self._past.columns(),
            past_step=self._parts.fleet.interval,
            quality=quality_of(self._parts.world.panel),
            alerts=(
                *alerts(self._parts.journal), *in_force(self._parts.journal.standing()), *self._planning.notices(),
                *self._lost(), *self.notices(),
            ),
            plans=tuple(PlanView(s.digest, p, s) for p, s in self._parts.journal.plans(SHOWN_PLANS)),
        )  # fmt: skip
