"""The chance that the model alone gives: a probability, monotone in everything that it depends on."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sidestep.fleet.forecast import LEVELS
from sidestep.forecasting.peak import raw_chance
from sidestep.forecasting.peak.raw import above

F64 = NDArray[np.float64]
NORMAL = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
WINDOWS = (3, 6, 12)
STEPS = 12


def forecast(seed: int) -> tuple[F64, F64]:
    """Peaks (1, W, Q) and curves (1, T, Q) of some wandering demand; peaks never cross but may contradict curves."""
    random = np.random.default_rng(seed)
    centre = np.cumsum(random.normal(0, 1, (1, STEPS)), axis=1)
    curves = centre[..., None] + random.uniform(0.1, 2) * NORMAL
    peaks = np.sort(random.normal(centre.max(), 2, (1, len(WINDOWS), len(LEVELS))), axis=-1)
    return peaks, curves


def chance(seed: int, limit: float, window: int = 12, duration: int = 1, peaks: bool = True) -> float:
    top, curves = forecast(seed)
    if not peaks:
        top = top[:, :0]
    return float(raw_chance(top, WINDOWS if peaks else (), curves, LEVELS, np.array([limit]), window, duration)[0])


SEEDS, LIMITS, PEAKS = st.integers(0, 10_000), st.floats(-20, 20), st.booleans()


@given(SEEDS, LIMITS, LIMITS, st.integers(1, 12), st.integers(1, 12), PEAKS)
@settings(deadline=None, max_examples=60)
def test_a_higher_limit_is_never_more_likely_to_be_passed(
    seed: int, a: float, b: float, window: int, duration: int, peaks: bool
) -> None:
    """S5.6"""
    low, high = sorted((a, b))
    assert 0 <= chance(seed, high, window, duration, peaks) <= chance(seed, low, window, duration, peaks) + 1e-12 <= 2


@given(SEEDS, LIMITS, st.integers(1, 12), st.integers(1, 12), PEAKS)
@settings(deadline=None, max_examples=60)
def test_what_must_last_longer_is_never_more_likely(
    seed: int, limit: float, window: int, duration: int, peaks: bool
) -> None:
    """S5.6: for at least the minimum duration."""
    longer, shorter = (chance(seed, limit, window, steps, peaks) for steps in (duration + 1, duration))
    assert longer <= shorter + 1e-12


@given(SEEDS, LIMITS, st.integers(1, 14), st.integers(1, 4), PEAKS)
@settings(deadline=None, max_examples=60)
def test_more_can_happen_in_a_longer_window(seed: int, limit: float, window: int, duration: int, peaks: bool) -> None:
    # Shorter than the duration a window is judged over all of it: another question.
    window = max(window, duration)
    first, second = (chance(seed, limit, length, duration, peaks) for length in (window, window + 1))
    assert first <= second + 1e-12


@given(SEEDS, LIMITS, st.floats(0.01, 1000), st.floats(-1000, 1000))
@settings(deadline=None, max_examples=60)
def test_the_unit_of_demand_does_not_matter(seed: int, limit: float, scale: float, shift: float) -> None:
    peaks, curves = forecast(seed)
    moved = raw_chance(
        peaks * scale + shift, WINDOWS, curves * scale + shift, LEVELS, np.array([limit * scale + shift]), 12, 2
    )
    assert moved[0] == pytest.approx(chance(seed, limit, 12, 2), abs=1e-5)


@given(st.floats(-2.2, 2.2))
def test_a_normal_maximum_is_read_as_such(z: float) -> None:
    assert above(NORMAL[None], LEVELS, np.array([z]))[0] == pytest.approx(1 - NormalDist().cdf(z), abs=0.03)


def test_beyond_the_outermost_quantiles_nothing_is_certain_too_early() -> None:
    limits = NORMAL[-1] + np.array([0.0, 0.2, 0.5, 1.0, 2.0])
    upper = above(np.tile(NORMAL, (5, 1)), LEVELS, limits)
    lower = above(np.tile(NORMAL, (5, 1)), LEVELS, NORMAL[0] - np.array([0.0, 0.2, 0.5, 1.0, 2.0]))
    assert upper[0] == pytest.approx(1 - LEVELS[-1]) and lower[0] == pytest.approx(1 - LEVELS[0])
    assert (np.diff(upper) < 0).all() and upper[-1] > 0
    assert (np.diff(lower) > 0).all() and lower[-1] < 1


def test_a_certain_demand_is_nearly_certain() -> None:
    flat = np.full((2, 4, len(LEVELS)), 5.0)
    found = raw_chance(np.zeros((2, 0, len(LEVELS))), (), flat, LEVELS, np.array([4.0, 6.0]), 4, 2)
    np.testing.assert_allclose(found, [1.0, 0.0], atol=1e-6)


def test_the_maximum_says_more_than_any_single_step() -> None:
    """S5.6: twelve independent chances of 5 % are more than one of 5 %."""
    curves = np.tile(NORMAL, (1, 12, 1))
    random = np.random.default_rng(1)
    peaks = np.quantile(random.normal(size=(20_000, 12)).max(axis=1), LEVELS)[None, None]
    limit = np.array([NORMAL[LEVELS.index(0.95)]])
    alone = raw_chance(peaks[:, :0], (), curves, LEVELS, limit, 12, 1)[0]
    both = raw_chance(peaks, (12,), curves, LEVELS, limit, 12, 1)[0]
    assert alone == pytest.approx(0.05, abs=0.001)
    assert both == pytest.approx(1 - 0.95**12, abs=0.02)
    assert alone < raw_chance(peaks, (12,), curves, LEVELS, limit, 12, 4)[0] < both


def test_unknown_demand_has_no_chance_and_an_unknown_limit_is_never_passed() -> None:
    peaks, curves = forecast(3)
    three = np.repeat(curves, 4, axis=0)
    tops = np.repeat(peaks, 4, axis=0)
    three[0, 2, 4] = np.nan
    tops[1] = np.nan
    limit = np.array([0.0, 0.0, math.nan, math.inf])
    found = raw_chance(tops, WINDOWS, three, LEVELS, limit, 12, 1)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(chance(3, 0.0, peaks=False))
    assert found[2:].tolist() == [0, 0]


def test_infinite_demand_is_no_arithmetic_error() -> None:
    with np.errstate(invalid="raise", over="raise"):
        found = above(np.full((1, len(LEVELS)), np.inf), LEVELS, np.array([1e12]))
    assert found[0] > 0.99


def test_each_series_is_judged_alone() -> None:
    parts = [forecast(seed) for seed in range(6)]
    peaks, curves = (np.concatenate(each) for each in zip(*parts, strict=True))
    limit = np.linspace(-3, 3, 6)
    together = raw_chance(peaks, WINDOWS, curves, LEVELS, limit, 9, 3)
    np.testing.assert_allclose(together, [chance(seed, limit[seed], 9, 3) for seed in range(6)])
