"""Demand from requests: what one costs is learned, and a forecast of requests becomes one of demand."""

from __future__ import annotations

import numpy as np
import pytest

from sidestep.forecasting.requests import ENOUGH, RequestCosts
from sidestep.forecasting.trend_core import TrendCore

LEVELS = (0.05, 0.1, 0.5, 0.9, 0.95)


def taught(steps: int, rates: np.ndarray, *, seed: int = 1, noise: float = 0.02) -> RequestCosts:
    """Shards of 0.05 cores and 2 ms a request, 100 MB and no byte a request, 1 kB a request."""
    chance = np.random.default_rng(seed)
    made = RequestCosts(rates.shape[1])
    for rate in rates[:steps]:
        made.observe(rate, use_of(rate, chance, noise))
    return made


def use_of(rate: np.ndarray, chance: np.random.Generator, noise: float) -> np.ndarray:
    cpu = 0.05 + 0.002 * rate + chance.normal(0, noise, len(rate))
    return np.column_stack([cpu, 1e8 + chance.normal(0, 1e5, len(rate)), 1000 * rate])


def test_base_and_cost_of_a_request_are_learned_of_every_resource() -> None:
    """S1.7: cost per invocation."""
    rates = np.random.default_rng(0).uniform(20, 200, (300, 4))
    base, cost = taught(300, rates).costs()
    np.testing.assert_allclose(cost[:, 0], 0.002, rtol=0.1)
    np.testing.assert_allclose(base[:, 0], 0.05, atol=0.02)
    np.testing.assert_allclose(base[:, 1], 1e8, rtol=0.02)
    np.testing.assert_allclose(cost[:, 2], 1000, rtol=0.02)


def test_a_rate_that_never_changed_is_taken_to_cause_the_work_but_not_the_memory() -> None:
    base, cost = taught(100, np.full((100, 1), 50.0)).costs()
    assert cost[0, 0] == pytest.approx(0.15 / 50, rel=0.1)
    assert cost[0, 1] * 50 < 0.05 * base[0, 1]


def test_demand_follows_requests_that_its_own_past_could_not_tell() -> None:
    """S1.5: request rates as exogenous features; a sale that is known ahead is foreseen."""
    chance = np.random.default_rng(3)
    rates = np.abs(chance.normal(60, 15, (240, 6)))
    costs, alone = RequestCosts(6), TrendCore(6, 30, 0.0, 0.0, 0)
    for rate in rates:
        use = use_of(rate, chance, 0.02)
        costs.observe(rate, use)
        alone.observe(use[:, 0])
    ahead = np.full((6, 30, len(LEVELS)), 300.0) * (1 + 0.05 * np.array([-1.6, -1.3, 0, 1.3, 1.6]))
    driven = costs.demand(ahead, LEVELS)[:, :, 0]
    truth = 0.05 + 0.002 * 300
    by_past = alone.forecast(np.arange(1, 31), LEVELS)
    assert np.all((driven[..., 0] < truth) & (truth < driven[..., -1]))
    assert np.all(by_past[..., -1] < truth)


def test_the_band_of_demand_holds_what_it_says() -> None:
    chance = np.random.default_rng(5)
    rates = chance.uniform(20, 200, (400, 20))
    costs = taught(400, rates, seed=6)
    centre = chance.uniform(50, 150, (20, 30))
    z = np.array([-1.645, -1.2816, 0.0, 1.2816, 1.645])
    said = costs.demand(centre[..., None] + 10 * z, LEVELS)[:, :, 0]
    came = 0.05 + 0.002 * chance.normal(centre, 10) + chance.normal(0, 0.02, centre.shape)
    inside = (came >= said[..., 1]) & (came <= said[..., 3])
    assert 0.74 <= inside.mean() <= 0.87


def test_quantiles_do_not_cross_and_are_never_below_nothing() -> None:
    costs = taught(60, np.random.default_rng(1).uniform(0, 5, (60, 3)), noise=0.2)
    said = costs.demand(np.zeros((3, 2, len(LEVELS))), LEVELS)
    assert (said >= 0).all()
    assert (np.diff(said, axis=-1) >= 0).all()


def test_too_little_and_unknown_values_say_nothing() -> None:
    costs = RequestCosts(2)
    for _ in range(ENOUGH * 2):
        costs.observe(np.array([10.0, np.nan]), np.array([[0.1, 1e8, np.nan], [0.1, 1e8, 5.0]]))
    said = costs.demand(np.full((2, 1, len(LEVELS)), 10.0), LEVELS)
    assert np.isfinite(said[0, 0, :2]).all()
    assert np.isnan(said[0, 0, 2]).all()
    assert np.isnan(said[1]).all()


def test_shards_come_go_and_change_places() -> None:
    rates = np.random.default_rng(0).uniform(20, 200, (50, 3))
    costs = taught(50, rates)
    before = costs.costs()[1]
    costs.select(np.array([2, -1, 0]))
    after = costs.costs()[1]
    np.testing.assert_array_equal(after[[0, 2]], before[[2, 0]])
    assert np.isnan(after[1]).all()
    costs.observe(rates[0], use_of(rates[0], np.random.default_rng(0), 0.0))
