"""Contention from quantiles: how likely, when first, and never from what is unknown."""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet.contention import (
    at_quantile,
    exceedance,
    first_sustained,
    foresee,
    horizon_steps,
    normal_exceedance,
    predict_contention,
    sustained,
)
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.resources import DIMENSIONS
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot

POLICY = Policy(horizon=10, min_duration=3, threshold_cpu=0.8, min_probability=0.5, quantile=0.8)


def normal(mean: np.ndarray, sd: float) -> np.ndarray:
    """(..., T, Q) quantiles of a normal demand."""
    z = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
    return (mean[..., None] + sd * z).astype(np.float32)


def world(cpu: np.ndarray, sd: float = 0.02, capacity: float = 1.0) -> tuple[Snapshot, Forecast]:
    """One host with a cpu curve, and memory far below its limit."""
    allocatable = np.full((1, len(DIMENSIONS)), np.nan)
    allocatable[0, :2] = capacity, 1000.0
    hosts = HostColumns(
        names=(Label("h1"),), states=(HostState.READY,), reasons=(Label(""),), zones=(Label(""),),
        capacity=allocatable.copy(), allocatable=allocatable, use=np.zeros((1, len(DIMENSIONS))),
        pressure=np.zeros((1, 3)), age=np.zeros(1),
    )  # fmt: skip
    nobody = np.zeros(0)
    shards = ShardColumns(
        names=(), apps=(), states=(), host=nobody.astype(np.int32), use=np.zeros((0, len(DIMENSIONS))),
        state_bytes=nobody, priority=nobody.astype(np.int32), token=nobody.astype(np.int64),
        movable=nobody.astype(bool),
    )  # fmt: skip
    quantiles = np.stack([normal(cpu, sd), normal(np.full_like(cpu, 10.0), 1.0)])[None]
    none = np.zeros((0, 2, cpu.size, len(LEVELS)), np.float32)
    forecast = Forecast(
        id="f", snapshot=1, time=1000.0, step=1.0, model=Label("m"), confidence="ok", fallback=Label(""),
        hosts=quantiles, shard_mean=none[..., 0], shard_sd=none[..., 0],
    )  # fmt: skip
    return Snapshot(number=1, time=1000.0, generation=1, hosts=hosts, shards=shards), forecast


@given(st.floats(-3, 3), st.floats(0.01, 5))
def test_the_chance_read_off_quantiles_is_that_of_the_distribution(z: float, sd: float) -> None:
    limit = np.array([10 + z * sd])
    chance = exceedance(normal(np.full((1, 1), 10.0), sd), limit)
    assert chance[0, 0] == pytest.approx(1 - NormalDist().cdf(z), abs=0.06)


@given(st.lists(st.floats(0, 10), min_size=len(LEVELS), max_size=len(LEVELS)), st.floats(0, 10), st.floats(0, 10))
def test_a_higher_limit_is_never_more_likely_to_be_exceeded(values: list[float], a: float, b: float) -> None:
    quantiles = np.sort(np.array(values, np.float32))[None, None]
    low, high = (exceedance(quantiles, np.array([limit]))[0, 0] for limit in sorted((a, b)))
    assert 0 <= high <= low + 1e-12 <= 1 + 1e-12


def test_an_unlimited_capacity_is_never_exceeded() -> None:
    assert exceedance(normal(np.full((1, 4), 1e9), 1.0), np.array([math.inf])).max() == 0


def test_a_limit_that_is_not_known_is_never_exceeded() -> None:
    assert exceedance(normal(np.full((1, 4), 1e9), 1.0), np.array([math.nan])).max() == 0


@pytest.mark.parametrize("unknown", [0, 4, len(LEVELS) - 1])
def test_a_chance_is_not_guessed_from_unknown_quantiles(unknown: int) -> None:
    quantiles = normal(np.full((1, 3), 10.0), 1.0)
    quantiles[0, 1, unknown] = np.nan
    chance = exceedance(quantiles, np.array([9.0]))[0]
    assert np.isnan(chance).tolist() == [False, True, False]


def test_demand_without_bound_is_above_any_limit_and_is_no_arithmetic_error() -> None:
    quantiles = np.full((1, 1, len(LEVELS)), np.inf, np.float32)
    with np.errstate(all="raise"):
        assert exceedance(quantiles, np.array([1e12]))[0, 0] == pytest.approx(1.0)
        assert at_quantile(quantiles, 0.85)[0, 0] == np.inf
        quantiles[..., :5] = 1.0
        assert exceedance(quantiles, np.array([2.0]))[0, 0] == pytest.approx(1 - LEVELS[4])


@given(st.floats(1e-6, 1e15), st.floats(0.05, 0.99))
def test_between_equal_quantiles_lies_nothing_else(value: float, level: float) -> None:
    quantiles = np.full((1, 1, len(LEVELS)), value, np.float32)
    assert at_quantile(quantiles, level)[0, 0] == float(np.float32(value))


def test_an_unknown_step_ends_a_run_and_hides_no_other() -> None:
    chance = np.array([[0.9, 0.9, np.nan, 0.9, 0.8, 0.7], [np.nan] * 6])
    np.testing.assert_array_equal(sustained(chance, 3), [0.7, np.nan])
    np.testing.assert_array_equal(sustained(chance, 4), [0.0, np.nan])
    assert first_sustained(chance, np.array([0.5, 0.5]), 3).tolist() == [3, -1]


def test_a_run_longer_than_the_forecast_is_judged_over_all_of_it() -> None:
    assert sustained(np.array([[0.9, 0.8]]), 100).tolist() == [0.8]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 12))
def test_a_longer_run_is_never_more_likely(chances: list[float], steps: int) -> None:
    chance = np.array([chances])
    assert sustained(chance, steps + 1)[0] <= sustained(chance, steps)[0]


def test_the_horizon_is_counted_in_whole_steps() -> None:
    """2.1 s are 7 steps of 0.3 s, though 2.1 / 0.3 comes out a little above 7."""
    snapshot, forecast = world(np.concatenate([np.full(7, 0.5), np.full(9, 2.0)]))
    forecast = dataclasses.replace(forecast, step=0.3)
    policy = msgspec.structs.replace(POLICY, horizon=2.1, min_duration=0.3)
    assert predict_contention(snapshot, forecast, policy) == ()
    assert horizon_steps(policy, forecast) == 7
    assert foresee(snapshot, forecast, policy).risk.tolist() == [[0.0, 0.0]]
    later = msgspec.structs.replace(policy, horizon=2.4)
    assert len(predict_contention(snapshot, forecast, later)) == 1


def test_a_gap_in_the_forecast_does_not_hide_contention_after_it() -> None:
    cpu = np.array([0.5, np.nan, 0.9, 0.95, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    (found,) = predict_contention(*world(cpu), POLICY)
    assert found.lead == 3
    assert found.peak == pytest.approx(1.0 + 0.02 * 0.84, abs=0.01)


def test_a_certain_demand_is_certain() -> None:
    flat = np.full((1, 1, len(LEVELS)), 5.0, np.float32)
    assert exceedance(flat, np.array([4.0]))[0, 0] == pytest.approx(1.0)
    assert exceedance(flat, np.array([6.0]))[0, 0] == pytest.approx(0.0)


def test_a_known_level_is_given_exactly_and_others_lie_between() -> None:
    quantiles = np.arange(len(LEVELS), dtype=np.float32)[None, None]
    assert at_quantile(quantiles, 0.5)[0, 0] == LEVELS.index(0.5)
    assert LEVELS.index(0.8) < at_quantile(quantiles, 0.85)[0, 0] < LEVELS.index(0.9)


@given(st.floats(0, 10), st.floats(0.1, 3), st.floats(0, 10))
def test_the_normal_chance_agrees_with_the_textbook(mean: float, sd: float, limit: float) -> None:
    chance = normal_exceedance(np.array([[mean]]), np.array([[sd]]), np.array([limit]))
    assert chance[0, 0] == pytest.approx(1 - NormalDist(mean, sd).cdf(limit), abs=1e-9)


def test_a_single_spike_is_no_contention_but_a_stretch_is() -> None:
    """S1.18: consistently, not once."""
    chance = np.array([[0.1, 0.9, 0.1, 0.9, 0.9, 0.9]])
    assert sustained(chance, 1).tolist() == [0.9]
    assert sustained(chance, 3).tolist() == [0.9]
    assert sustained(chance[:, :4], 3).tolist() == [0.1]
    assert first_sustained(chance, np.array([0.5]), 3).tolist() == [3]
    assert first_sustained(chance[:, :4], np.array([0.5]), 3).tolist() == [-1]


def test_a_ramp_is_predicted_with_time_and_probability() -> None:
    """S3.14 S5.6: predicted use over the threshold for the minimum duration."""
    (found,) = predict_contention(*world(np.linspace(0.5, 1.1, 10)), POLICY)
    assert (found.host, found.dimension) == ("h1", "cpu")
    assert found.probability > 0.95
    assert 4 <= found.lead <= 6
    assert found.starts_at == 1000 + found.lead
    assert found.peak == pytest.approx(1.1 + 0.02 * 0.84, abs=0.01)


def test_no_contention_is_predicted_beyond_the_horizon_or_below_the_threshold() -> None:
    late = np.concatenate([np.full(10, 0.5), np.full(10, 2.0)])
    assert predict_contention(*world(late), POLICY) == ()
    assert predict_contention(*world(np.full(10, 0.7)), POLICY) == ()


def test_a_host_of_unknown_capacity_is_never_in_contention() -> None:
    assert predict_contention(*world(np.full(10, 9.9), capacity=math.nan), POLICY) == ()


def test_what_is_not_known_is_no_contention_and_no_calm() -> None:
    snapshot, forecast = world(np.full(10, np.nan))
    risk, contention, _ = foresee(snapshot, forecast, POLICY)
    assert np.isnan(risk[0, 0]) and risk[0, 1] == 0 and contention == ()


@pytest.mark.parametrize("demand", [0.1, 2.0])
def test_of_a_dead_host_nothing_is_said(demand: float) -> None:
    """A forecast from its last samples is no forecast of it: neither 0 % nor certain."""
    snapshot, forecast = world(np.full(10, demand))
    assert foresee(snapshot, forecast, POLICY).risk[0, 0] == pytest.approx(float(demand > 1))
    dead = dataclasses.replace(snapshot, hosts=dataclasses.replace(snapshot.hosts, states=(HostState.DEAD,)))
    risk, contention, _ = foresee(dead, forecast, POLICY)
    assert np.isnan(risk).all() and contention == ()


@given(st.floats(0, 2), st.floats(0.001, 0.5))
def test_risk_and_contention_agree(demand: float, sd: float) -> None:
    """What is predicted is exactly what has a chance of at least the policy's."""
    risk, contention, _ = foresee(*world(np.full(10, demand), sd), POLICY)
    assert [c.probability for c in contention] == [r for r in risk.ravel() if r >= POLICY.min_probability]
