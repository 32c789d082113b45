"""What shards need together: quantiles of sums, checked against sums that were really drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.sums import moments, summed

parts = npst.arrays(np.float64, (4, 3, len(LEVELS)), elements=st.floats(0, 1e6)).map(lambda a: np.sort(a, axis=-1))


@settings(deadline=None)
@given(parts, st.floats(0, 1))
def test_a_sum_never_crosses_and_never_exceeds_the_sum_of_quantiles(quantiles: np.ndarray, rho: float) -> None:
    """S1.7: the profile of an app holds quantiles in order."""
    found = summed(quantiles, LEVELS, rho)
    slack = 1e-9 * (1 + quantiles.max())
    assert (np.diff(found, axis=-1) >= -slack).all()
    assert (found >= -slack).all()
    assert (found[..., -1] <= quantiles.sum(axis=0)[..., -1] + slack).all()


@settings(deadline=None)
@given(parts)
def test_one_part_alone_and_parts_that_move_as_one_keep_their_quantiles(quantiles: np.ndarray) -> None:
    assert np.allclose(summed(quantiles[:1], LEVELS, 0.3), quantiles[0])
    assert np.allclose(summed(quantiles, LEVELS, 1.0), quantiles.sum(axis=0))


@settings(deadline=None)
@given(parts, st.permutations(range(4)), st.floats(0, 1))
def test_the_order_of_the_parts_does_not_matter(quantiles: np.ndarray, order: list[int], rho: float) -> None:
    assert np.allclose(summed(quantiles[order], LEVELS, rho), summed(quantiles, LEVELS, rho))


def test_the_sum_of_many_bursty_shards_is_near_what_is_drawn() -> None:
    """Independent exponential loads: medians add up to far less than the median of the sum."""
    random = np.random.default_rng(5)
    drawn = random.exponential(1.0, (40_000, 50))
    single = np.quantile(drawn[:, 0], LEVELS)
    true = np.quantile(drawn.sum(axis=1), LEVELS)
    found = summed(np.repeat(single[None, None], 50, axis=0), LEVELS, 0.0)[0]
    assert single[LEVELS.index(0.5)] * 50 < 0.75 * true[LEVELS.index(0.5)]
    assert found[LEVELS.index(0.5)] == pytest.approx(true[LEVELS.index(0.5)], rel=0.06)
    assert found[LEVELS.index(0.95)] == pytest.approx(true[LEVELS.index(0.95)], rel=0.06)
    assert 50 * single[LEVELS.index(0.95)] > 2 * true[LEVELS.index(0.95)]


def test_unknown_parts_are_left_out_and_nothing_known_is_unknown() -> None:
    quantiles = np.ones((2, 1, len(LEVELS)))
    quantiles[1] = np.nan
    assert np.allclose(summed(quantiles, LEVELS, 0.3), 1.0)
    assert np.isnan(summed(quantiles[1:], LEVELS, 0.3)).all()


def test_moments_of_a_normal_distribution_are_near_its_own() -> None:
    drawn = np.random.default_rng(1).normal(10.0, 2.0, 100_000)
    mean, deviation = moments(np.quantile(drawn, LEVELS), LEVELS)
    assert mean == pytest.approx(10.0, abs=0.1)
    assert deviation == pytest.approx(2.0, rel=0.15)
