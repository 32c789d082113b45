"""The forecasters are sktime's own kind, and their two faces show one state."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from sidestep.fleet.config_oracle import MODELS as NAMES
from sidestep.forecasting.aggregate.estimator import AggregateForecaster
from sidestep.forecasting.baselines import PersistenceForecaster, SeasonalForecaster
from sidestep.forecasting.dense import CORES
from sidestep.forecasting.estimator import PanelForecaster
from sidestep.forecasting.network.estimator import NetworkForecaster, WindowForecaster
from sidestep.forecasting.registry import MODELS
from sidestep.forecasting.trend import TrendForecaster

ALL = [
    AggregateForecaster,
    NetworkForecaster,
    WindowForecaster,
    TrendForecaster,
    PersistenceForecaster,
    SeasonalForecaster,
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def made(kind: type[PanelForecaster]) -> PanelForecaster:
    forecaster = {
        AggregateForecaster: lambda: AggregateForecaster(season=12),
        NetworkForecaster: lambda: NetworkForecaster(season=12),
        WindowForecaster: lambda: WindowForecaster(season=12),
        TrendForecaster: lambda: TrendForecaster(season=12, horizon=12),
        PersistenceForecaster: lambda: PersistenceForecaster(horizon=12),
        SeasonalForecaster: lambda: SeasonalForecaster(season=12, horizon=12),
    }[kind]()
    forecaster.set_config(remember_data=False)
    return forecaster


def values(series: int = 5, steps: int = 80, seed: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = 2 + np.sin(np.arange(steps)[:, None] / 2) + 0.2 * rng.standard_normal((steps, series))
    found[rng.random(found.shape) < 0.05] = np.nan
    found[0] = 2.0
    return found


def panel(block: np.ndarray, start: int = 0) -> pd.DataFrame:
    steps, series = block.shape
    times = pd.RangeIndex(start, start + steps)
    index = pd.MultiIndex.from_product([[f"s{i}" for i in range(series)], times], names=["series", "time"])
    return pd.DataFrame({"cpu": block.T.reshape(-1)}, index=index)


def test_a_fleet_file_may_name_what_can_be_made_and_nothing_else() -> None:
    """Issue 4: a name that the fleet file accepts starts a worker, with sktime and without."""
    assert set(NAMES) == set(MODELS) == set(CORES) and len(NAMES) == len(ALL)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ALL)
def test_every_check_of_sktime_passes(kind: type[PanelForecaster]) -> None:
    """S1.5: the forecasters are genuine sktime estimators."""
    from sktime.utils.estimator_checks import check_estimator

    found = check_estimator(kind, raise_exceptions=False, verbose=False)
    assert len(found) > 500
    assert not {name: str(outcome) for name, outcome in found.items() if outcome != "PASSED"}


@pytest.mark.parametrize("kind", ALL)
def test_arrays_and_data_frames_give_equal_numbers(kind: type[PanelForecaster]) -> None:
    block = values()
    frames, arrays = made(kind), made(kind)
    frames.fit(panel(block[:50]))
    for at in range(50, 80):
        frames.update(panel(block[at : at + 1], at))
    arrays.observe(block)
    levels = [0.1, 0.5, 0.9]
    said = frames.predict_quantiles(fh=list(range(1, 13)), alpha=levels).to_numpy().reshape(5, 12, 3)
    np.testing.assert_allclose(said, arrays.forecast_array(12, tuple(levels)), rtol=1e-12)


@pytest.mark.parametrize("kind", ALL)
def test_updating_is_the_same_as_fitting_on_everything(kind: type[PanelForecaster]) -> None:
    block = values()
    once, bit_by_bit = made(kind), made(kind)
    once.fit(panel(block))
    bit_by_bit.fit(panel(block[:30]))
    bit_by_bit.update(panel(block[30:55], 30))
    bit_by_bit.update(panel(block[55:], 55))
    ahead = [1, 3, 10]
    pd.testing.assert_frame_equal(once.predict(fh=ahead), bit_by_bit.predict(fh=ahead))
    pd.testing.assert_frame_equal(
        once.predict_interval(fh=ahead, coverage=0.8), bit_by_bit.predict_interval(fh=ahead, coverage=0.8)
    )


@pytest.mark.parametrize("kind", ALL)
def test_the_prediction_is_the_quantile_at_one_half(kind: type[PanelForecaster]) -> None:
    forecaster = made(kind).fit(panel(values()))
    points = forecaster.predict(fh=[1, 5, 12]).to_numpy().reshape(-1)
    halves = forecaster.predict_quantiles(fh=[1, 5, 12], alpha=[0.25, 0.5, 0.75]).to_numpy()
    np.testing.assert_array_equal(points, halves[:, 1])
    assert (halves[:, 0] < halves[:, 1]).all()
    assert (halves[:, 1] < halves[:, 2]).all()


def test_a_hole_in_the_index_is_missing_steps() -> None:
    block = values()
    holed, told = made(TrendForecaster), made(TrendForecaster)
    holed.fit(panel(block[:40]))
    holed.update(panel(block[50:], 50))
    block[40:50] = np.nan
    told.observe(block)
    found = holed.predict_quantiles(fh=[1, 6], alpha=[0.1, 0.9]).to_numpy().reshape(5, 2, 2)
    np.testing.assert_allclose(found, told.forecast_array(np.array([1, 6]), (0.1, 0.9)), rtol=1e-12)


def test_an_instance_that_appears_in_an_update_is_forecast_too() -> None:
    block = values()
    forecaster = made(TrendForecaster).fit(panel(block[:40, :3]))
    forecaster.update(panel(block[40:60], 40))
    found = forecaster.predict(fh=[1])
    assert sorted(found.index.get_level_values(0)) == [f"s{i}" for i in range(5)]
    assert np.isfinite(found.to_numpy()).all()


def test_steps_without_learning_only_widen_the_bands() -> None:
    block = values()
    forecaster = made(PersistenceForecaster).fit(panel(block[:40]))
    before = forecaster.predict_interval(fh=[1], coverage=0.8).to_numpy()
    forecaster.update(panel(block[40:60] + 50, 40), update_params=False)
    after = forecaster.predict_interval(fh=[1], coverage=0.8).to_numpy()
    assert after.max() < 25
    assert ((after[:, 1] - after[:, 0]) > (before[:, 1] - before[:, 0])).all()
