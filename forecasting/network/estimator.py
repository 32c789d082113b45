"""The network and the recent window as genuine sktime forecasters."""

from __future__ import annotations

from typing import Any

from sidestep.forecasting.cores import Core
from sidestep.forecasting.estimator import PanelForecaster
from sidestep.forecasting.network.core import NetworkCore, WindowCore


class NetworkForecaster(PanelForecaster):
    """A pre-trained quantile network over every series alone: nothing is fitted but what it remembers.

    What it was trained on and how good it is stands in ``forecasting/network/CARD.md``.

    Parameters
    ----------
    season : float, default=0
        Length of a season (a day) in steps; 0 is none.
    lower : float or None, default=None
        Least value that can occur; 0 for demand.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from sidestep.forecasting.network.estimator import NetworkForecaster
    >>> forecaster = NetworkForecaster(season=12).set_config(remember_data=False)
    >>> bands = forecaster.fit(load_airline()).predict_interval([1, 2, 3], coverage=0.8)
    """

    def __init__(self, season: float = 0.0, lower: float | None = None) -> None:
        self.season = season
        self.lower = lower
        super().__init__()

    def _core(self, series: int) -> Core:
        return NetworkCore(series, self.season, self.lower)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Settings for sktime's checks."""
        return [{}, {"season": 12, "lower": 0.0}]


class WindowForecaster(PanelForecaster):
    """The quantiles of the last season (or window) are those of the future.

    Parameters
    ----------
    season : float, default=0
        Steps that the window covers; 0 is 300.
    lower : float or None, default=None
        Least value that can occur; 0 for demand.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from sidestep.forecasting.network.estimator import WindowForecaster
    >>> forecaster = WindowForecaster(season=48).set_config(remember_data=False)
    >>> bands = forecaster.fit(load_airline()).predict_interval([1, 2, 3], coverage=0.8)
    """

    def __init__(self, season: float = 0.0, lower: float | None = None) -> None:
        self.season = season
        self.lower = lower
        super().__init__()

    def _core(self, series: int) -> Core:
        return WindowCore(series, self.season, self.lower)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Settings for sktime's checks."""
        return [{}, {"season": 24, "lower": 0.0}]
