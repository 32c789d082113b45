"""The policies that pools are measured against do what their papers and names say; by hand, on a few slots."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.pools import peers  # noqa: E402
from benchmarks.pools.demand import SLOTS  # noqa: E402


def requests(length: int, **at: int) -> np.ndarray:
    found = np.zeros((length, 1), dtype=np.int32)
    for slot, count in at.items():
        found[int(slot[1:]), 0] = count
    return found


def test_a_fixed_keep_alive_holds_an_instance_so_long_after_its_last_request() -> None:
    cold, warm = peers.fixed.py_func(requests(30, t0=1, t5=1, t20=1), 1, 1.0, 0)
    # kept for six slots: 0 to 11, and 20 to 26
    assert (cold[0], warm[0]) == (2, 12 + 7)


def test_perfect_knowledge_holds_the_most_that_each_tick_needs() -> None:
    cold, held = peers.oracle(requests(2 * SLOTS, t0=9, t7=8, t8=1), 8, 0)
    assert (cold[0], held[0]) == (0, SLOTS * 2 + SLOTS * 1)


def test_the_histogram_loads_before_the_head_and_keeps_until_the_tail_of_idle_times() -> None:
    bins = np.zeros(240, dtype=np.int64)
    known = np.zeros(32)
    windows = peers._windows.py_func
    assert windows(bins, 0, known, 0) == (0.0, 240 * 6), "nothing is known: kept for the range"
    bins[30] = 20
    assert windows(bins, 0, known, 0) == pytest.approx((int(30 * 6 * 0.9), 31 * 6 * 1.1))
    bins[0] = 20
    assert windows(bins, 0, known, 0)[0] == 0.0, "the head is rounded down to nothing: it is not unloaded"
    assert windows(np.ones(240, dtype=np.int64), 0, known, 0) == (0.0, 240 * 6), "idle times say nothing"


def test_ready_instances_are_shared_and_what_exceeds_them_is_cold() -> None:
    wanted = np.zeros((SLOTS, 2), dtype=np.int32)
    wanted[1] = 16, 16  # two instances of eight places each, of which one serves
    active, ready = np.ones((1, 2), dtype=np.int64), np.ones((1, 1), dtype=np.int64)
    cold, activated, warm = peers.held.py_func(wanted, 8, active, ready, np.zeros(2, dtype=np.int64), 0)
    assert cold.sum() == activated.sum() == 8, "one of two is there"
    assert warm[0] == 3 + 5 * 4
