"""Chances that answer for what they said: calibrated by what came, and proven or not on each series."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sidestep.forecasting.peak import ChanceBook
from sidestep.forecasting.peak.record import Record

F64 = NDArray[np.float64]
WINDOW = 12
LIMIT = 1.0


class Bursts:
    """Series that pass their limit for a few steps now and then; a forerunner tells some of it ``WINDOW`` ahead."""

    def __init__(self, rows: int, steps: int, every: float = 120.0, seed: int = 1) -> None:
        random = np.random.default_rng(seed)
        self.truth = random.normal(0.3, 0.1, (steps, rows))
        for row in range(rows):
            at = random.exponential(every)
            while at < steps:
                self.truth[int(at) : int(at) + 4, row] = 2.0
                at += 8 + random.exponential(every)
        over = self.truth > LIMIT
        self.coming = np.zeros_like(over)
        for ahead in range(1, WINDOW + 1):
            self.coming[:-ahead] |= over[ahead:]
        self.quiet = ~over
        self.random = random

    def raw(self, high: float, low: float) -> F64:
        """(T, S) what a model says that sees what is coming, in chances of its own making."""
        return np.where(self.coming, high, low)


def lived(book: ChanceBook, world: Bursts, raw: F64) -> tuple[F64, NDArray[np.bool_]]:
    """(T, S) chances and whether they were proven, through a whole world."""
    limit = np.full(world.truth.shape[1], LIMIT)
    said = []
    for truth, chance in zip(world.truth, raw, strict=True):
        book.settle(truth, limit)
        said.append(book.say(chance))
    return np.stack([each[0] for each in said]), np.stack([each[1] for each in said])


def skill(said: F64, world: Bursts, begin: int) -> float:
    """Brier skill against the rate of the very time that is scored, over calm instants."""
    where = world.quiet.copy()
    where[:begin] = False
    where[-WINDOW:] = False
    came = world.coming[where]
    return float(1 - np.square(said[where] - came).mean() / max(came.mean() * (1 - came.mean()), 1e-9))


def test_a_model_that_sees_what_comes_is_believed_and_proven() -> None:
    """S5.6"""
    world = Bursts(8, 2500)
    said, proven = lived(ChanceBook(8, WINDOW, 1), world, world.raw(0.95, 0.02))
    assert skill(said, world, 1000) > 0.7
    assert not proven[: 10 * WINDOW].any()
    assert proven[-1].mean() > 0.8


def test_chances_that_are_wrong_by_a_factor_are_made_right() -> None:
    """S5.6: it ranks, but 60 % of what it calls 5 % comes: the chances are recalibrated."""
    world = Bursts(30, 3000)
    raw = world.raw(0.05, 0.001)
    said, proven = lived(ChanceBook(30, WINDOW, 1), world, raw)
    assert skill(raw, world, 1500) < 0.2
    assert skill(said, world, 1500) > 0.5
    assert proven[-1].mean() > 0.7


@pytest.mark.parametrize("chance", [0.02, 0.5, 0.98])
def test_a_model_that_knows_nothing_costs_no_more_than_the_climatology(chance: float) -> None:
    """S5.6: never much worse than climatology, and never called proven for it."""
    world = Bursts(20, 3000)
    raw = np.clip(chance + world.random.normal(0, 0.01, world.truth.shape), 0, 1)
    said, proven = lived(ChanceBook(20, WINDOW, 1), world, raw)
    assert skill(said, world, 1500) > -0.05
    assert proven[-1].mean() < 0.35


def test_alarms_at_random_are_soon_not_believed() -> None:
    world = Bursts(20, 3000)
    raw = np.where(world.random.random(world.truth.shape) < 0.2, 0.95, 0.01)
    said, proven = lived(ChanceBook(20, WINDOW, 1), world, raw)
    assert skill(raw, world, 1500) < -0.5
    assert skill(said, world, 1500) > -0.05
    assert proven[-1].mean() < 0.35


def test_before_anything_was_seen_the_models_own_chance_is_nearly_all() -> None:
    book = ChanceBook(2, 60, 5)
    limit = np.full(2, LIMIT)
    for _ in range(30):
        book.settle(np.array([0.5, 0.5]), limit)
        chance, proven = book.say(np.array([0.95, 0.05]))
    assert chance[0] > 0.75 and chance[1] < 0.2
    assert not proven.any()


def test_a_series_without_events_is_never_proven() -> None:
    """S5.6: there was nothing to foresee, so nothing is proven by never having said it."""
    world = Bursts(4, 2000)
    world.truth[:, 0] = 0.3
    said, proven = lived(ChanceBook(4, WINDOW, 1), world, np.full(world.truth.shape, 0.001))
    assert not proven[:, 0].any()
    assert said[-1, 0] < 0.05


def test_what_does_not_last_for_the_duration_is_no_event() -> None:
    """S5.6: for at least the minimum duration."""
    world = Bursts(6, 1500)
    short, long = (ChanceBook(6, WINDOW, duration) for duration in (4, 5))
    lived(short, world, world.raw(0.9, 0.05))
    lived(long, world, world.raw(0.9, 0.05))
    assert short.record.events.min() > 2
    assert long.record.events.max() == 0


def test_only_what_was_said_of_a_calm_series_counts() -> None:
    """That what is over stays over is no foresight."""
    world = Bursts(3, 1500)
    world.truth[:] = 5.0
    book = ChanceBook(3, WINDOW, 1)
    said, proven = lived(book, world, np.full(world.truth.shape, 0.99))
    assert book.record.windows.max() == 0 and not proven.any()
    assert said[-1].min() > 0.9


def test_a_proof_is_lost_when_the_skill_is_and_not_at_the_first_miss() -> None:
    """S5.6: with hysteresis."""
    record = Record(1, 1.0)
    yes = np.ones(1, np.bool_)
    flips = 0
    for at in range(60):
        came = np.array([at % 4 == 0])
        record.learn(np.where(came, 0.9, 0.05), np.array([0.25]), came, yes)
    assert record.proven[0]
    record.learn(np.array([0.9]), np.array([0.25]), ~yes, yes)
    assert record.proven[0]
    before = True
    for at in range(400):
        came = np.array([at % 4 == 0])
        record.learn(np.where(came, 0.02, 0.6), np.array([0.25]), came, yes)
        flips += bool(record.proven[0]) != before
        before = bool(record.proven[0])
    assert not record.proven[0] and flips == 1
    assert record.skill()[0] < 0


def test_few_windows_or_few_events_are_no_proof() -> None:
    for events, windows in ((2, 100), (5, 15)):
        record = Record(1, 1.0)
        for at in range(windows):
            came = np.array([at < events])
            record.learn(np.where(came, 1.0, 0.0), np.array([0.2]), came, np.ones(1, np.bool_))
        assert record.skill()[0] > 0.9 and not record.proven[0]


def test_missing_values_and_limits_are_no_events_and_no_calm() -> None:
    world = Bursts(5, 1200)
    holes = world.random.random(world.truth.shape) < 0.3
    world.truth[holes] = np.nan
    world.truth[:, 4] = np.nan
    book = ChanceBook(5, WINDOW, 1)
    limit = np.array([LIMIT, LIMIT, np.nan, np.inf, LIMIT])
    raw = world.raw(0.9, 0.05)
    raw[::7, 0] = np.nan
    for truth, chance in zip(world.truth, raw, strict=True):
        book.settle(truth, limit)
        said, proven = book.say(chance)
    assert ((said >= 0) & (said <= 1)).all()
    assert said[2:4].tolist() == [0, 0]
    assert book.record.windows[2:].max() == 0 and not proven[2:].any()
    assert book.record.windows[:2].min() > 30
    assert np.isnan(book.say(np.full(5, np.nan))[0][[0, 1, 4]]).all()


@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 40), st.sampled_from([0.0, 24.0, 100.0]))
@settings(max_examples=25, deadline=None)
def test_whatever_comes_a_chance_is_a_chance(seed: int, window: int, duration: int, season: float) -> None:
    random = np.random.default_rng(seed)
    book = ChanceBook(3, window, duration, season)
    with np.errstate(invalid="raise", divide="raise", over="raise"):
        for _ in range(80):
            truth = random.choice([0.0, 1.0, 1e-9, 1e12, np.nan, np.inf], 3)
            book.settle(truth, random.choice([0.5, 1e11, np.nan, np.inf], 3))
            said, _ = book.say(random.choice([0.0, 1.0, 0.5, np.nan], 3))
            assert (np.isnan(said) | ((said >= 0) & (said <= 1))).all()


def test_the_unit_of_demand_does_not_matter() -> None:
    world = Bursts(5, 600)
    one, other = ChanceBook(5, WINDOW, 2, 100.0), ChanceBook(5, WINDOW, 2, 100.0)
    raw = world.raw(0.7, 0.1)
    for truth, chance in zip(world.truth, raw, strict=True):
        one.settle(truth, np.full(5, LIMIT))
        other.settle(truth * 4e9, np.full(5, LIMIT * 4e9))
        found, same = one.say(chance)[0], other.say(chance)[0]
    np.testing.assert_allclose(found, same, atol=1e-3)


def rows_of(steps: int) -> Iterator[tuple[F64, F64]]:
    world = Bursts(4, steps)
    yield from zip(world.truth, world.raw(0.8, 0.05), strict=True)


def test_series_keep_what_they_learned_when_others_come_and_go() -> None:
    book, same = ChanceBook(4, WINDOW, 1, 96.0), ChanceBook(4, WINDOW, 1, 96.0)
    order = np.array([2, 0, 3, 1])
    for at, (truth, raw) in enumerate(rows_of(900)):
        if at == 700:
            book.select(order)
        rows = order if at >= 700 else np.arange(4)
        book.settle(truth[rows], np.full(4, LIMIT))
        same.settle(truth, np.full(4, LIMIT))
        said, proven = book.say(raw[rows])
        expected, also = same.say(raw)
        np.testing.assert_allclose(said, expected[rows], rtol=1e-6)
        np.testing.assert_array_equal(proven, also[rows])
    book.select(np.array([0, -1]))
    book.settle(np.array([0.3, 0.3]), np.full(2, LIMIT))
    said, proven = book.say(np.array([0.1, 0.9]))
    assert said[1] > 0.6 and not proven[1]
    assert book.record.windows.tolist()[1] == 0


def test_a_fleet_may_begin_empty() -> None:
    book = ChanceBook(0, WINDOW, 1)
    book.settle(np.zeros(0), np.zeros(0))
    assert book.say(np.zeros(0))[0].shape == (0,)
    book.select(np.array([-1, -1]))
    book.settle(np.zeros(2), np.ones(2))
    assert book.say(np.array([0.2, 0.9]))[0].shape == (2,)


@pytest.mark.parametrize("window", [12, 60, 600])
def test_state_is_bounded_and_small(window: int) -> None:
    """S5.6: at most 5 KB a series, whatever the window."""
    rows = 200
    book = ChanceBook(rows, window, 5, 86400.0)
    random = np.random.default_rng(1)
    for _ in range(window + 40):
        book.settle(random.random(rows), np.full(rows, 0.9))
        book.say(random.random(rows))
    assert len(pickle.dumps(book)) / rows < 5120


def test_the_past_teaches_the_signs_without_chances() -> None:
    world = Bursts(3, 400)
    book = ChanceBook(3, WINDOW, 1, 96.0)
    book.prime(world.truth, np.full(3, LIMIT))
    assert book.signs.seen.tolist() == [400, 400, 400]
    assert book.record.windows.max() == 0


@pytest.mark.parametrize(("window", "duration"), [(0, 1), (5, 0), (-1, -1)])
def test_a_window_must_have_a_length(window: int, duration: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ChanceBook(3, window, duration)


def test_values_of_another_fleet_are_refused() -> None:
    with pytest.raises(ValueError, match="for 3 series"):
        ChanceBook(3, 5, 1).settle(np.zeros(4), np.zeros(4))
