"""Several structural models of every series at once, mixed by how they did lately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.calibrate import Pending, along
from sidestep.forecasting.cores import F64, PanelCore, Rows, Steps, kept
from sidestep.forecasting.states import FilterBank, Structure


@dataclass(frozen=True)
class Model:
    """One model of the mixture: drift variances in units of the noise variance, and what it may use."""

    level: float
    slope: float
    season: bool
    weight: float


#: measured on synthetic panels, see docs/forecasting.md
MODELS: Final = (
    Model(level=1.0, slope=0.0, season=False, weight=0.2),
    Model(level=0.02, slope=3e-5, season=False, weight=1.0),
    Model(level=0.02, slope=3e-5, season=True, weight=1.0),
)
#: prior variances of slope and harmonics in units of the noise variance
SLOPE_PRIOR: Final = 0.05
SEASON_PRIOR: Final = 4.0
SEASON_DRIFT: Final = 1e-4
#: seasons that must have been seen before the seasonal model speaks
SEASONS: Final = 1.2
#: how sharply the better model is preferred, and how long losses are remembered (steps)
SHARPNESS: Final = 4.0
LOSS_MEMORY: Final = 40.0


class TrendCore(PanelCore):
    """Level, damped slope and season; see ``TrendForecaster``."""

    def __init__(
        self, series: int, horizon: int, floor: float | None, season: float, harmonics: int, damping: float
    ) -> None:
        super().__init__(series, horizon, floor)
        self.structure = Structure(season, harmonics, damping)
        self.models = MODELS if self.structure.waves else MODELS[:2]
        self._bank = FilterBank(self.structure, *self._variances(series))
        count = len(self.models)
        self._claims = Pending(self.horizons, (count, series))
        self._loss = np.ones((count, series))
        self._heard = np.zeros(series)
        self._age = np.zeros(series)
        use = np.ones((count, self.structure.size), dtype=np.bool_)
        for m, model in enumerate(self.models):
            use[m, 1], use[m, 2:] = model.slope > 0, model.season
        self._uses = use

    def _variances(self, series: int) -> tuple[F64, F64]:
        size = self.structure.size
        drift = np.full((len(self.models), size), SEASON_DRIFT)
        for m, model in enumerate(self.models):
            drift[m, :2] = model.level, model.slope
        prior = np.full((len(self.models), size), SEASON_PRIOR)
        prior[:, 0], prior[:, 1] = 1.0, SLOPE_PRIOR
        return np.repeat(drift, series, axis=0), np.repeat(prior, series, axis=0)

    def _use(self) -> NDArray[np.bool_]:
        return np.repeat(self._uses, self.series, axis=0)

    def _learn(self, values: F64) -> None:
        self._bank.observe(np.tile(values, len(self.models)), self._use())
        self._age = np.where(self._age > 0, self._age + 1, np.isfinite(values))
        claims = self._means(self.horizons)
        due = self._claims.swap(self.clock, claims)
        self._judge(values, due)

    def _judge(self, values: F64, due: F64) -> None:
        """Remember each model's error over the horizons that came due, in units of the noise."""
        noise = np.sqrt(self._noise()[-1 if len(self.models) < 3 else 1])
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.abs(values[None, :, None] - due) / noise[None, :, None]
        valid = np.isfinite(error).all(axis=0)
        total = np.where(valid, np.minimum(error, 50.0), 0.0).sum(axis=2)
        number = valid.sum(axis=1)
        heard = number > 0
        self._heard += heard
        rate = np.where(heard, 1.0 / np.minimum(self._heard + 3, LOSS_MEMORY), 0.0)
        self._loss += (total / np.maximum(number, 1) - self._loss) * rate

    def _noise(self) -> F64:
        return self._bank.noise.reshape(len(self.models), self.series)

    def _means(self, steps: Steps) -> F64:
        """(M, S, T)."""
        found = self._bank.mean(self.structure.ahead(steps), self._use())
        return np.asarray(found.reshape(len(self.models), self.series, len(steps)))

    def weights(self) -> F64:
        """(M, S) the share of every model in the forecast."""
        said = np.array([m.weight for m in self.models])[:, None] * np.ones(self.series)
        for m, model in enumerate(self.models):
            if model.season:
                said[m] *= self._age >= SEASONS * self.structure.season
        best = np.maximum(self._loss.min(axis=0), 1e-9)
        share = said * (np.maximum(self._loss, 1e-9) / best) ** -SHARPNESS
        return np.asarray(share / share.sum(axis=0))

    def _say(self, steps: Steps) -> tuple[F64, F64]:
        weights = self.weights()[:, :, None]
        median = (self._means(steps) * weights).sum(axis=0)
        some = self.horizons if len(steps) > len(self.horizons) and steps.max() <= self.horizon else steps
        variance = self._bank.variance(self.structure.ahead(some), self.structure.buildup(some), self._use())
        shaped = variance.reshape(len(self.models), self.series, len(some))
        spread = np.sqrt((shaped * weights).sum(axis=0))
        if some is not steps:
            spread = along(spread, some, steps)
        unknown = self._age == 0
        median[unknown] = np.nan
        spread[unknown] = np.nan
        return median, spread

    def _freedom(self) -> F64:
        return np.minimum(self._bank.weight.reshape(len(self.models), self.series)[0] + 1.0, 30.0)

    def _select(self, rows: Rows) -> None:
        count = len(self.models)
        wide = np.concatenate([np.where(rows >= 0, rows + m * self.series, -1) for m in range(count)])
        self._bank.select(wide, *self._variances(len(rows)))
        self._claims.select(rows)
        self._loss = kept(self._loss.T, rows, 1.0).T
        self._heard = kept(self._heard, rows, 0.0)
        self._age = kept(self._age, rows, 0.0)
