"""History: slots on a grid, gaps that are seen, the past never rewritten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet.history import History, RingSpec, rates

RINGS = (RingSpec(1.0, 10), RingSpec(5.0, 6))


def filled(*points: tuple[float, float]) -> History:
    history = History(RINGS)
    for time, value in points:
        history.append(time, ["a"], np.array([value]))
    return history


def test_a_slot_holds_the_mean_of_its_samples() -> None:
    _, values = filled((100.1, 2.0), (100.9, 4.0)).window(0, 1)
    assert values.tolist() == [[3.0]]


def test_a_coarser_slot_keeps_the_highest_value_beside_the_mean() -> None:
    history = filled((100, 1.0), (101, 9.0), (102, 2.0))
    assert history.window(1, 1)[1].tolist() == [[4.0]]
    assert history.highest(1, 1)[1].tolist() == [[9.0]]


def test_a_gap_is_missing_and_not_interpolated() -> None:
    times, values = filled((100, 1.0), (103, 4.0)).window(0, 4)
    assert times.tolist() == [100, 101, 102, 103]
    np.testing.assert_array_equal(values, [[1.0, np.nan, np.nan, 4.0]])


def test_a_missing_value_leaves_the_slot_empty() -> None:
    np.testing.assert_array_equal(filled((100, 1.0), (101, np.nan)).window(0, 2)[1], [[1.0, np.nan]])


def test_a_gap_longer_than_the_ring_empties_it() -> None:
    _, values = filled((100, 1.0), (101, 2.0), (500, 5.0)).window(0, 10)
    assert np.isnan(values[0, :-1]).all()
    assert values[0, -1] == 5.0


def test_what_comes_late_is_left_out() -> None:
    history = filled((100, 1.0), (101, 2.0))
    assert not history.append(100.5, ["a"], np.array([99.0]))
    assert history.window(0, 2)[1].tolist() == [[1.0, 2.0]]


def test_series_come_and_go_without_touching_each_other() -> None:
    history = filled((100, 1.0))
    history.append(101, ["b", "a"], np.array([20.0, 2.0]))
    np.testing.assert_array_equal(history.window(0, 2, ["a", "b", "nobody"])[1], [[1, 2], [np.nan, 20], [np.nan] * 2])
    history.forget("a")
    history.append(102, ["c"], np.array([300.0]))
    np.testing.assert_array_equal(history.window(0, 3, ["c"])[1], [[np.nan, np.nan, 300.0]])
    assert history.names == ("b", "c")


@given(st.lists(st.tuples(st.floats(0.01, 3), st.floats(0, 100)), min_size=1, max_size=60), st.integers(1, 40))
def test_the_ring_agrees_with_a_plain_record_of_the_samples(steps: list[tuple[float, float]], series: int) -> None:
    """S1.3: any timing, any number of series."""
    history, record, time = History(RINGS), dict[int, list[float]](), 1000.0
    names = [f"s{i}" for i in range(series)]
    for wait, value in steps:
        time += wait
        record.setdefault(int(time), []).append(value)
        assert history.append(time, names, np.full(series, value))
    times, values = history.window(0, 10)
    expected = [np.mean(record[int(t)]) if int(t) in record else np.nan for t in times]
    np.testing.assert_allclose(values, np.tile(expected, (series, 1)), rtol=1e-9)


def test_a_counter_that_fell_was_reset_and_says_nothing() -> None:
    """S1.3: a reset is a gap, never a zero or a negative rate."""
    out = rates(np.array([10.0, 10.0, np.nan]), np.array([30.0, 4.0, 5.0]), 2.0)
    np.testing.assert_array_equal(out, [10.0, np.nan, np.nan])
    with pytest.raises(ValueError, match="some time apart"):
        rates(np.zeros(1), np.zeros(1), 0)


def test_a_fleet_that_grows_keeps_what_it_has() -> None:
    history = History(RINGS)
    for count in range(1, 60):
        names = [f"s{i}" for i in range(count)]
        history.append(100 + count // 10, names, np.arange(count, dtype=float))
    assert history.names == tuple(f"s{i}" for i in range(59))
    np.testing.assert_array_equal(history.window(0, 1)[1][:, 0], np.arange(59))
    np.testing.assert_array_equal(history.highest(1, 1)[1][:, 0], np.arange(59))


def test_a_row_is_used_again_for_the_right_series() -> None:
    history = History(RINGS)
    history.append(100, ("a", "b"), np.array([1.0, 2.0]))
    history.forget("a")
    history.append(101, ("a", "b"), np.array([3.0, 4.0]))
    np.testing.assert_array_equal(history.window(0, 2, ["a", "b"])[1], [[np.nan, 3.0], [2.0, 4.0]])
    with pytest.raises(KeyError):
        history.forget("nobody")


def test_infinity_is_no_measurement() -> None:
    np.testing.assert_array_equal(filled((100, np.inf), (101, 1.0)).window(0, 2)[1], [[np.nan, 1.0]])


def test_a_window_is_never_longer_than_its_ring_and_empty_before_the_first_sample() -> None:
    assert filled((100, 1.0)).window(0, 99)[1].shape == (1, 10)
    assert History(RINGS).window(0, 3, ["a"])[1].shape == (1, 3)
    assert np.isnan(History(RINGS).window(0, 3, ["a"])[1]).all()


def test_what_was_read_does_not_change_with_the_ring() -> None:
    history = filled((100, 1.0))
    _, before = history.window(0, 1)
    history.append(100.5, ["a"], np.array([9.0]))
    assert before.tolist() == [[1.0]]


def test_single_precision_halves_what_is_kept_and_keeps_sums_exact() -> None:
    history = History(RINGS, dtype=np.float32)
    for _ in range(30):
        history.append(100.0, [f"s{i}" for i in range(20)], np.full(20, 0.1))
    _, values = history.window(0, 1)
    assert values.dtype == np.float32 and values.shape == (20, 1)
    assert np.array_equal(values, np.full((20, 1), 0.1, np.float32))


def test_a_series_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        History(RINGS).append(1, ["a", "a"], np.zeros(2))


def test_a_wrong_number_of_values_is_refused() -> None:
    with pytest.raises(ValueError, match="2 names"):
        History(RINGS).append(1, ["a", "b"], np.zeros(3))
