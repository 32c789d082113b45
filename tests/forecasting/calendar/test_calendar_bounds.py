"""What the calendar costs, what it keeps over a restart, and what does it no harm."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nights import DAY, MIDNIGHT, NIGHT, Fleet, nightly, of, timer

from sidestep.fleet.resources import HOST_SERIES
from sidestep.forecasting.calendar import Calendar
from sidestep.forecasting.calendar.profiles import BINS, bins_of, edges_of
from sidestep.forecasting.calendar.schedule import Schedule

STEPS = np.arange(1, 13)
H = len(HOST_SERIES)


def learned(nights: int = 2) -> Fleet:
    fleet = Fleet(300.0, jobs={0: nightly(nights + 1, 20, 1.5, np.zeros(nights + 1))})
    fleet.calendar.know((timer("h0", MIDNIGHT + NIGHT),))
    fleet.go(MIDNIGHT + nights * DAY + NIGHT - 900)
    return fleet


def test_without_occasions_nothing_is_kept_and_nothing_is_added() -> None:
    calendar = Calendar(1.0)
    calendar.align(tuple(f"h{i}" for i in range(1000)), (), ())
    for second in range(50):
        calendar.observe(MIDNIGHT + second, np.ones(6000), np.ones(6000))
        assert calendar.uplift(MIDNIGHT + second, STEPS) is None
    assert (calendar.pairs, len(calendar._rows.codes), len(calendar._owners.names)) == (0, 0, 0)


def test_what_is_learned_survives_a_restart_and_rows_may_have_changed_meanwhile() -> None:
    """A worker that is killed begins where what it kept ends."""
    fleet = learned()
    before = fleet.uplift(fleet.row(0), STEPS)
    again = Calendar(300.0)
    again.align(("h1", "h0"), (), ())
    again.know(fleet.calendar._known)
    assert again.recall(fleet.calendar.learned()) == 1
    again.observe(fleet.time, np.full(2 * H, 2.0), np.full(2 * H, 2.0))
    np.testing.assert_allclose(of(again.uplift(fleet.time, STEPS), H, len(STEPS)), before, atol=0.02)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_memory_is_refused_or_read_but_never_breaks_the_calendar(data: st.DataObject) -> None:
    kept = bytearray(MEMORY)
    at = data.draw(st.integers(0, len(kept) - 1))
    if data.draw(st.booleans()):
        kept[at] ^= data.draw(st.integers(1, 255))
    else:
        kept = kept[:at]
    again = Calendar(300.0)
    again.align(("h0", "h1"), (), ())
    again.know((timer("h0", MIDNIGHT + NIGHT),))
    with contextlib.suppress(ValueError):
        again.recall(bytes(kept))
    for step in range(3):
        again.observe(MIDNIGHT + NIGHT + 300 * step, np.ones(2 * H), np.ones(2 * H))
        again.uplift(MIDNIGHT + NIGHT + 300 * step, STEPS)


MEMORY = learned(1).calendar.learned()


def test_memory_of_another_step_is_refused() -> None:
    with pytest.raises(ValueError, match="steps of"):
        Calendar(60.0).recall(MEMORY)


def test_missing_samples_and_holes_teach_nothing_wrong() -> None:
    fleet = Fleet(300.0, jobs={0: nightly(4, 20, 1.5, np.zeros(4))})
    fleet.calendar.know((timer("h0", MIDNIGHT + NIGHT),))
    rng = np.random.default_rng(2)
    observe = fleet.calendar.observe

    def holes(time: float, truth: np.ndarray, expected: np.ndarray) -> None:
        if not 10 * 3600 < time % DAY < 14 * 3600:  # nothing at all for hours
            observe(time, np.where(rng.random(len(truth)) < 0.2, np.nan, truth), expected)

    fleet.calendar.observe = holes  # type: ignore[method-assign]
    fleet.go(MIDNIGHT + 3 * DAY + NIGHT - 900)
    uplift = fleet.uplift(fleet.row(0), STEPS)
    job = fleet.job(fleet.time + STEPS * 300, 0) > 0.7
    assert abs(uplift[job].mean() - 1.5) < 0.45
    fleet.calendar.observe(fleet.time + 300, np.full(2 * H, np.nan), np.full(2 * H, np.nan))
    found = fleet.calendar.uplift(fleet.time + 300, STEPS)
    assert found is not None and np.isfinite(found.mean).all() and np.isfinite(found.spread).all()


def test_a_clock_that_is_set_back_breaks_nothing() -> None:
    fleet = learned()
    for back in (7200.0, 3 * DAY, -5 * DAY):
        fleet.calendar.observe(fleet.time - back, np.full(2 * H, 2.0), np.full(2 * H, 2.0))
        found = fleet.calendar.uplift(fleet.time - back, STEPS)
        assert found is None or np.isfinite(found.mean).all()


def test_pairs_are_bounded_and_events_come_before_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidestep.forecasting.calendar.calendar.PAIRS", 100)
    monkeypatch.setattr("sidestep.forecasting.calendar.lessons.LESSONS", 50)
    monkeypatch.setattr("sidestep.forecasting.calendar.calendar.LESSONS", 50)
    calendar = Calendar(60.0)
    calendar.align(tuple(f"h{i}" for i in range(40)), (), ())
    timers = tuple(timer(f"h{i}", MIDNIGHT + i, name=f"t{n}") for i in range(40) for n in range(3))
    calendar.know(timers)
    assert (calendar.pairs, calendar.left_out) == (100, 70)
    calendar.know(tuple(timer(f"h{i}", MIDNIGHT + i, name="other") for i in range(45)))
    assert calendar.left_out == 0, "those that nobody tells of any more make room"
    assert calendar.pairs <= 100
    calendar.observe(MIDNIGHT + 60, np.ones(240), np.ones(240))


@given(st.floats(1.0, 100000.0))
def test_bins_follow_their_edges_and_none_is_below_a_step(window: float) -> None:
    edges = edges_of(window)
    assert (np.diff(edges) >= 1.0 - 1e-9).all()
    middle = (edges[1:] + edges[:-1]) / 2
    np.testing.assert_array_equal(bins_of(middle, np.full(BINS, window)), np.arange(BINS))
    assert edges[-1] >= window - 1e-6


@given(
    begins=st.floats(0, 1e6),
    period=st.sampled_from([600.0, 3600.0, DAY]),
    time=st.floats(0, 3e6),
    span=st.floats(1.0, 2e5),
)
def test_beginnings_ahead_are_the_next_ones_in_order(begins: float, period: float, time: float, span: float) -> None:
    schedule = Schedule()
    schedule.tell(1, np.array([0]), np.array([begins]), np.array([period]), np.array([False]))
    schedule.advance(time)
    assert time - period - 1e-6 <= schedule.since[0] <= time
    _, ahead = schedule.ahead(time, time + span, 10**6)
    assert (ahead > time).all() and (ahead <= time + span).all()
    assert len(ahead) in {int(span // period), int(span // period) + 1}
    if len(ahead):
        assert abs(ahead[0] - schedule.since[0] - period) < 1e-3


def test_the_order_of_rows_makes_no_difference() -> None:
    one, other = Calendar(300.0), Calendar(300.0)
    one.align(("h0", "h1"), (), ())
    other.align(("h1", "h0"), (), ())
    swap = np.concatenate([np.arange(H, 2 * H), np.arange(H)])
    rng = np.random.default_rng(4)
    known = (timer("h0", MIDNIGHT + 1800, period=7200.0), timer("h1", MIDNIGHT + 900, period=7200.0, name="x"))
    one.know(known)
    other.know(known)
    some = 0
    for step in range(1, 150):
        truth = 2 + rng.normal(0, 0.05, 2 * H)
        truth[0] += 1.5 * (1800 < step * 300 % 7200 <= 3600)
        expected = np.full(2 * H, 2.0)
        one.observe(MIDNIGHT + step * 300, truth, expected)
        other.observe(MIDNIGHT + step * 300, truth[swap], expected)
        first, second = (each.uplift(MIDNIGHT + step * 300, STEPS) for each in (one, other))
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            some += 1
            for row in range(2 * H):
                mine = of(first, row, len(STEPS))
                its = of(second, int(np.flatnonzero(swap == row)[0]), len(STEPS))
                np.testing.assert_allclose(mine, its, atol=1e-5)
    assert some > 50
