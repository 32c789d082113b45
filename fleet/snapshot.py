"""The picture of the fleet at one instant: columns, frozen and numbered.

Hosts and shards are rows; ``D`` is ``len(DIMENSIONS)``. Unknown numbers are NaN. Arrays
are made read-only on the way in, so that a snapshot can be handed to anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Basis, HostFact, PlacementFact
from sidestep.fleet.resources import REPORTED

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


def _freeze(columns: object) -> None:
    for each in fields(columns):  # type: ignore[arg-type]
        value = getattr(columns, each.name)
        if isinstance(value, np.ndarray):
            value.setflags(write=False)


@dataclass(frozen=True, kw_only=True)
class HostColumns:
    """One row a host: H rows, arrays of shape (H, D) unless said otherwise."""

    names: tuple[Label, ...]
    states: tuple[HostState, ...]
    #: why the state is what it is, one line
    reasons: tuple[Label, ...]
    zones: tuple[Label, ...]
    #: declared capacity, and what of it may be handed out; NaN where nothing is declared
    capacity: Floats
    allocatable: Floats
    #: measured use, in the units of ``resources.UNITS``
    use: Floats
    #: (H, 3) PSI some avg10 of cpu, memory, io in percent
    pressure: Floats
    #: (H,) seconds since the last valid sample
    age: Floats
    #: smaller failure domains within the zones; "" where nobody says
    racks: tuple[Label, ...] = ()
    #: (H,) bytes of storage that may be handed out; NaN is not known, and no limit
    disk: Floats = field(default_factory=lambda: np.zeros(0))
    #: (H,) DEAD for so long that the host is given up: its shards may start elsewhere. Where nobody says,
    #: every DEAD host
    lost: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    #: by name, why a host cannot move processes with their memory (driver criu)
    unable: Mapping[str, Label] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.lost):
            dead = np.array([state is HostState.DEAD for state in self.states], dtype=np.bool_)
            object.__setattr__(self, "lost", dead)
        if not self.racks:
            object.__setattr__(self, "racks", (Label(""),) * len(self.names))
        if not len(self.disk):
            object.__setattr__(self, "disk", np.full(len(self.names), np.nan))
        _freeze(self)


@dataclass(frozen=True, kw_only=True)
class ShardColumns:
    """One row a shard: N rows. ``host`` is a row of HostColumns, -1 for nowhere."""

    names: tuple[Label, ...]
    apps: tuple[Label, ...]
    states: tuple[ShardState, ...]
    host: Ints
    #: (N, D) measured use
    use: Floats
    #: (N,) size of the state that a move carries, bytes
    state_bytes: Floats
    priority: Ints
    #: (N,) fencing token of the present owner
    token: NDArray[np.int64]
    #: (N,) False for pinned shards and for those that are being moved
    movable: NDArray[np.bool_]
    #: (N, len(REPORTED)) what routers and runners say, NaN where they do not; (0, ...) where nobody reports
    reported: Floats = field(default_factory=lambda: np.zeros((0, len(REPORTED))))
    #: (N,) bytes of storage that each takes; 0 where nobody says
    disk: Floats = field(default_factory=lambda: np.zeros(0))
    #: by row, the code of why a shard stays with its lost host: WAITS, NO_CAPSULE, POISONED, PINNED
    stays: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.disk):
            object.__setattr__(self, "disk", np.zeros(len(self.names)))
        _freeze(self)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that planning and the screens look at, of one instant.

    ``time`` is the controller's unix time of the newest sample in it.
    """

    number: int
    time: float
    generation: int
    hosts: HostColumns
    shards: ShardColumns


def _known(capacity: Floats) -> tuple[float, int]:
    """Cores and bytes as facts; 0 where nothing is declared, because NaN equals nothing."""
    cpu, memory = np.nan_to_num(capacity[:2])
    return float(cpu), int(memory)


def basis_for(
    involved: frozenset[str],
    hosts: HostColumns,
    placement: Placement,
    states: tuple[HostState, ...] | None = None,
    waiting: frozenset[str] = frozenset(),
) -> Basis:
    """The facts about ``involved`` hosts, the shards on them, and ``waiting`` ones that a plan relies on."""
    shown = states or hosts.states
    facts = tuple(
        HostFact(name, str(state), *_known(capacity))
        for name, state, capacity in sorted(zip(hosts.names, shown, hosts.allocatable, strict=True), key=lambda h: h[0])
        if name in involved
    )
    placed = tuple(
        PlacementFact(shard, owner.host, owner.token)
        for shard, owner in sorted(placement.owners.items())
        if owner.host in involved
    )
    queued = tuple(
        PlacementFact(shard, Label(""), token) for shard, token in sorted(placement.queued.items()) if shard in waiting
    )
    return Basis((*placed, *queued), facts)
