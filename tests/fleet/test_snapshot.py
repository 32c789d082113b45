"""Snapshots are frozen all through, and give a plan the facts that it relies on."""

from __future__ import annotations

import numpy as np
import pytest

from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.placement import Owner, Placement
from sidestep.fleet.plans import HostFact, PlacementFact
from sidestep.fleet.resources import DIMENSIONS
from sidestep.fleet.snapshot import HostColumns, basis_for

PLACEMENT = Placement(4, {Label("b"): Owner(Label("h1"), 4), Label("a"): Owner(Label("h1"), 2),
                          Label("c"): Owner(Label("h3"), 1)})  # fmt: skip


def hosts(cpu: float = 4.0) -> HostColumns:
    allocatable = np.full((3, len(DIMENSIONS)), np.nan)
    allocatable[:, 0], allocatable[:, 1] = cpu, 1024
    names = (Label("h2"), Label("h1"), Label("h3"))
    return HostColumns(
        names=names, states=(HostState.READY, HostState.SUSPECT, HostState.READY), reasons=(Label(""),) * 3,
        zones=(Label(""),) * 3, capacity=allocatable.copy(), allocatable=allocatable,
        use=np.zeros((3, len(DIMENSIONS))), pressure=np.zeros((3, 3)), age=np.zeros(3),
    )  # fmt: skip


def test_nobody_can_write_into_a_snapshot() -> None:
    columns = hosts()
    for array in (columns.capacity, columns.allocatable, columns.use, columns.pressure, columns.age):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_racks_and_storage_that_nobody_declares_are_unknown_and_no_limit() -> None:
    columns = hosts()
    assert columns.racks == ("", "", "")
    assert np.isnan(columns.disk).all() and len(columns.disk) == 3
    with pytest.raises(ValueError, match="read-only"):
        columns.disk[0] = 1.0


def test_a_plan_relies_on_the_involved_hosts_and_their_shards_only() -> None:
    basis = basis_for(frozenset({"h1", "h2"}), hosts(), PLACEMENT)
    assert basis.hosts == (HostFact(Label("h1"), "SUSPECT", 4.0, 1024), HostFact(Label("h2"), "READY", 4.0, 1024))
    assert basis.placements == (PlacementFact(Label("a"), Label("h1"), 2), PlacementFact(Label("b"), Label("h1"), 4))


def test_states_given_beside_the_snapshot_count() -> None:
    shown = (HostState.CORDONED, HostState.READY, HostState.READY)
    basis = basis_for(frozenset({"h2"}), hosts(), PLACEMENT, shown)
    assert basis.hosts[0].state == "CORDONED"
    assert basis_for(frozenset({"h2"}), hosts(), PLACEMENT).differences(basis) == (
        "host h2: state was READY, now CORDONED",
    )


def test_a_capacity_that_is_not_known_does_not_make_every_plan_stale() -> None:
    one, two = (basis_for(frozenset({"h1"}), hosts(np.nan), PLACEMENT) for _ in range(2))
    assert one.differences(two) == ()
