"""What quantiles must be, whatever the data: ordered, calibrated, and each series' own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sidestep.fleet.forecast import LEVELS, MEDIAN
from sidestep.forecasting.estimator import PanelForecaster
from sidestep.forecasting.registry import MODELS, make

ANY = st.floats(allow_nan=True, allow_infinity=True, width=32)
SOME = st.one_of(ANY, st.floats(0, 1e3), st.just(0.0))


def told(model: str, block: np.ndarray, season: float = 0.0, horizon: int = 20) -> PanelForecaster:
    forecaster = make(model, season, horizon)
    forecaster.observe(block)
    return forecaster


def noisy(seed: int, steps: int, series: int = 30, season: float = 0.0) -> np.ndarray:
    """Levels with a season and multiplicative noise, (K, S)."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.05, 2.0, series)
    phase = rng.uniform(0, 2 * np.pi, series)
    swing = 0.15 * np.sin(2 * np.pi * np.arange(steps)[:, None] / season + phase) if season else 0.0
    return level * (1 + swing) * np.exp(0.08 * rng.standard_normal((steps, series)))


@pytest.mark.parametrize("model", sorted(MODELS))
@settings(max_examples=60, deadline=None)
@given(block=hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=SOME))
def test_any_values_give_ordered_quantiles_that_are_never_negative(model: str, block: np.ndarray) -> None:
    found = told(model, block, season=6.0).forecast_array(20)
    seen = np.isfinite(block).any(axis=0)
    assert np.isfinite(found[seen]).all()
    assert np.isnan(found[~seen]).all()
    assert (found[seen] >= 0).all()
    assert (np.diff(found[seen], axis=-1) >= 0).all()


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_order_of_series_does_not_matter(model: str) -> None:
    block = noisy(1, 90, 6)
    block[30:40, 2] = np.nan
    order = np.array([3, 0, 5, 1, 4, 2])
    straight = told(model, block, 12.0).forecast_array(20)
    turned = told(model, block[:, order], 12.0).forecast_array(20)
    np.testing.assert_allclose(turned, straight[order], rtol=1e-9)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_series_do_not_influence_each_other(model: str) -> None:
    block = noisy(2, 90, 6)
    alone = told(model, block[:, :1], 12.0).forecast_array(20)
    together = told(model, block, 12.0).forecast_array(20)
    # products of matrices are rounded by their shape, in single precision
    np.testing.assert_allclose(together[:1], alone, rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "season"),
    [
        ("aggregate", 0.0),
        ("aggregate", 60.0),
        ("trend", 0.0),
        ("trend", 60.0),
        ("persistence", 0.0),
        ("seasonal", 60.0),
    ],
)
@pytest.mark.parametrize("seed", [901, 902])
def test_the_80_percent_band_holds_between_70_and_90_percent(model: str, season: float, seed: int) -> None:
    """S5.6: the bands are calibrated, on seeds that no constant was chosen on."""
    block = noisy(seed, 420, season=season)
    forecaster = make(model, season, 30)
    low, high = LEVELS.index(0.1), LEVELS.index(0.9)
    inside: dict[int, list[float]] = {1: [], 8: [], 30: []}
    for at, row in enumerate(block):
        forecaster.observe(row)
        if at < 80:
            continue
        found = forecaster.forecast_array(30)
        for ahead, hits in inside.items():
            if at + ahead < len(block):
                truth = block[at + ahead]
                band = found[:, ahead - 1]
                hits.append(float(((truth >= band[:, low]) & (truth <= band[:, high])).mean()))
    for ahead, hits in inside.items():
        assert 0.7 <= np.mean(hits) <= 0.9, f"{ahead} steps ahead: {np.mean(hits):.2f}"


def test_the_median_is_the_median() -> None:
    """Half of the truth is below it, and no other quantile has a smaller absolute error."""
    block = noisy(903, 300, 60)
    forecaster = make("trend", 0.0, 10)
    below, error = [], []
    for at, row in enumerate(block[:-5]):
        forecaster.observe(row)
        if at >= 60:
            found = forecaster.forecast_array(np.array([5]))[:, 0]
            truth = block[at + 5]
            below.append((truth < found[:, MEDIAN]).mean())
            error.append(np.abs(truth[:, None] - found).mean(axis=0))
    assert 0.45 < np.mean(below) < 0.55
    assert int(np.mean(error, axis=0).argmin()) == MEDIAN


def test_a_short_history_gives_wide_bands() -> None:
    steady = np.full((40, 3), 0.2) * np.exp(0.05 * np.random.default_rng(5).standard_normal((40, 3)))
    forecaster = make("trend", 0.0, 20)
    widths = []
    for row in steady:
        forecaster.observe(row)
        band = forecaster.forecast_array(20)
        widths.append((band[:, 9, -2] - band[:, 9, 0]).mean())
    assert widths[0] > 2 * widths[-1]
    assert widths[0] > 0.04


def test_bands_widen_with_the_horizon_and_while_values_are_missing() -> None:
    walk = 50 + np.cumsum(np.random.default_rng(6).standard_normal((80, 8)), axis=0)
    forecaster = told("trend", walk)

    def width() -> np.ndarray:
        found = forecaster.forecast_array(20)
        return found[..., -2] - found[..., 0]

    before = width()
    assert (before[:, 19] > before[:, 0]).all()
    forecaster.observe(np.full((15, 8), np.nan))
    assert (width()[:, 0] > before[:, 0]).all()


def test_one_spike_moves_the_forecast_little_and_a_new_level_moves_it() -> None:
    block = noisy(7, 80, 10)
    calm = told("trend", block).forecast_array(20)[:, 10, MEDIAN]
    spiked = block.copy()
    spiked[-1] *= 10
    jumped = block.copy()
    jumped[-12:] *= 3
    after_spike = told("trend", spiked).forecast_array(20)[:, 10, MEDIAN]
    after_jump = told("trend", jumped).forecast_array(20)[:, 10, MEDIAN]
    assert np.median(after_spike / calm) < 1.6
    assert np.median(after_jump / calm) > 2.3


def test_series_can_be_added_removed_and_reordered() -> None:
    block = noisy(8, 60, 4)
    for model in MODELS:
        forecaster = told(model, block, 12.0)
        before = forecaster.forecast_array(20)
        forecaster.select(np.array([2, -1, 0]))
        after = forecaster.forecast_array(20)
        np.testing.assert_allclose(after[[0, 2]], before[[2, 0]], rtol=1e-9)
        assert np.isnan(after[1]).all()
        forecaster.observe(np.array([0.1, 0.5, 0.2]))
        assert np.isfinite(forecaster.forecast_array(20)).all()


def test_a_season_that_was_seen_is_forecast() -> None:
    """S1.5: trend and seasonal beat persistence where there is a season, on slow scales as well."""
    for season in (60, 288):
        block = noisy(9, 4 * season + 60, 20, season)
        errors: dict[str, list[float]] = {"trend": [], "seasonal": [], "persistence": []}
        for model, found in errors.items():
            forecaster = told(model, block[: 3 * season], float(season), 60)
            for at in range(3 * season, 4 * season, 6):
                said = forecaster.forecast_array(60)[..., MEDIAN]
                found.append(float(np.abs(said - block[at : at + 60].T).mean()))
                forecaster.observe(block[at : at + 6])
        assert np.mean(errors["trend"]) < 0.85 * np.mean(errors["persistence"])
        assert np.mean(errors["seasonal"]) < np.mean(errors["persistence"])
