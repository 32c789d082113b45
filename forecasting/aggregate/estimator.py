"""The oracle's own model as a genuine sktime forecaster."""

from __future__ import annotations

from typing import Any

from sidestep.forecasting.aggregate.core import AggregateCore
from sidestep.forecasting.cores import Core
from sidestep.forecasting.estimator import PanelForecaster


class AggregateForecaster(PanelForecaster):
    """Network and simple rules, weighed online by their losses, with bands that learn from misses.

    Cost per step is constant in the history and linear in the number of series, without a
    loop over them. Series do not influence each other: a panel's forecast is that of each alone.

    Parameters
    ----------
    season : float, default=0
        Length of a season (a day) in steps; 0 is none.
    lower : float or None, default=None
        Least value that can occur; 0 for demand.

    References
    ----------
    Cesa-Bianchi and Lugosi, Prediction, Learning, and Games, 2006, chapter 2 (exponential weights);
    Gibbs and Candes, Adaptive conformal inference under distribution shift, 2021 (bands).

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from sidestep.forecasting.aggregate.estimator import AggregateForecaster
    >>> forecaster = AggregateForecaster(season=12).set_config(remember_data=False)
    >>> bands = forecaster.fit(load_airline()).predict_interval([1, 2, 3], coverage=0.8)
    """

    def __init__(self, season: float = 0.0, lower: float | None = None) -> None:
        self.season = season
        self.lower = lower
        super().__init__()

    def _core(self, series: int) -> Core:
        return AggregateCore(series, self.season, self.lower)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Settings for sktime's checks."""
        return [{}, {"season": 12, "lower": 0.0}]
