"""How much shards err together is learned from what they did."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sidestep.forecasting.peak import CommonFactor

HOST = np.repeat(np.arange(20), 8)


def errors(rho: float, steps: int, seed: int = 1, host: NDArray[np.int64] = HOST) -> NDArray[np.float64]:
    """(steps, N) errors of shards of very different sizes, with that correlation on each host."""
    random = np.random.default_rng(seed)
    size = random.lognormal(0, 1.5, len(host))
    common = random.normal(size=(steps, host.max() + 1))[:, host]
    own = random.normal(size=(steps, len(host)))
    return size * (np.sqrt(rho) * common + np.sqrt(1 - rho) * own)


def learned(rho: float, steps: int, prior: float = 0.3, seed: int = 1) -> float:
    factor = CommonFactor(len(HOST), prior)
    for row in errors(rho, steps, seed):
        factor.settle(row, HOST)
    return factor.rho


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.3, 0.6, 0.9])
def test_the_correlation_of_simulated_shards_is_found(rho: float) -> None:
    assert learned(rho, 300) == pytest.approx(rho, abs=0.06)


def test_with_little_evidence_the_policys_value_stands() -> None:
    assert CommonFactor(len(HOST), 0.42).rho == 0.42
    assert learned(0.0, 12, prior=0.42) > 0.2
    assert learned(0.0, 300, prior=0.42) < 0.06


@given(st.lists(st.floats(-1e9, 1e9), min_size=6, max_size=6), st.floats(-1, 2))
@settings(max_examples=40, deadline=None)
def test_it_is_never_outside_its_bounds(values: list[float], prior: float) -> None:
    factor = CommonFactor(6, prior)
    random = np.random.default_rng(2)
    for _ in range(20):
        factor.settle(random.permutation(values), np.array([0, 0, 0, 1, 1, -1]))
    assert 0.0 <= factor.rho <= 0.95


def test_opposite_errors_are_no_negative_correlation() -> None:
    factor = CommonFactor(2, 0.3)
    for value in np.random.default_rng(1).normal(size=400):
        factor.settle(np.array([value, -value]), np.array([0, 0]))
    assert factor.rho == 0.0


def test_a_shard_alone_on_its_host_says_nothing() -> None:
    factor = CommonFactor(3, 0.3)
    for row in np.random.default_rng(1).normal(size=(200, 3)):
        factor.settle(row, np.array([0, 1, -1]))
    assert factor.rho == 0.3


def test_what_is_missing_is_left_out() -> None:
    factor, random = CommonFactor(len(HOST), 0.3), np.random.default_rng(5)
    for row in errors(0.5, 500):
        factor.settle(np.where(random.random(len(row)) < 0.4, np.nan, row), HOST)
    assert factor.rho == pytest.approx(0.5, abs=0.08)


def test_cpu_is_not_compared_with_memory() -> None:
    both = np.stack([errors(0.8, 300, seed=1), 1e9 * errors(0.0, 300, seed=2)], axis=-1)
    factor = CommonFactor(len(HOST), 0.3, kinds=2)
    for row in both:
        factor.settle(row, HOST)
    assert factor.rho == pytest.approx(0.4, abs=0.06)


def test_shards_come_go_and_change_places() -> None:
    factor = CommonFactor(len(HOST), 0.3)
    rows = np.random.default_rng(3).permutation(len(HOST))
    both = errors(0.6, 300)
    for row in both[:150]:
        factor.settle(row, HOST)
    before = factor.rho
    factor.select(np.append(rows, -1))
    assert factor.rho == before
    for row in both[150:]:
        factor.settle(np.append(row[rows], 1e6), np.append(HOST[rows], 3))
    assert factor.rho == pytest.approx(0.6, abs=0.12)


def test_errors_of_another_fleet_are_refused() -> None:
    with pytest.raises(ValueError, match="errors of shape"):
        CommonFactor(3, 0.3).settle(np.zeros(4), np.zeros(4, np.int64))
