"""The cores of the models that are ours, by name, without sktime: what the service works with.

Each is the core that the sktime forecaster of that name is made around, with the same
settings, so a data frame through sktime and columns through here give the same numbers.
sktime is loaded only for a model that is none of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidestep.forecasting.aggregate.core import AggregateCore
from sidestep.forecasting.baselines_core import PersistenceCore, SeasonalCore
from sidestep.forecasting.cores import Core
from sidestep.forecasting.network.core import NetworkCore, WindowCore
from sidestep.forecasting.trend_core import TrendCore

#: what ``registry.MODELS`` gives its forecasters for demand
FLOOR: Final = 0.0
HARMONICS: Final = 2

#: makes a core for a season (in steps, 0 is none), a horizon (in steps) and so many series
Maker = Callable[[float, int, int], Core]

CORES: Final[dict[str, Maker]] = {
    "aggregate": lambda season, horizon, series: AggregateCore(series, season, FLOOR),
    "network": lambda season, horizon, series: NetworkCore(series, season, FLOOR),
    "window": lambda season, horizon, series: WindowCore(series, season, FLOOR),
    "trend": lambda season, horizon, series: TrendCore(series, horizon, FLOOR, season, HARMONICS),
    "persistence": lambda season, horizon, series: PersistenceCore(series, horizon, FLOOR),
    "seasonal": lambda season, horizon, series: SeasonalCore(series, horizon, FLOOR, max(1.0, season)),
}


def core_of(model: str, season: float, horizon: int, series: int) -> Core:
    """A core by the name of its model. Raises UsageError for an unknown name."""
    maker = CORES.get(model)
    if maker is not None:
        return maker(season, horizon, series)
    from sidestep.forecasting.registry import make  # noqa: PLC0415 - seconds of imports

    forecaster = make(model, season, horizon)
    forecaster.begin(series)
    return forecaster.core_
