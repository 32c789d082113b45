"""History: slots on a grid, gaps that are seen, the past never rewritten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet.history import Block, History, RingSpec, Series, coarsened, rates

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
    np.testing.assert_allclose(values, np.tile(expected, (series, 1)), rtol=1e-6, atol=1e-30)


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


def test_double_precision_is_there_for_whoever_needs_it() -> None:
    history = History(RINGS, dtype=np.float64)
    history.append(100, ["a"], np.array([1.9]))
    assert history.window(0, 1)[1].tolist() == [[1.9]]


def test_a_slot_counts_as_valid_with_half_of_its_samples() -> None:
    """S1.3: validity is per slot and per window, and queries return it."""
    history = History(RINGS)
    for time in (100, 101, 105, 106, 107, 110):
        history.append(time, ["a"], np.array([1.0]))
    block = history.query(1)
    assert block.times[-3:].tolist() == [100, 105, 110]
    assert block.count[-3:, 0].tolist() == [2, 3, 1]
    assert block.seconds[-3:, 0].tolist() == [2, 3, 1]
    assert block.valid[-3:, 0].tolist() == [False, True, True], "of the open slot one second of one has passed"
    assert history.query(1, 105).enough.tolist() == [True]
    assert history.query(1, 90).enough.tolist() == [False]
    assert history.query(0, 101, 104).valid[:, 0].tolist() == [True, False, False]


def test_fewer_samples_a_second_are_expected_where_the_interval_is_longer() -> None:
    history = History((RingSpec(5.0, 4), RingSpec(20.0, 4)), interval=5.0)
    history.append(100, ["a"], np.array([1.0]))
    history.append(105, ["a"], np.array([1.0]))
    history.append(120, ["a"], np.array([1.0]))
    assert history.query(1, 100, 120).seconds.tolist() == [[10.0]]
    assert history.query(1, 100, 120).valid.tolist() == [[True]]


def test_a_clock_that_was_set_back_loses_the_future_and_goes_on() -> None:
    history = filled((100, 1.0), (1000, 5.0), (1001, 6.0))
    assert history.append(500, ["a"], np.array([2.0]))
    assert history.append(501, ["a"], np.array([3.0]))
    times, values = history.window(0, 3)
    assert times.tolist() == [499, 500, 501]
    np.testing.assert_array_equal(values, [[np.nan, 2.0, 3.0]])
    assert history.append(1000, ["a"], np.array([7.0])), "the dropped future does not come back"
    np.testing.assert_array_equal(history.window(0, 2)[1], [[np.nan, 7.0]])


def test_the_past_is_loaded_where_nothing_was_measured() -> None:
    history = filled((107, 7.0))
    past = Block(
        5.0, 1.0, np.array([60.0, 85.0, 100.0, 105.0]), np.array([[9.0], [1.0], [2.0], [3.0]], np.float32),
        np.array([[9.0], [4.0], [5.0], [6.0]], np.float32), np.full((4, 1), 3, np.uint16),
    )  # fmt: skip
    assert history.load(1, 107, ["a"], past) == 3, "60 is out of the ring's reach"
    block = history.query(1, 85)
    np.testing.assert_array_equal(block.mean[:, 0], [1, np.nan, np.nan, 2, 7])
    np.testing.assert_array_equal(block.high[:, 0], [4, np.nan, np.nan, 5, 7])
    assert block.count[:, 0].tolist() == [3, 0, 0, 3, 1]
    assert history.load(1, 107, ["b"], past) == 3
    assert history.query(1, 105, names=["a", "b"]).mean.tolist() == [[7.0, 3.0]]


def test_an_open_slot_that_was_loaded_goes_on() -> None:
    history = History(RINGS)
    part = Block(5.0, 1.0, np.array([100.0]), np.array([[2.0]]), np.array([[3.0]]), np.array([[2]], np.uint16))
    history.load(1, 102, ["a"], part)
    history.append(102, ["a"], np.array([5.0]))
    block = history.query(1, 100)
    assert (block.mean.tolist(), block.high.tolist(), block.count.tolist()) == ([[3.0]], [[5.0]], [[3]])


def test_a_block_is_made_coarser_by_weight() -> None:
    block = Block(
        60.0, 1.0, np.array([0.0, 60.0, 900.0]), np.array([[1.0, np.nan], [4.0, np.nan], [5.0, 6.0]], np.float32),
        np.array([[2.0, np.nan], [9.0, np.nan], [5.0, 7.0]], np.float32),
        np.array([[10, 0], [20, 0], [60, 60]], np.uint16),
    )  # fmt: skip
    found = coarsened(block, 900.0)
    assert found.times.tolist() == [0, 900]
    np.testing.assert_array_equal(found.mean, [[3, np.nan], [5, 6]])
    np.testing.assert_array_equal(found.high, [[9, np.nan], [5, 7]])
    assert found.count.tolist() == [[30, 0], [60, 60]]


@given(st.text(min_size=1).filter(lambda t: " " not in t), st.text(min_size=1))
def test_the_name_of_a_series_comes_apart_again(word: str, name: str) -> None:
    series = Series(word, name, word)
    assert Series.parse(str(series)) == series


@pytest.mark.parametrize("text", ["", "host", "host h1", " h1 cpu", "host  cpu", "host h1 "])
def test_what_is_no_name_of_a_series_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        Series.parse(text)


class Slow:
    """What the history should be, sample by sample."""

    def __init__(self) -> None:
        self.kept: dict[int, dict[str, dict[int, list[float]]]] = {0: {}, 1: {}}
        self.time = -np.inf

    def append(self, time: float, names: list[str], values: list[float]) -> bool:
        if time // 1 < self.time // 1 and self.time - time <= 60:
            return False
        for ring, spec in enumerate(RINGS):
            slot = int(time // spec.step)
            for slots in self.kept[ring].values():
                for late in [s for s in slots if not slot - spec.slots < s <= slot]:
                    del slots[late]
            for name, value in zip(names, values, strict=True):
                if np.isfinite(value):
                    self.kept[ring].setdefault(name, {}).setdefault(slot, []).append(value)
        self.time = time
        return True

    def forget(self, name: str) -> None:
        for slots in self.kept.values():
            slots.pop(name, None)


NAMES = ("a", "b", "c", "d")
TIMES = st.one_of(st.floats(0, 3), st.sampled_from([-1.0, -30.0, -100.0, 0.0, 20.0, 500.0]))
SAMPLES = st.dictionaries(st.sampled_from(NAMES), st.floats(-100, 100, width=32) | st.sampled_from([np.nan, np.inf]))


@given(st.lists(st.tuples(TIMES, SAMPLES, st.sets(st.sampled_from(NAMES))), max_size=40))
def test_any_run_of_samples_agrees_with_a_slow_reference(
    steps: list[tuple[float, dict[str, float], set[str]]],
) -> None:
    """S1.3: late samples, gaps, clocks that go back, series that come and go and come back."""
    history, slow, now = History(RINGS), Slow(), 1000.0
    for wait, samples, gone in steps:
        now = max(now + wait, 0.0)
        names, values = list(samples), list(samples.values())
        assert history.append(now, names, np.array(values, dtype=float)) == slow.append(now, names, values)
        now = slow.time
        for name in gone & set(history.names):
            history.forget(name)
            slow.forget(name)
    for ring in (0, 1):
        block = history.query(ring, names=NAMES)
        for row, time in enumerate(block.times):
            for column, name in enumerate(NAMES):
                expected = slow.kept[ring].get(name, {}).get(int(time // RINGS[ring].step), [])
                assert (block.count[row, column] > 0) == bool(expected)
                mean = np.mean(expected) if expected else np.nan
                np.testing.assert_allclose(block.mean[row, column], mean, rtol=1e-5, atol=1e-4)
                if ring:
                    assert block.count[row, column] == len(expected)
                    np.testing.assert_array_equal(block.high[row, column], max(expected) if expected else np.nan)
