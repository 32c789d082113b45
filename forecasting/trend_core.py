"""Several structural models of every series at once, mixed by how they did lately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.calibrate import Pending, along
from sidestep.forecasting.cores import F64, PanelCore, Rows, Steps, kept
from sidestep.forecasting.states import WARMUP, FilterBank, Structure


@dataclass(frozen=True)
class Model:
    """One model of the mixture.

    ``level`` and ``slope`` are drift variances a step in units of the noise variance;
    ``damping`` is what is left of the slope after a step; ``weight`` is its share at first.
    """

    level: float
    slope: float
    damping: float
    weight: float
    season: bool = False


#: A slope that was seen for long is believed for long, one that was seen just now is not.
#: The values were chosen on synthetic panels and checked on others (tests/forecasting).
MODELS: Final = (
    Model(level=1.0, slope=0.0, damping=1.0, weight=0.3),
    Model(level=0.02, slope=6e-5, damping=0.998, weight=1.0),
    Model(level=0.02, slope=2.5e-3, damping=0.99, weight=1.0),
    Model(level=0.02, slope=6e-5, damping=0.998, weight=1.0, season=True),
)
#: the model whose noise is the unit of losses
UNIT: Final = 1
#: prior variances of slope and harmonics in units of the noise variance
SLOPE_PRIOR: Final = 0.005
SEASON_PRIOR: Final = 4.0
SEASON_DRIFT: Final = 1e-4
#: seasons that must have been seen before the seasonal model speaks
SEASONS: Final = 1.2
#: how sharply the better model is preferred, and how long losses are remembered (steps):
#: a turn must be seen soon, and what was right for long is not forgotten for one bad minute
SHARPNESS: Final = 16.0
LATELY: Final = 12.0
ALWAYS: Final = 200.0
RECENCY: Final = 0.5
#: one miss counts for no more than so many deviations of the noise
WORST: Final = 50.0


def bank(model: Model, rows: int, season: float, harmonics: int) -> FilterBank:
    """The filters of one model."""
    structure = Structure(model.damping, season, harmonics) if model.season else Structure(model.damping)
    drift = np.full(structure.size, SEASON_DRIFT)
    drift[:2] = model.level, model.slope
    prior = np.full(structure.size, SEASON_PRIOR)
    prior[:2] = 1.0, SLOPE_PRIOR if model.slope > 0 else 0.0
    return FilterBank(rows, structure, drift, prior)


class TrendCore(PanelCore):
    """Level, damped slope and season; see ``TrendForecaster``."""

    def __init__(self, series: int, horizon: int, floor: float | None, season: float, harmonics: int) -> None:
        super().__init__(series, horizon, floor)
        self.season = season
        waves = Structure(1.0, season, harmonics).waves
        self.models = tuple(m for m in MODELS if waves or not m.season)
        self._banks = [bank(model, series, season, harmonics) for model in self.models]
        self._claims = Pending(self.horizons, (len(self.models), series))
        self._loss = np.ones((len(self.models), series))
        self._habit = np.ones((len(self.models), series))
        self._heard = np.zeros(series)
        self._age = np.zeros(series)
        self._speaks_at = np.ceil(SEASONS * season)

    def _learn(self, values: F64) -> None:
        for each in self._banks:
            each.observe(values)
        self._age = np.where(self._age > 0, self._age + 1, np.isfinite(values))
        warm = np.isfinite(values) & (self._banks[UNIT].seen == WARMUP)
        if warm.any():
            self._forget(warm)
        self._let_speak()
        self._judge(values, self._claims.swap(self.clock, self._means(self.horizons)))

    def _judge(self, values: F64, due: F64) -> None:
        """Remember each model's error over the horizons that came due, in units of the noise."""
        noise = np.sqrt(self._banks[UNIT].noise)
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.abs(values[None, :, None] - due) / noise[None, :, None]
        valid = np.isfinite(error).all(axis=0)
        total = np.where(valid, np.minimum(error, WORST), 0.0).sum(axis=2)
        number = valid.sum(axis=1)
        self._heard += number > 0
        news = total / np.maximum(number, 1)
        age = self._heard + 3
        self._loss += np.where(number > 0, (news - self._loss) / np.minimum(age, LATELY), 0.0)
        self._habit += np.where(number > 0, (news - self._habit) / np.minimum(age, ALWAYS), 0.0)

    def _forget(self, rows: NDArray[np.bool_]) -> None:
        """Hold nothing against the models that they said before they were warm."""
        self._claims.drop(rows)
        self._loss[:, rows] = self._habit[:, rows] = 1.0
        self._heard[rows] = 0.0
        self.drop(rows)

    def _let_speak(self) -> None:
        """Seasonal models begin without a record: what they said before their first season does not count."""
        begins = (self._age == self._speaks_at) & (self._heard > 0)
        if not begins.any():
            return
        for m, model in enumerate(self.models):
            if model.season:
                where = np.zeros(self._loss.shape, dtype=bool)
                where[m] = begins
                self._claims.drop(where)
                self._loss[m, begins] = self._loss[:, begins].min(axis=0)
                self._habit[m, begins] = self._habit[:, begins].min(axis=0)

    def _means(self, steps: Steps) -> F64:
        """(M, S, T)."""
        return np.stack([each.mean(steps) for each in self._banks])

    def weights(self) -> F64:
        """(M, S) the share of every model in the forecast."""
        share = np.array([m.weight for m in self.models])[:, None] * np.ones(self.series)
        for m, model in enumerate(self.models):
            if model.season:
                share[m] *= self._age >= self._speaks_at
        loss = np.maximum(self._loss**RECENCY * self._habit ** (1 - RECENCY), 1e-9)
        share *= (loss / loss.min(axis=0)) ** -SHARPNESS
        return np.asarray(share / share.sum(axis=0))

    def _say(self, steps: Steps) -> tuple[F64, F64]:
        weights = self.weights()[:, :, None]
        median = (self._means(steps) * weights).sum(axis=0)
        # The spread is smooth in the horizon: a few exact values and lines between them do.
        dense = len(steps) > len(self.horizons) and int(steps.max()) <= self.horizon
        exact = self.horizons if dense else steps
        variance = np.stack([each.variance(exact) for each in self._banks])
        spread = np.sqrt((variance * weights).sum(axis=0))
        spread = along(spread, exact, steps) if dense else spread
        unknown = self._age == 0
        median[unknown] = np.nan
        spread[unknown] = np.nan
        return median, spread

    def _freedom(self) -> F64:
        return np.minimum(self._banks[UNIT].weight + 1.0, 30.0)

    def _select(self, rows: Rows) -> None:
        for each in self._banks:
            each.select(rows)
        self._claims.select(rows)
        self._loss = kept(self._loss.T, rows, 1.0).T
        self._habit = kept(self._habit.T, rows, 1.0).T
        self._heard = kept(self._heard, rows, 0.0)
        self._age = kept(self._age, rows, 0.0)
