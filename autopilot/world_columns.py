"""From the panel's columns to those of a snapshot, without a step of Python per host or shard.

What changes seldom is looked up once: shards by the panel's layout and the placement's
generation, capacities by the facts that hosts tell.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.autopilot.world_states import States
from sidestep.backends.sampler import panel_views
from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.protocol import SHARD
from sidestep.fleet.inventory import FleetSpec, HostSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState
from sidestep.fleet.placement import Placement
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY, PLANNED, REPORTED
from sidestep.fleet.snapshot import HostColumns, ShardColumns

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: pressure is averaged over so many seconds, as the kernel's avg10 is
_SMOOTH: Final = 10.0
#: what a host says of its size is believed up to here
_MOST: Final = {"cpus": 1e5, "memory": 2.0**60}

_SHARD_STATES: Final = np.array(list(ShardState), dtype=object)
_CODE: Final = {state: code for code, state in enumerate(ShardState)}
_PENDING, _MOVING, _DEGRADED, _STOPPED, _RUNNING, _FAILED, _POISONED = (
    _CODE[state]
    for state in (
        ShardState.PENDING,
        ShardState.MOVING,
        ShardState.DEGRADED,
        ShardState.STOPPED,
        ShardState.RUNNING,
        ShardState.FAILED,
        ShardState.POISONED,
    )
)


@dataclass(frozen=True)
class ShardFacts:
    """What is known about a shard apart from samples."""

    #: sizes of state that moves carried, by shard
    state_bytes: Mapping[str, float] = field(default_factory=dict)
    #: shards that a running plan moves
    moving: Collection[str] = ()
    #: hosts that are given up; None: nobody says, and DEAD is all that is known
    lost: Collection[str] | None = None
    #: shards that stay with their lost host, with the code of why, and those that start nowhere
    stays: Mapping[str, str] = field(default_factory=dict)
    poisoned: Collection[str] = ()


class Capacities:
    """What hosts have: as declared, or as they say themselves; NaN until they said it."""

    def __init__(self, specs: tuple[HostSpec, ...]) -> None:
        self._facts: list[Mapping[str, str] | None] = [None] * len(specs)
        declared = np.array([(spec.cpu, spec.memory) for spec in specs], dtype=np.float64).reshape(-1, 2)
        self._reserve = np.array([(s.reserve_cpu, s.reserve_memory) for s in specs], dtype=np.float64).reshape(-1, 2)
        percents = [(s.reserve_cpu_percent, s.reserve_memory_percent) for s in specs]
        self._free = 1 - np.array(percents, dtype=np.float64).reshape(-1, 2) / 100
        self._unknown = declared <= 0
        self._asking = np.flatnonzero(self._unknown.any(axis=1)).tolist()
        self.capacity = np.full((len(specs), len(DIMENSIONS)), np.nan)
        self.allocatable = self.capacity.copy()
        declared[self._unknown] = np.nan
        self._set(slice(None), declared)

    def update(self, facts: list[Mapping[str, str]]) -> None:
        """Take what hosts that leave their size to be discovered say of it; replaces columns that change."""
        changed = [row for row in self._asking if facts[row] is not self._facts[row]]
        if not changed:
            return
        self.capacity, self.allocatable = self.capacity.copy(), self.allocatable.copy()
        for row in changed:
            self._facts[row] = facts[row]
            size = self.capacity[row, [CPU, MEMORY]]
            for column, key in enumerate(("cpus", "memory")):
                if self._unknown[row, column] and (said := _number(facts[row].get(key, ""), _MOST[key])) is not None:
                    size[column] = said
            self._set(row, size)

    def _set(self, rows: int | slice, size: F64) -> None:
        self.capacity[rows, CPU], self.capacity[rows, MEMORY] = size[..., 0], size[..., 1]
        left = size * self._free[rows] - self._reserve[rows]
        # Nobody divides by nothing: a host whose reserve takes all of it is like one that is not known.
        left = np.where(left > 0, left, np.nan)
        self.allocatable[rows, CPU], self.allocatable[rows, MEMORY] = left[..., 0], left[..., 1]


class HostTable:
    """Makes the snapshot's host columns."""

    def __init__(self, fleet: FleetSpec, panel: Panel) -> None:
        specs = fleet.hosts
        self._panel = panel
        self._names = tuple(spec.name for spec in specs)
        self._labels = np.array(self._names, dtype=str)
        self.declare(specs)
        self._pressure = np.full((len(specs), 3), np.nan)
        self._taken = np.full(len(specs), np.nan)

    def declare(self, specs: tuple[HostSpec, ...]) -> None:
        """Take what the fleet file says of the hosts, in their order."""
        self.capacities = Capacities(specs)
        self._zones, self._racks = tuple(spec.zone for spec in specs), tuple(spec.rack for spec in specs)
        self._disk = np.array([spec.disk or np.nan for spec in specs], dtype=np.float64)

    def columns(
        self,
        states: States,
        now: float,
        lost: Collection[str] | None = None,
        unable: Mapping[str, Label] = MappingProxyType({}),
    ) -> HostColumns:
        """The hosts as the panel and their states say; ``now`` is monotonic, ``lost`` are those given up."""
        panel, fresh = self._panel, states.fresh
        self.capacities.update(panel.facts)  # type: ignore[arg-type]
        use = panel_views.use(panel)
        use[~fresh] = np.nan
        heard = states.heard(panel.seen)
        return HostColumns(
            names=self._names,
            states=tuple(states.states),
            reasons=tuple(states.reasons),
            zones=self._zones,
            capacity=self.capacities.capacity,
            allocatable=self.capacities.allocatable,
            use=use,
            pressure=self._smooth(fresh),
            age=np.where(np.isneginf(heard), np.nan, np.maximum(0.0, now - heard)),
            racks=self._racks,
            disk=self._disk,
            lost=np.isin(self._labels, list(lost)) if lost is not None else np.zeros(0, dtype=np.bool_),
            unable=unable,
        )

    def _smooth(self, fresh: Mask) -> F64:
        """Pressure in percent, averaged over the last seconds by the hosts' own clocks."""
        taken = self._panel.at_ms / 1e3
        share = panel_views.pressure(self._panel)
        with np.errstate(invalid="ignore"):
            passed = taken - self._taken
            weight = np.where(passed >= 0, -np.expm1(-np.maximum(passed, 0.0) / _SMOOTH), 1.0)[:, None]
        before = np.where(np.isnan(self._pressure), share, self._pressure)
        new = np.where(np.isnan(share), before, before + weight * (share - before))
        self._pressure = new
        self._pressure[~fresh] = np.nan
        self._taken = taken
        return self._pressure.copy()


class ShardTable:
    """Makes the snapshot's shard columns."""

    def __init__(self, fleet: FleetSpec, panel: Panel) -> None:
        specs = fleet.shards
        self._panel = panel
        self._hosts = {str(host.name): row for row, host in enumerate(fleet.hosts)}
        self._names, self._apps = tuple(s.name for s in specs), tuple(s.app for s in specs)
        self._rows = {str(spec.name): row for row, spec in enumerate(specs)}
        self.declare(specs)
        self._host, self._token = np.full(len(specs), -1, np.int32), np.zeros(len(specs), np.int64)
        self._source = np.full(len(specs), -1, dtype=np.int64)
        #: shards of the queue that ran before
        self._fenced = np.zeros(len(specs), dtype=np.bool_)
        #: generation and size of the placement that was looked up
        self._placed = (-1, -1)
        self._layout = -1
        self._spec_of = np.zeros(0, dtype=np.int64)
        self._codes = np.zeros(0, dtype=np.int8)
        self._states: tuple[ShardState, ...] = ()

    def declare(self, specs: tuple[ShardSpec, ...]) -> None:
        """Take what the fleet file says of the shards, in their order."""
        self._priority = np.array([s.priority for s in specs], dtype=np.int32)
        self._free = np.array([not s.pinned for s in specs], dtype=np.bool_)
        self._disk = np.array([s.disk for s in specs], dtype=np.float64)
        self._spare = np.array([s.spare for s in specs], dtype=np.bool_)

    def columns(
        self, fresh: Mask, placement: Placement, facts: ShardFacts, reported: F64 | None = None
    ) -> ShardColumns:
        """The shards where the placement has them, as their owners' hosts say they are.

        ``reported`` (N, len(REPORTED)) is what routers and runners say of them, if any do.
        """
        self._look_up(placement)
        panel, count = self._panel, len(self._names)
        use = np.full((count, len(DIMENSIONS)), np.nan)
        nowhere = self._host < 0
        known = fresh[self._host] & ~nowhere
        rows = np.flatnonzero(known & (self._source >= 0))
        rows = rows[~np.isnan(panel.shard_values[self._source[rows], SHARD["running"]])]
        source = self._source[rows]
        use[rows, :PLANNED] = panel_views.shard_use(panel)[source]
        codes = np.full(count, _DEGRADED, dtype=np.int8)
        codes[known] = _STOPPED
        codes[rows] = np.where(panel.shard_values[source, SHARD["running"]] == 1, _RUNNING, _FAILED)
        codes[self._listed(facts.poisoned)] = _POISONED
        codes[self._listed(facts.moving)] = _MOVING
        codes[nowhere] = _PENDING
        codes[nowhere & self._fenced] = _STOPPED  # it ran, and gave way
        if not np.array_equal(codes, self._codes):
            self._codes, self._states = codes, tuple(_SHARD_STATES[codes].tolist())
        # NaN while unknown, which planning reads as the shard's memory
        state_bytes = np.full(count, np.nan)
        carried = [name for name in facts.state_bytes if name in self._rows]
        state_bytes[self._listed(carried)] = [facts.state_bytes[name] for name in carried]
        return ShardColumns(
            names=self._names,
            apps=self._apps,
            states=self._states,
            host=self._host,
            use=use,
            state_bytes=state_bytes,
            priority=self._priority,
            token=self._token,
            movable=(codes == _RUNNING) & self._free,
            reported=reported if reported is not None else np.zeros((0, len(REPORTED))),
            disk=self._disk,
            stays={self._rows[name]: code for name, code in facts.stays.items() if name in self._rows},
        )

    def astray(self, fresh: Mask, placement: Placement) -> list[tuple[int, Label]]:
        """Rows of hosts whose newest samples contradict the placement, and the shard that each is about.

        An owner whose process is gone or stands still, a process under another token than its owner's, and
        one that runs on another host; and a spare that runs though its keys were merged away. Any other shard
        without an owner, and a host without fresh samples, say nothing.
        """
        self._look_up(placement)
        panel = self._panel
        rows = np.flatnonzero(self._spec_of >= 0)
        spec, host = self._spec_of[rows], panel.shard_host[rows]
        running, token = panel.shard_values[rows, SHARD["running"]], panel.shard_values[rows, SHARD["token"]]
        its = (host == self._host[spec]) & (token == self._token[spec])
        idle = self._spare[spec] & (token > 0) & (token <= placement.generation)
        wrong = np.where(its, running == 0, running == 1) & fresh[host] & ((self._host[spec] >= 0) | idle)
        return [(int(host[at]), self._names[spec[at]]) for at in np.flatnonzero(wrong)]

    def _listed(self, names: Collection[str]) -> NDArray[np.int64]:
        return np.array([self._rows[name] for name in names if name in self._rows], dtype=np.int64)

    def _look_up(self, placement: Placement) -> None:
        """Find every shard's owner and its row in the panel, if either may have changed."""
        panel = self._panel
        placed = (placement.generation, len(placement.owners))
        if placed == self._placed and panel.shard_layout == self._layout:
            return
        if placed != self._placed:
            self._placed = placed
            self._host, self._token = np.full_like(self._host, -1), np.zeros_like(self._token)
            for shard, owner in placement.owners.items():
                row, host = self._rows.get(shard), self._hosts.get(owner.host)
                if row is not None and host is not None:
                    self._host[row], self._token[row] = host, owner.token
            ran = [self._rows[name] for name, token in placement.queued.items() if token and name in self._rows]
            self._fenced = np.zeros(len(self._host), dtype=np.bool_)
            self._fenced[ran] = True
        if panel.shard_layout != self._layout:
            self._layout = panel.shard_layout
            rows = self._rows
            self._spec_of = np.array([rows.get(name, -1) for name in panel.shard_names], dtype=np.int64)
        declared = np.flatnonzero(self._spec_of >= 0)
        spec = self._spec_of[declared]
        its = panel.shard_host[declared] == self._host[spec]
        self._source = np.full(len(self._names), -1, dtype=np.int64)
        self._source[spec[its]] = declared[its]


def _number(text: str, most: float) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 < value <= most else None
