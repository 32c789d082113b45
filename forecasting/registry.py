"""The models that a configuration can name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidestep.fleet.errors import UsageError
from sidestep.forecasting.aggregate.estimator import AggregateForecaster
from sidestep.forecasting.baselines import PersistenceForecaster, SeasonalForecaster
from sidestep.forecasting.estimator import PanelForecaster
from sidestep.forecasting.network.estimator import NetworkForecaster, WindowForecaster
from sidestep.forecasting.trend import TrendForecaster

#: makes a forecaster for a season (in steps, 0 is none) and a horizon (in steps)
Factory = Callable[[float, int], PanelForecaster]

MODELS: Final[dict[str, Factory]] = {
    "aggregate": lambda season, horizon: AggregateForecaster(season=season, lower=0.0),
    "network": lambda season, horizon: NetworkForecaster(season=season, lower=0.0),
    "window": lambda season, horizon: WindowForecaster(season=season, lower=0.0),
    "trend": lambda season, horizon: TrendForecaster(season=season, horizon=horizon, lower=0.0),
    "persistence": lambda season, horizon: PersistenceForecaster(horizon=horizon, lower=0.0),
    "seasonal": lambda season, horizon: SeasonalForecaster(season=max(1.0, season), horizon=horizon, lower=0.0),
}


def make(model: str, season: float, horizon: int) -> PanelForecaster:
    """A forecaster by name, for demand (never below 0). Raises UsageError for an unknown name."""
    factory = MODELS.get(model)
    if factory is None:
        raise UsageError(f"unknown model {model!r}", hint=f"set [oracle] model to one of {', '.join(sorted(MODELS))}")
    forecaster = factory(season, horizon)
    # Per instance: as a class setting it fails sktime's own check of remembered data.
    forecaster.set_config(remember_data=False)
    return forecaster
