"""Irregular ticks become regular steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.forecasting.panel import Panel


def two(step: float) -> Panel:
    panel = Panel(step)
    panel.align(("a", "b"))
    return panel


def test_a_tick_every_step_closes_its_bin_at_once() -> None:
    panel = two(1.0)
    for at in range(5):
        np.testing.assert_array_equal(panel.add(100.0 + at, np.array([at, -at])), [[at, -at]])


@given(st.lists(st.floats(-0.45, 0.45), min_size=2, max_size=40))
def test_jitter_neither_loses_nor_invents_steps(jitter: list[float]) -> None:
    panel = two(1.0)
    rows = [panel.add(100.0 + at + shift * (at > 0), np.array([at, 0.0])) for at, shift in enumerate(jitter)]
    closed = np.concatenate(rows)
    assert len(jitter) - 1 <= len(closed) <= len(jitter)
    np.testing.assert_array_equal(closed[:, 0], np.arange(len(closed)))


def test_a_bin_is_the_mean_of_its_ticks_and_ignores_missing_ones() -> None:
    panel = two(4.0)
    rows = [panel.add(float(at), np.array([at, np.nan if at == 1 else 6.0])) for at in range(12)]
    closed = np.concatenate(rows)
    assert closed[0, 1] == 6.0
    np.testing.assert_allclose(np.diff(closed[1:, 0]), 4.0)


def test_a_gap_gives_missing_steps() -> None:
    panel = two(1.0)
    panel.add(10.0, np.array([1.0, 1.0]))
    closed = panel.add(14.0, np.array([2.0, 2.0]))
    assert np.isnan(closed[:3]).all()
    np.testing.assert_array_equal(closed[3], [2.0, 2.0])


def test_a_clock_that_jumps_goes_on_with_the_next_step() -> None:
    panel = two(1.0)
    panel.add(1e9, np.array([1.0, 1.0]))
    for jump in (5.0, 2e9):
        np.testing.assert_array_equal(panel.add(jump, np.array([7.0, 7.0])), [[7.0, 7.0]])
    assert panel.add(float("nan"), np.array([1.0, 1.0])).shape == (0, 2)


def test_series_come_and_go_by_name() -> None:
    panel = two(10.0)
    assert panel.align(("a", "b")) is None
    panel.add(0.0, np.array([9.0, 9.0]))
    panel.add(6.0, np.array([1.0, 2.0]))
    panel.add(8.0, np.array([1.0, 4.0]))
    np.testing.assert_array_equal(panel.align(("b", "c")), [1, -1])
    closed = panel.add(20.0, np.array([5.0, 5.0]))
    assert closed[0, 0] == 3.0
    assert np.isnan(closed[0, 1])


def test_a_step_must_be_positive() -> None:
    with pytest.raises(ValueError, match="must be positive, not 0"):
        Panel(0.0)
