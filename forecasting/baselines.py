"""The baselines that every model must beat, as forecasters of the same kind."""

from __future__ import annotations

from typing import Any

from sidestep.forecasting.baselines_core import PersistenceCore, SeasonalCore
from sidestep.forecasting.cores import Core
from sidestep.forecasting.estimator import PanelForecaster


class PersistenceForecaster(PanelForecaster):
    """The last value stays; bands from the errors that this made.

    Parameters
    ----------
    horizon : int, default=60
        Steps up to which forecasts are scored to calibrate the bands.
    lower : float or None, default=None
        Least value that can occur; 0 for demand.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from sidestep.forecasting.baselines import PersistenceForecaster
    >>> forecaster = PersistenceForecaster().set_config(remember_data=False)
    >>> bands = forecaster.fit(load_airline()).predict_interval([1, 2, 3], coverage=0.8)
    """

    def __init__(self, horizon: int = 60, lower: float | None = None) -> None:
        self.horizon = horizon
        self.lower = lower
        super().__init__()

    def _core(self, series: int) -> Core:
        return PersistenceCore(series, self.horizon, self.lower)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Settings for sktime's checks."""
        return [{}, {"horizon": 5, "lower": 0.0}]


class SeasonalForecaster(PanelForecaster):
    """What was one season ago comes again; the last value until a season was seen.

    Parameters
    ----------
    season : float, default=1
        Length of a season in steps.
    horizon : int, default=60
        Steps up to which forecasts are scored to calibrate the bands.
    lower : float or None, default=None
        Least value that can occur; 0 for demand.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from sidestep.forecasting.baselines import SeasonalForecaster
    >>> forecaster = SeasonalForecaster(season=12).set_config(remember_data=False)
    >>> bands = forecaster.fit(load_airline()).predict_interval([1, 2, 3], coverage=0.8)
    """

    def __init__(self, season: float = 1.0, horizon: int = 60, lower: float | None = None) -> None:
        self.season = season
        self.horizon = horizon
        self.lower = lower
        super().__init__()

    def _core(self, series: int) -> Core:
        return SeasonalCore(series, self.horizon, self.lower, self.season)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Settings for sktime's checks."""
        return [{}, {"season": 12, "horizon": 5}]
