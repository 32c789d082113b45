"""Snapshots and panels for the tests of the oracle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.resources import DIMENSIONS
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot

SnapshotMaker = Callable[..., Snapshot]


def snapshot_of(
    number: int,
    hosts: NDArray[np.floating],
    shards: NDArray[np.floating] | None = None,
    *,
    time: float | None = None,
    names: tuple[str, ...] | None = None,
    capacity: float = 0.3,
) -> Snapshot:
    """A snapshot in which these hosts and shards use so much cpu, and a steady amount of memory."""
    shards = np.zeros(0) if shards is None else shards
    named = names or tuple(f"host-{i}" for i in range(len(hosts)))

    def use(cpu: NDArray[np.floating]) -> NDArray[np.float64]:
        found = np.zeros((len(cpu), len(DIMENSIONS)))
        found[:, 0], found[:, 1] = cpu, 64e6
        return found

    room = np.tile([capacity, 512e6, *[np.nan] * (len(DIMENSIONS) - 2)], (len(hosts), 1))
    count = len(shards)
    return Snapshot(
        number=number,
        time=1_700_000_000.0 + number if time is None else time,
        generation=1,
        hosts=HostColumns(
            names=tuple(Label(n) for n in named),
            states=(HostState.READY,) * len(hosts),
            reasons=(Label(""),) * len(hosts),
            zones=(Label(""),) * len(hosts),
            capacity=room,
            allocatable=room.copy(),
            use=use(hosts),
            pressure=np.zeros((len(hosts), 3)),
            age=np.zeros(len(hosts)),
        ),
        shards=ShardColumns(
            names=tuple(Label(f"shard-{i}") for i in range(count)),
            apps=(Label("app"),) * count,
            states=(ShardState.RUNNING,) * count,
            host=np.zeros(count, dtype=np.int32),
            use=use(shards),
            state_bytes=np.zeros(count),
            priority=np.full(count, 3, dtype=np.int32),
            token=np.ones(count, dtype=np.int64),
            movable=np.ones(count, dtype=np.bool_),
        ),
    )


@pytest.fixture
def make_snapshot() -> SnapshotMaker:
    return snapshot_of
