"""How large pools are to be: the newsvendor's quantile, leads, and what keeps a pool from flapping."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.planning.pool.lead import Durations, highest_within, steps_within
from sidestep.planning.pool.reactive import Reactive
from sidestep.planning.pool.sizing import around, excess, level_of, newsvendor, value_at
from sidestep.planning.pool.steady import Stabiliser, Surprise, bound, step, within

quick = settings(deadline=None, max_examples=50)
LEVELS = (0.05, 0.2, 0.5, 0.8, 0.95)
wanted = st.lists(st.integers(0, 50), min_size=2, max_size=40)


def normal(mean: float, sd: float) -> np.ndarray:
    return np.array([[max(0.0, NormalDist(mean, sd).inv_cdf(level)) for level in LEVELS]])


def tried(ratio: float, mean: float, sd: float) -> int:
    """The cheapest number, found by trying all against drawn demand."""
    demand = np.maximum(np.random.default_rng(1).normal(mean, sd, 20000), 0)
    held = np.arange(120)[:, None]
    costs = np.maximum(held - demand, 0).mean(axis=1) + ratio * np.maximum(demand - held, 0).mean(axis=1)
    return int(np.argmin(costs))


@pytest.mark.parametrize("ratio", [1.0, 9.0, 99.0])
def test_the_newsvendor_finds_the_cheapest_number_by_trying_all(ratio: float) -> None:
    """S4.23"""
    found = newsvendor(LEVELS, normal(40, 8), np.array([ratio]), np.array([1.0]))
    assert abs(int(found[0]) - tried(ratio, 40, 8)) <= 1


@quick
@given(st.floats(1, 500), st.floats(0.1, 50), st.floats(0.5, 1000), st.floats(1.01, 10))
def test_what_is_worse_when_it_lacks_is_held_more_of(mean: float, sd: float, ratio: float, factor: float) -> None:
    """S4.23"""
    two = np.array([ratio, ratio * factor])
    low, high = newsvendor(LEVELS, np.repeat(normal(mean, sd), 2, axis=0), two, np.ones(2))
    assert high >= low


def test_beyond_the_last_quantile_a_normal_tail_goes_on() -> None:
    found = value_at(LEVELS, normal(100, 10), np.array([[0.5, 0.999]]))
    assert found[0] == pytest.approx([100, NormalDist(100, 10).inv_cdf(0.999)], rel=1e-6)


def test_at_the_best_size_one_more_and_one_fewer_cost_more_and_elsewhere_one_of_them_pays() -> None:
    """S4.23: the console shows the cost of +/-1 instance"""
    mean, sd, ratio = np.array([40.0]), np.array([8.0]), np.array([20.0])
    best = np.array([tried(20.0, 40, 8)])
    fewer, more = around(mean, sd, best, ratio)
    assert fewer[0] > -0.1 and more[0] > -0.1
    assert around(mean, sd, best - 10, ratio)[1][0] < -1
    assert np.isnan(around(mean, sd, np.zeros(1, dtype=np.int64), ratio)[0][0])
    assert level_of(np.array([1.0]))[0] == 0.5


def test_apps_that_share_ready_instances_need_fewer_than_each_alone() -> None:
    """S4.2: READY instances are unassigned"""
    quantiles, places = np.repeat(normal(40, 8), 10, axis=0), np.ones(10)
    active = np.full(10, 40)
    mean, variance = excess(LEVELS, quantiles, active, places)
    alone = (newsvendor(LEVELS, quantiles, np.full(10, 100.0), places) - active).sum()
    shared = mean.sum() + NormalDist().inv_cdf(100 / 101) * np.sqrt(variance.sum())
    assert 0 < shared < 0.6 * alone


@quick
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=1, max_size=8), st.integers(0, 60))
def test_apps_of_a_pool_never_get_more_than_it_has_and_their_least_first(
    wishes: list[tuple[int, int]], most: int
) -> None:
    """S4.3, S4.16"""
    wanted, least = (np.array(each, dtype=np.int64) for each in zip(*wishes, strict=True))
    found = within(wanted, least, np.zeros(len(wanted), dtype=np.int64), np.array([most]))
    assert found.sum() <= most and (found <= wanted).all() and (found >= 0).all()
    if np.minimum(least, wanted).sum() <= most:
        assert (found >= np.minimum(least, wanted)).all()


def test_a_need_that_is_wider_than_said_is_learned() -> None:
    surprise, random = Surprise(2), np.random.default_rng(3)
    for _ in range(600):
        surprise.expect(np.full(2, 10.0), np.full(2, 2.0))
        surprise.learn(10 + random.normal(0, [2.0, 6.0]))
    assert surprise.factor == pytest.approx([1.0, 3.0], rel=0.2)


@quick
@given(wanted, st.integers(1, 8))
def test_a_pool_shrinks_only_to_the_most_wanted_within_its_window(values: list[int], window: int) -> None:
    """S4.19"""
    keeper = Stabiliser(np.array([float(window)]), 1.0)
    for at, value in enumerate(values):
        held = int(keeper.hold(float(at), np.array([value]))[0])
        assert held == max(values[max(0, at - window + 1) : at + 1])


@quick
@given(
    st.integers(0, 100),
    st.integers(0, 100),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 20),
    st.integers(0, 30),
)
def test_steps_and_bounds_hold_for_every_wish(now: int, wish: int, up: int, down: int, least: int, most: int) -> None:
    """S4.3, S4.19"""
    found = step(*(np.array([each]) for each in (now, wish, up, down)))[0]
    assert (not up or found <= now + up) and (not down or found >= now - down)
    assert min(now, wish) <= found <= max(now, wish)
    bounded = bound(np.array([found]), np.array([least]), np.array([most]))[0]
    assert bounded <= most and (bounded >= least or least > most)


@quick
@given(
    st.lists(st.tuples(st.floats(0, 400), st.integers(0, 20)), min_size=1, max_size=30),
    st.integers(0, 6),
    st.booleans(),
)
def test_the_correction_by_measurement_stays_within_its_own_bounds(
    looks: list[tuple[float, int]], most: int, below: bool
) -> None:
    """S4.20"""
    one = np.ones(1)
    reactive = Reactive(0.85 * one, 0.4 * one, np.array([most]), np.array([below]))
    for load, forecast in looks:
        added = int(reactive.correct(np.array([load]), np.array([forecast]), 8 * one, np.array([forecast]))[0])
        assert (-most if below else 0) <= added <= most


def test_overload_adds_what_is_lacking_at_once_and_quiet_takes_it_back_slowly() -> None:
    """S4.12, S4.20"""
    one = np.ones(1)
    reactive = Reactive(0.8 * one, 0.4 * one, np.array([5]), np.array([False]), patience=2)

    def look(load: float, serving: int) -> int:
        return int(reactive.correct(np.array([load]), np.array([serving]), 10 * one, np.array([3]))[0])

    assert look(35, 3) == 2  # 35 / 8 places below overload: 5 instances
    assert [look(10, 5) for _ in range(4)] == [2, 1, 1, 0]
    assert look(float("nan"), 3) == 0


def test_the_lead_is_the_measured_p95_and_before_that_what_is_assumed() -> None:
    """S4.6, S4.15"""
    known = Durations(2, np.array([0.5, 0.5]))
    assert known.p95().tolist() == [0.5, 0.5]
    for seconds in np.linspace(0.01, 0.2, 20):
        known.add(1, float(seconds))
    assert known.p95() == pytest.approx([0.5, 0.19])
    assert steps_within(np.array([0.5, 61.0, 65.0]), 30.0, 10).tolist() == [1, 2, 3]
    quantiles = np.array([[[1.0], [5.0], [9.0]]] * 2)
    assert highest_within(quantiles, np.array([1, 2]))[:, 0].tolist() == [1.0, 5.0]
