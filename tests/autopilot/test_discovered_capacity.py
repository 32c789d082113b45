"""Hosts that leave their capacity to be discovered: unknown until they say it, then less their reserve."""

from __future__ import annotations

import numpy as np

from sidestep.autopilot.world_columns import Capacities
from sidestep.fleet.config import parse_fleet

TEXT = """\
[fleet]
name = "x"
[defaults.host]
reserve_cpu = "25%"
reserve_memory = 1048576
[hosts.open]
address = "a"
[hosts.half]
address = "b"
cpu = 4
[hosts.greedy]
address = "c"
reserve_cpu = 16
"""
GIB = 1 << 30


def test_a_reserve_is_taken_of_what_hosts_say_and_nothing_left_is_unknown() -> None:
    specs = parse_fleet(TEXT, "f.toml").hosts
    table = Capacities(specs)
    assert np.isnan(table.allocatable[[0, 2], :2]).all()
    assert table.allocatable[1, 0] == 3
    assert np.isnan(table.allocatable[1, 1])
    facts: list[dict[str, str]] = [{"cpus": "8", "memory": str(GIB)}] * 3
    table.update([dict(one) for one in facts])
    assert table.capacity[:, 0].tolist() == [8, 4, 8]
    assert table.allocatable[:2, :2].tolist() == [[6, GIB - 1048576], [3, GIB - 1048576]]
    assert np.isnan(table.allocatable[2, 0])
    for row, spec in enumerate(specs):
        np.testing.assert_equal(spec.allocatable(8, GIB), tuple(table.allocatable[row, :2]))
