"""The oracle's own model: level, damped slope and season of a whole fleet at once."""

from __future__ import annotations

from typing import Any

from sidestep.forecasting.cores import Core
from sidestep.forecasting.estimator import PanelForecaster
from sidestep.forecasting.trend_core import TrendCore


class TrendForecaster(PanelForecaster):
    """Structural models of every series, mixed by recent error, with bands learned online.

    Cost per step is constant in the history and linear in the number of series; there is
    no loop over series. Series do not influence each other.

    Parameters
    ----------
    season : float, default=0
        Length of a season in steps; 0 is none.
    harmonics : int, default=2
        Sine waves that the season is made of.
    horizon : int, default=60
        Steps up to which forecasts are scored to calibrate the bands.
    lower : float or None, default=None
        Least value that can occur; 0 for demand.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from sidestep.forecasting.trend import TrendForecaster
    >>> forecaster = TrendForecaster(season=12).set_config(remember_data=False)
    >>> bands = forecaster.fit(load_airline()).predict_interval([1, 2, 3], coverage=0.8)
    """

    def __init__(
        self,
        season: float = 0.0,
        harmonics: int = 2,
        horizon: int = 60,
        lower: float | None = None,
    ) -> None:
        self.season = season
        self.harmonics = harmonics
        self.horizon = horizon
        self.lower = lower
        super().__init__()

    def _core(self, series: int) -> Core:
        return TrendCore(series, self.horizon, self.lower, self.season, self.harmonics)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Settings for sktime's checks."""
        return [{}, {"season": 12, "harmonics": 2, "horizon": 12, "lower": 0.0}]
