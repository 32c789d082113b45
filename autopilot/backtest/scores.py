"""How good the forecasts themselves were: scaled CRPS, skill against persistence, coverage; settled as truth comes."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.forecasting.baselines_core import PersistenceCore
from sidestep.forecasting.calibrate import ladder
from sidestep.forecasting.horizon import steps_ahead

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: horizons that are scored
_MOST: Final = 5
_BANDS: Final = {80: (LEVELS.index(0.1), LEVELS.index(0.9)), 90: (LEVELS.index(0.05), LEVELS.index(0.95))}
_LEVELS: Final = np.asarray(LEVELS, dtype=np.float32)
#: what a level stands for in the integral over all levels
_WEIGHTS: Final = np.diff(np.concatenate([[0.0], (_LEVELS[1:] + _LEVELS[:-1]) / 2, [1.0]])).astype(np.float32)


class Scored(NamedTuple):
    """The forecasts of one dimension at one horizon: median over hosts of scores, shares of all values in bands."""

    dimension: int
    ahead: float
    number: int
    crps: float
    persistence: float
    skill: float
    coverage80: float
    coverage90: float


class Scores:
    """Sums per host and horizon; what is said at a step is held until its time has come.

    CRPS is twice the pinball loss over all levels, each weighted by the stretch of levels that it stands for, and
    scaled by the standard deviation of the series over the steps that are scored.
    """

    def __init__(self, planned: tuple[int, ...], hosts: int, horizon: float, step: float, begin: int) -> None:
        self._planned, self._step, self._begin = planned, step, begin
        steps = steps_ahead(horizon, step)
        ahead = ladder(steps)
        self._ahead = ahead[np.unique(np.linspace(0, len(ahead) - 1, _MOST).round().astype(np.int64))]
        series = hosts * len(planned)
        self._plain = PersistenceCore(series, steps, 0.0)
        self._held: dict[int, list[tuple[int, F32, F32]]] = {}
        shape = (len(self._ahead), series)
        self._loss, self._number = np.zeros((2, *shape)), np.zeros(shape)
        self._inside = np.zeros((2, *shape))
        self._moments = np.zeros((3, series))

    def take(self, at: int, use: F32, forecast: Forecast) -> None:
        """Score what was said about step ``at``, whose truth is ``use`` (H, PLANNED), then hold what is said now."""
        truth = use[:, self._planned].reshape(-1).astype(np.float64)
        self._plain.observe(truth)
        if at >= self._begin:
            known = np.isfinite(truth)
            clean = np.where(known, truth, 0.0)
            self._moments += np.stack([known, clean, clean**2])
        for b, ours, plain in self._held.pop(at, ()):
            self._settle(b, truth, ours, plain)
        if at < self._begin:
            return
        said = forecast.hosts[:, list(self._planned)]
        plain = self._plain.forecast(self._ahead, LEVELS).astype(np.float32)
        for b, ahead in enumerate(self._ahead):
            ours = said[:, :, min(int(ahead), said.shape[2]) - 1].reshape(-1, len(LEVELS))
            self._held.setdefault(at + int(ahead), []).append((b, np.array(ours), plain[:, b]))

    def _settle(self, b: int, truth: F64, ours: F32, plain: F32) -> None:
        valid = np.isfinite(truth) & np.isfinite(ours).all(axis=1) & np.isfinite(plain).all(axis=1)
        self._number[b] += valid
        for row, said in enumerate((ours, plain)):
            off = truth[:, None] - np.where(valid[:, None], said, 0.0)
            loss = 2 * (np.maximum(_LEVELS * off, (_LEVELS - 1) * off) * _WEIGHTS).sum(axis=1)
            self._loss[row, b] += np.where(valid, loss, 0.0)
        slack = 1e-6 * np.abs(np.nan_to_num(truth))
        for row, (low, high) in enumerate(_BANDS.values()):
            with np.errstate(invalid="ignore"):
                self._inside[row, b] += valid & (truth >= ours[:, low] - slack) & (truth <= ours[:, high] + slack)

    def found(self) -> tuple[Scored, ...]:
        """One row a dimension and horizon in which anything was scored."""
        number, total, squares = self._moments
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = squares / number - np.square(total / number)
            scale = np.sqrt(np.maximum(variance, 0.0))
            mean = np.where((self._number > 0) & (scale > 1e-9), self._loss / self._number / scale, np.nan)
        rows = []
        for d, dimension in enumerate(self._planned):
            mine = slice(d, None, len(self._planned))
            for b, ahead in enumerate(self._ahead):
                count = float(self._number[b, mine].sum())
                ours, plain = mean[0, b, mine], mean[1, b, mine]
                if not count or not np.isfinite(ours).any():
                    continue
                with np.errstate(invalid="ignore", divide="ignore"):
                    skill = np.where(plain > 0, 1 - ours / plain, np.where(ours > 0, np.nan, 0.0))
                inside = self._inside[:, b, mine].sum(axis=1) / count
                rows.append(
                    Scored(
                        dimension=dimension,
                        ahead=float(ahead) * self._step,
                        number=int(count),
                        crps=float(np.nanmedian(ours)),
                        persistence=float(np.nanmedian(plain)),
                        skill=float(np.nanmedian(skill)),
                        coverage80=float(inside[0]),
                        coverage90=float(inside[1]),
                    )
                )
        return tuple(rows)
