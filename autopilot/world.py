"""The observed world: every host watched by itself, and one frozen picture of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from sidestep.autopilot.world_clock import Clock
from sidestep.autopilot.world_host import HostWatch, Sampler
from sidestep.backends.sampler import HostSample, ShardSample
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Basis, Plan
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot, basis_for

#: connections that are being made at a time
CONNECTING: Final = 32

Report = Callable[[str], None]


@dataclass(frozen=True)
class ShardFacts:
    """What is known about a shard apart from samples."""

    #: sizes of state that moves carried, by shard
    state_bytes: Mapping[str, float] = field(default_factory=dict)
    #: shards that a running plan moves
    moving: Collection[str] = ()


class World:
    """Watches every host of a fleet; ``run`` is its life, ``snapshot`` its picture."""

    def __init__(
        self,
        fleet: FleetSpec,
        transport: Callable[[HostSpec], Transport],
        *,
        sampler: Sampler,
        clock: Clock,
        report: Report,
    ) -> None:
        self.fleet, self._clock, self._transport = fleet, clock, transport
        gate = asyncio.Semaphore(CONNECTING)
        self._watches = {
            str(host.name): HostWatch(
                host,
                transport(host),
                fleet=fleet.name,
                interval=fleet.interval,
                sampler=sampler,
                gate=gate,
                clock=clock,
                report=report,
            )
            for host in fleet.hosts
        }
        self._rows = {host: row for row, host in enumerate(self._watches)}
        self._number = 0

    async def run(self) -> None:
        """Watch all hosts until cancelled, then close their connections."""
        try:
            async with asyncio.TaskGroup() as group:
                for name, watch in self._watches.items():
                    group.create_task(watch.run(), name=f"watch {name}")
        finally:
            await asyncio.gather(*(w.transport.aclose() for w in self._watches.values()), return_exceptions=True)

    def transport(self, host: str) -> Transport:
        """The connection to a host, shared with its watch, which reconnects it. Raises UsageError."""
        return self.watch(host).transport

    def watch(self, host: str) -> HostWatch:
        """The watch of a host. Raises UsageError for a host that the fleet does not have."""
        try:
            return self._watches[host]
        except KeyError:
            known = ", ".join(self._watches)
            raise UsageError(f"no host {host} in fleet {self.fleet.name}", hint=f"hosts: {known}") from None

    def retry_refused(self) -> int:
        """Try again, over new transports, every host that refused us; returns how many there are."""
        refused = [watch for watch in self._watches.values() if watch.refused]
        for watch in refused:
            watch.retry(self._transport(watch.spec))
        return len(refused)

    def states(self) -> dict[str, HostState]:
        """Every host's present state."""
        return {name: watch.judge() for name, watch in self._watches.items()}

    def heard(self) -> bool:
        """Whether every host has given a sample or a reason why not."""
        return all(w.sample is not None or w.refused or w.failed for w in self._watches.values())

    def basis(self, plan: Plan, placement: Placement) -> Basis:
        """The facts that a plan was decided on, as they are at this moment."""
        self.states()
        hosts = frozenset(fact.host for fact in plan.basis.hosts)
        return basis_for(hosts, _host_columns(tuple(self._watches.values())), placement)

    def snapshot(self, placement: Placement, facts: ShardFacts) -> Snapshot:
        """The next numbered picture: newest samples, placement and what is known of shards."""
        self._number += 1
        watches = tuple(self._watches.values())
        self.states()
        times = [w.sampled_at for w in watches if w.sample is not None]
        return Snapshot(
            number=self._number,
            time=max(times, default=self._clock.wall()),
            generation=placement.generation,
            hosts=_host_columns(watches),
            shards=self._shard_columns(placement, facts),
        )

    def _shard_columns(self, placement: Placement, facts: ShardFacts) -> ShardColumns:
        specs = self.fleet.shards
        use = np.full((len(specs), len(DIMENSIONS)), np.nan)
        host = np.full(len(specs), -1, dtype=np.int32)
        token = np.zeros(len(specs), dtype=np.int64)
        # NaN while unknown, which planning reads as the shard's memory
        state_bytes = np.array([facts.state_bytes.get(s.name, np.nan) for s in specs], dtype=np.float64)
        states: list[ShardState] = []
        samples = {name: _shards(w.sample) for name, w in self._watches.items() if w.fresh and w.sample is not None}
        for row, spec in enumerate(specs):
            owner = placement.owners.get(spec.name)
            watch = self._watches.get(owner.host) if owner else None
            if owner is None or watch is None:
                states.append(ShardState.PENDING)
                continue
            host[row], token[row] = self._rows[owner.host], owner.token
            seen = samples.get(owner.host, {}).get(spec.name)
            if seen is not None:
                use[row, CPU], use[row, MEMORY] = seen.cpu, seen.memory
            states.append(_state(watch.state, seen, spec.name in facts.moving))
        running = np.array([state is ShardState.RUNNING for state in states], dtype=np.bool_)
        return ShardColumns(
            names=tuple(s.name for s in specs),
            apps=tuple(s.app for s in specs),
            states=tuple(states),
            host=host,
            use=use,
            state_bytes=state_bytes,
            priority=np.array([s.priority for s in specs], dtype=np.int32),
            token=token,
            movable=running & np.array([not s.pinned for s in specs], dtype=np.bool_),
        )


def _host_columns(watches: tuple[HostWatch, ...]) -> HostColumns:
    count = len(watches)
    capacity = np.full((count, len(DIMENSIONS)), np.nan)
    allocatable, use = capacity.copy(), capacity.copy()
    pressure = np.full((count, 3), np.nan)
    for row, watch in enumerate(watches):
        spec = watch.spec
        capacity[row, [CPU, MEMORY]] = spec.capacity()
        allocatable[row, [CPU, MEMORY]] = spec.allocatable()
        if watch.sample is not None and watch.fresh:
            use[row], pressure[row] = watch.sample.use, watch.sample.pressure
    return HostColumns(
        names=tuple(w.spec.name for w in watches),
        states=tuple(w.state for w in watches),
        reasons=tuple(w.reason for w in watches),
        zones=tuple(w.spec.zone for w in watches),
        capacity=capacity,
        allocatable=allocatable,
        use=use,
        pressure=pressure,
        age=np.array([w.age() for w in watches], dtype=np.float64),
    )


def _shards(sample: HostSample) -> dict[str, ShardSample]:
    """By name; of several processes of one shard the running one, then the one with the newest token."""
    return {s.shard: s for s in sorted(sample.shards, key=lambda s: (s.running, s.token))}


def _state(host: HostState, seen: ShardSample | None, moving: bool) -> ShardState:
    if moving:
        return ShardState.MOVING
    if host not in (HostState.READY, HostState.CORDONED):
        return ShardState.DEGRADED
    if seen is None:
        return ShardState.STOPPED
    return ShardState.RUNNING if seen.running else ShardState.FAILED
