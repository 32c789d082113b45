"""The observed world: every host watched by itself, and one frozen picture of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from sidestep.autopilot.invocations_reported import Reported
from sidestep.autopilot.world_clock import Clock
from sidestep.autopilot.world_columns import HostTable, ShardFacts, ShardTable
from sidestep.autopilot.world_connect import Link, Pace, Waits
from sidestep.autopilot.world_health import HostHealth, Oddities
from sidestep.autopilot.world_host import Follow, HostWatch
from sidestep.autopilot.world_report import Chorus, Trouble, fold
from sidestep.autopilot.world_states import States
from sidestep.backends.sampler import follow
from sidestep.backends.sampler.intake import Intake
from sidestep.backends.sampler.panel import Panel
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.gates import Gates
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Basis, Plan
from sidestep.fleet.snapshot import Snapshot, basis_for

__all__ = ["Report", "ShardFacts", "Unseen", "World"]

#: seconds between two looks at the states
BEAT: Final = 0.2
#: seconds after which samples are decoded though nobody asks and nothing seems wrong
DECODE: Final = 1.5

Report = Callable[[str], None]


def _own_address(spec: HostSpec) -> str:
    return f"{spec.address} port {spec.port}"


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """A host that is DEAD: why, whether it answers but refuses us, and when it was last heard of (unix time, or 0)."""

    reason: Label
    refuses: bool
    heard: float


class World:
    """Watches every host of a fleet; ``run`` is its life, ``snapshot`` its picture.

    ``lane`` names whom a handshake with a host burdens (its jump host, or its own address).
    """

    def __init__(
        self,
        fleet: FleetSpec,
        transport: Callable[[HostSpec], Transport],
        *,
        clock: Clock,
        report: Report,
        follow: Follow = follow,
        lane: Callable[[HostSpec], str] = _own_address,
        pace: Pace = Pace(),  # noqa: B008 - frozen
    ) -> None:
        self.fleet, self._clock, self._transport = fleet, clock, transport
        specs = fleet.hosts
        self.panel = Panel([str(spec.name) for spec in specs], clock=clock.monotonic)
        self._states = States(specs, fleet.interval, clock.monotonic(), self._changed)
        self._chorus = Chorus(report)
        self._said = [""] * len(specs)
        self._oddities = Oddities(self.panel, self._say)
        self._hosts, self._shards = HostTable(fleet, self.panel), ShardTable(fleet, self.panel)
        #: requests and latencies of shards, from whoever reports them
        self.reported = Reported(tuple(str(spec.name) for spec in fleet.shards), interval=fleet.interval)
        self.gates = Gates(fleet.handshakes, fleet.handshakes_per_address)
        self._waits = Waits(clock, pace)
        self._following = np.full(len(specs), np.inf)
        self._watches: dict[str, HostWatch] = {}
        for row, spec in enumerate(specs):
            link = Link(transport(spec), lane(spec), gates=self.gates, clock=clock)
            watch = HostWatch(
                row,
                spec,
                link,
                fleet=fleet.name,
                interval=fleet.interval,
                follow=follow,
                desk=self,
                waits=self._waits,
                clock=clock,
            )
            link.told = watch.made
            self._watches[spec.name] = watch
        self._in_order = tuple(self._watches.values())
        self._rows = {host: row for row, host in enumerate(self._watches)}
        self.unable: Mapping[str, Label] = {}  #: why hosts cannot do what driver criu needs; replaced, never changed
        self._number, self._decoded = 0, -np.inf
        #: monotonic and unix time of the newest sample
        self._newest = (-np.inf, np.nan)
        self._troubles: tuple[int, tuple[Trouble, ...]] = (-1, ())

    def switch(self, fleet: FleetSpec) -> None:
        """Show the same hosts and shards in the same order with other capacities, domains and cordons."""
        self.fleet = fleet
        for watch, spec in zip(self._in_order, fleet.hosts, strict=True):
            watch.spec = spec
        self._hosts.declare(fleet.hosts)
        self._shards.declare(fleet.shards)
        self._states.cordon(fleet.hosts)

    async def run(self) -> None:
        """Watch all hosts until cancelled, then close their connections."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(), name="states")
                for name, watch in self._watches.items():
                    group.create_task(watch.run(), name=f"watch {name}")
        finally:
            self._chorus.finish()
            await asyncio.gather(*(w.link.aclose() for w in self._in_order), return_exceptions=True)

    def decode(self) -> None:
        """Decode what arrived, and bring the states up to date."""
        panel, states = self.panel, self._states
        panel.decode(self._clock.wall())
        states.arrived(panel.seq, panel.at_ms, panel.seen)
        for row in states.healed(panel.seen):
            self._in_order[row].well()
        self._decoded = self._clock.monotonic()
        states.judge(panel.seen, self._decoded)

    def transport(self, host: str) -> Link:
        """The connection to a host, shared with its watch, which reconnects it. Raises UsageError."""
        return self._watch(host).link

    def retry_refused(self, host: str = "") -> int:
        """Try again, over new transports, every host that refused us, or that one; returns how many there are.

        Raises UsageError for a host that the fleet does not have.
        """
        chosen = (self._watch(host),) if host else self._in_order
        refused = [watch for watch in chosen if self._states.refused[self._rows[watch.spec.name]]]
        for watch in refused:
            watch.link.retry(self._transport(watch.spec))
            watch.retry()
        return len(refused)

    def states(self) -> dict[str, HostState]:
        """Every host's present state."""
        self.decode()
        return dict(zip(self._watches, self._states.states, strict=True))

    def unseen(self) -> dict[str, Unseen]:
        """Hosts that are DEAD."""
        self.decode()
        states, now = self._states, self._clock.monotonic()
        heard, wall = states.heard(self.panel.seen), self._clock.wall()
        return {
            self._in_order[row].spec.name: Unseen(
                reason=states.reasons[row],
                refuses=bool(states.refused[row]),
                heard=wall - (now - float(heard[row])) if np.isfinite(heard[row]) else 0.0,
            )
            for row, state in enumerate(states.states)
            if state is HostState.DEAD
        }

    def quarantine(self, why: Mapping[str, Label]) -> None:
        """These hosts, and no others, get nothing new while they are up, for the reasons given."""
        self._states.quarantine({self._rows[host]: label for host, label in why.items() if host in self._rows})

    def order(self, wanted: Mapping[str, tuple[HostState, Label]]) -> None:
        """These hosts, and no others, are CORDONED, DRAINING or DRAINED by order while they are up, and why."""
        self._states.order({self._rows[host]: wish for host, wish in wanted.items() if host in self._rows})

    def reachable(self) -> tuple[str, ...]:
        """Hosts that commands can be sent to as far as is known."""
        self.decode()
        fresh = self._states.fresh
        return tuple(
            h for (h, watch), up in zip(self._watches.items(), fresh, strict=True) if up or watch.link.connected
        )

    def heard(self) -> bool:
        """Whether every host has given a sample or a reason why not."""
        return bool(((self.panel.seen > -np.inf) | self._states.refused | self._states.trouble).all())

    def health(self, host: str) -> HostHealth:
        """How well a host's samples come. Raises UsageError."""
        watch, row, panel = self._watch(host), self._rows[host], self.panel
        age = self._clock.monotonic() - self._states.heard(panel.seen)[row]
        return HostHealth(
            host=watch.spec.name,
            state=str(self._states.states[row]),
            reason=self._states.reasons[row],
            kind=panel.kinds[row],
            connected=watch.link.connected,
            connections=watch.link.made,
            failures=watch.failures,
            age=float(age) if np.isfinite(age) else float("nan"),
            lag=float(self._states.lag[row]),
            gaps=int(panel.gaps[row]),
            restarts=int(panel.restarts[row]),
            resets=int(panel.resets[row]),
            skew=float(panel.skew[row]),
        )

    def troubles(self) -> tuple[Trouble, ...]:
        """Hosts that are not as they should be, those with one cause together; most hosts first."""
        states = self._states
        if self._troubles[0] != states.version:
            rows = np.flatnonzero(~states.fresh).tolist()
            bad = ((self._in_order[row].spec, str(states.states[row]), states.reasons[row]) for row in rows)
            self._troubles = states.version, fold(bad)
        return self._troubles[1]

    def astray(self, placement: Placement) -> dict[str, frozenset[str]]:
        """Shards that do not run as the placement says, by the host where that shows."""
        self.decode()
        found: dict[str, set[str]] = {}
        for row, shard in self._shards.astray(self._states.fresh, placement):
            found.setdefault(str(self._in_order[row].spec.name), set()).add(str(shard))
        return {host: frozenset(shards) for host, shards in found.items()}

    def basis(self, plan: Plan, placement: Placement) -> Basis:
        """The facts that a plan was decided on, as they are at this moment."""
        self.decode()
        hosts = frozenset(fact.host for fact in plan.basis.hosts)
        now = self._hosts.columns(self._states, self._clock.monotonic())
        return basis_for(hosts, now, placement, waiting=plan.basis.waiting)

    def snapshot(self, placement: Placement, facts: ShardFacts) -> Snapshot:
        """The next numbered picture: newest samples, placement and what is known of shards."""
        self._number += 1
        self.decode()
        now = self._clock.monotonic()
        newest = float(self.panel.seen.max(initial=-np.inf))
        if newest > self._newest[0]:
            self._newest = newest, self._clock.wall() - (now - newest)
        return Snapshot(
            number=self._number,
            time=self._newest[1] if newest > -np.inf else self._clock.wall(),
            generation=placement.generation,
            hosts=self._hosts.columns(self._states, now, facts.lost, self.unable),
            shards=self._shards.columns(self._states.fresh, placement, facts, self.reported.columns(now)),
        )

    # -- what watches say

    def intake(self, row: int) -> Intake:
        """A receiver for a new sampler run of that host."""
        self._states.begun(row)
        return self.panel.intake(row)

    def failed(self, row: int, error: Label) -> None:
        """Something is wrong with that host until its next sample."""
        self._states.failed(row, error, self._clock.monotonic())

    def refused(self, row: int, refused: bool) -> None:
        """The host refuses us, or may be tried again."""
        self._states.refuse(row, refused)

    def following(self, row: int, since: float) -> None:
        """A sampler runs there since that monotonic time; inf: none does."""
        self._following[row] = since

    # -- looks

    async def _beat(self) -> None:
        """Look a few times a second: a cut is to be seen within three seconds, not at the next tick."""
        while True:
            await self._clock.sleep(BEAT)
            now = self._clock.monotonic()
            if now - self._decoded < DECODE and self._states.calm(self.panel.seen, now):
                self._chorus.flush(now)
                continue
            self.decode()
            for row in self._states.stalled(self.panel.seen, self._following, now):
                self._in_order[row].stall(self._states.dead_after)
            self._oddities.look()
            self._chorus.flush(now)

    def _changed(self, row: int, state: HostState, reason: Label) -> None:
        """Say a change once."""
        said = f"{state}: {reason}" if reason else str(state)
        if said != self._said[row]:
            self._said[row] = said
            self._say(row, said)

    def _say(self, row: int, text: str) -> None:
        self._chorus.say(self._in_order[row].spec, text, self._clock.monotonic())

    def _watch(self, host: str) -> HostWatch:
        try:
            return self._watches[host]
        except KeyError:
            known = ", ".join(self._watches)
            raise UsageError(f"no host {host} in fleet {self.fleet.name}", hint=f"hosts: {known}") from None
