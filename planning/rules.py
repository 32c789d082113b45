"""Hard constraints that do not depend on numbers: who may leave, who may receive.

Every "no" has a stable code: CORDONED, NOT_READY, QUARANTINED, BUSY, SETTLING, UNKNOWN, DISPUTED for
hosts; PINNED, BUSY, SETTLING, NOT_RUNNING, UNKNOWN, DISPUTED for shards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.placement import Placement
from sidestep.fleet.resources import PLANNED
from sidestep.fleet.snapshot import Snapshot

#: hosts in these states can still send a shard away
_GIVES = frozenset({HostState.READY, HostState.CORDONED, HostState.DRAINING, HostState.QUARANTINED})
_CORDONED = frozenset({HostState.CORDONED, HostState.DRAINING, HostState.DRAINED, HostState.MAINTENANCE})
_MOVES = frozenset({ShardState.RUNNING, ShardState.DEGRADED})

#: the codes in words, after "it"
WHY_HOST_NOT = {
    "CORDONED": "accepts no new shards",
    "NOT_READY": "is not READY",
    "QUARANTINED": "was lost a short while ago",
    "BUSY": "takes part in a running move",
    "SETTLING": "settles after a move",
    "UNKNOWN": "has no known capacity",
    "STANDBY": "is a standby host: a plan must activate it first",
    "DISPUTED": "does not hold the shards that the placement says",
}
WHY_SHARD_NOT = {
    "PINNED": "is pinned to its host, or being moved",
    "BUSY": "is being moved",
    "SETTLING": "settles after a move",
    "NOT_RUNNING": "is not running",
    "INCAPABLE": "cannot be moved with its memory from its host",
    "DISPUTED": "is not where the placement says",
    "UNKNOWN": "has no known demand",
}


class Rules:
    """The fleet's rules at one snapshot; ``received[h]`` and ``kept[n]`` are codes, "" for yes."""

    def __init__(
        self,
        snapshot: Snapshot,
        placement: Placement,
        fleet: FleetSpec,
        busy: frozenset[str] = frozenset(),
        settling: frozenset[str] = frozenset(),
    ) -> None:
        self.snapshot, self.placement, self.fleet = snapshot, placement, fleet
        self.host_names, self.shard_names = snapshot.hosts.names, snapshot.shards.names
        self.host_row: dict[str, int] = {name: row for row, name in enumerate(self.host_names)}
        self.shard_row: dict[str, int] = {name: row for row, name in enumerate(self.shard_names)}
        self.host: NDArray[np.int32] = snapshot.shards.host
        #: rank of every host's name, the last tie-break
        self.rank = np.argsort(np.argsort(np.array(self.host_names, dtype=str), kind="stable"), kind="stable")
        disputed = self._disputed()
        self.whole = {spec.name for spec in fleet.shards if spec.driver == "criu"} if snapshot.hosts.unable else set()
        self._held = tuple(_held(name, busy, settling, disputed) for name in self.host_names)
        self.received = self._hosts()
        self.accepts: NDArray[np.bool_] = np.array([not code for code in self.received], dtype=np.bool_)
        self.kept = self._shards(busy, settling, disputed)

    def _disputed(self) -> frozenset[str]:
        """Shards that the placement has elsewhere than the snapshot saw them, and both hosts."""
        found: set[str] = set()
        owners, rows = self.placement.owners, self.host.tolist()
        for name, row in zip(self.shard_names, rows, strict=True):
            owner = owners.get(name)
            seen = self.host_names[row] if row >= 0 else None
            at = None if owner is None else owner.host
            if at != seen:
                found.add(name)
                found.update(host for host in (at, seen) if host is not None)
        return frozenset(found)

    def _hosts(self) -> tuple[str, ...]:
        cordoned = {host.name for host in self.fleet.hosts if host.cordoned}
        finite = np.asarray(np.isfinite(self.snapshot.hosts.allocatable[:, :PLANNED]))
        known = {int(row) for row in np.flatnonzero(finite.sum(axis=1) == PLANNED)}

        def code(row: int, name: str, state: HostState) -> str:
            if name in cordoned or state in _CORDONED:
                return "CORDONED"
            if state is HostState.QUARANTINED:
                return "QUARANTINED"
            if state is not HostState.READY:
                return "NOT_READY"
            return self._held[row] or ("" if row in known else "UNKNOWN")

        states = zip(self.host_names, self.snapshot.hosts.states, strict=True)
        return tuple(code(row, name, state) for row, (name, state) in enumerate(states))

    def _shards(self, busy: frozenset[str], settling: frozenset[str], disputed: frozenset[str]) -> tuple[str, ...]:
        pinned = {spec.name for spec in self.fleet.shards if spec.pinned}

        def code(name: str, state: ShardState, movable: bool) -> str:
            if name in pinned:
                return "PINNED"
            if name in self.whole and self.unable(name, int(self.host[self.shard_row[name]])):
                return "INCAPABLE"
            held = _held(name, busy, settling, disputed)
            if held:
                return held
            if state not in _MOVES:
                return "NOT_RUNNING"
            return "" if movable else "PINNED"

        shards = self.snapshot.shards
        rows = zip(shards.names, shards.states, shards.movable.tolist(), strict=True)
        return tuple(code(name, state, movable) for name, state, movable in rows)

    def unable(self, shard: str, host: int) -> Label:
        """Why a shard of driver criu can neither leave that host nor come there; "" if it can."""
        known = self.snapshot.hosts.unable
        return known.get(self.host_names[host], Label("")) if host >= 0 and shard in self.whole else Label("")

    def gives(self, host: int) -> str:
        """Why shards cannot leave a host now; "" if they can."""
        if self.snapshot.hosts.states[host] not in _GIVES:
            return "NOT_READY"
        return self._held[host]


def _held(name: str, busy: frozenset[str], settling: frozenset[str], disputed: frozenset[str]) -> str:
    if name in busy:
        return "BUSY"
    if name in settling:
        return "SETTLING"
    return "DISPUTED" if name in disputed else ""
