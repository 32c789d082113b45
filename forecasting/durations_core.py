"""The arithmetic of ``durations``: for every function a regression and an empirical rule, on logarithms.

All functions are rows; ``M`` is the number of targets, ``D`` the width of an encoded input.
Each function has two experts. The rule knows only what the function did before; the
regression is a Bayesian linear model with forgetting (recursive least squares in information
form, so that nothing winds up where nothing is learned). Either one's quantiles come from its
own past errors, together with a few pseudo-errors of the kind that all functions make. They
are mixed by how well they did, so that features that say nothing do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: numeric features of a function that are learned, buckets of its kinds, and the width of an input
NUMBERS: Final = 6
KINDS: Final = 9
WIDTH: Final = 1 + NUMBERS + KINDS
#: what is predicted: wall_s, cpu_s, max_rss
TARGETS: Final = 3
#: errors that are remembered, and pseudo-errors beside them with their weight together
RING: Final = 128
GRID: Final = 19
BORROWED: Final = 6.0
#: what is left of the regression's memory after one more call
FORGET: Final = 0.995
#: prior deviations of a slope (log per log) and of a kind's offset
SLOPE: Final = 1.0
OFFSET: Final = 0.8
#: noise variance before anything is known, and its weight in calls
NOISE: Final = 0.2
NOISE_WEIGHT: Final = 3.0
#: an error beyond so many deviations teaches no more than one of so many
CLIP: Final = 4.0
#: how sharply the better expert is preferred, and how long its losses are remembered
SHARPNESS: Final = 3.0
REMEMBER: Final = 0.98
#: levels at which experts are judged
JUDGED: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
#: calls of a function from which its errors say what errors are like
SETTLED: Final = 10
#: log of how far beyond everything that was seen the middle of a prediction may go, and any quantile at all
BEYOND: Final = float(np.log(100.0))
ABSURD: Final = 100.0
_LEVELS: Final = (np.arange(GRID) + 0.5) / GRID
_NORMAL: Final = np.array([NormalDist().inv_cdf(float(level)) for level in _LEVELS])


@dataclass
class Commons:
    """What all functions have in common, by target."""

    #: (M,) mean and variance of functions' levels
    level: F64
    spread: F64
    #: (M, GRID) quantiles of standardised errors
    errors: F64

    @classmethod
    def fresh(cls, level: F64) -> Commons:
        """Before anything is known."""
        return cls(level, np.full(TARGETS, 9.0), np.tile(_NORMAL, (TARGETS, 1)))


class Functions:
    """The state of ``rows`` functions."""

    def __init__(self, rows: int) -> None:
        shape = (rows, TARGETS)
        self.information = np.zeros((*shape, WIDTH, WIDTH))
        self.moment = np.zeros((*shape, WIDTH))
        #: calls, the sum and weight of squared errors about the regression and about the level
        self.seen = np.zeros(shape, dtype=np.int64)
        self.squares = np.full((2, *shape), NOISE * NOISE_WEIGHT)
        self.weight = np.full((2, *shape), NOISE_WEIGHT)
        self.values = np.full((*shape, RING), np.nan, dtype=np.float32)
        self.errors = np.full((*shape, RING), np.nan, dtype=np.float32)
        self.loss = np.zeros((2, *shape))
        self.low, self.high = np.full(shape, np.inf), np.full(shape, -np.inf)
        #: (rows, M, D) what is assumed of coefficients until data says otherwise
        self.prior = np.zeros((*shape, WIDTH))
        #: the newest coefficients and their variances
        self.coefficients = np.zeros((*shape, WIDTH))
        self.variances = np.ones((*shape, WIDTH))

    def reset(self, row: int) -> None:
        """Forget one function."""
        fresh = Functions(1)
        for name, value in vars(fresh).items():
            mine = getattr(self, name)
            if name in ("squares", "weight", "loss"):
                mine[:, row] = value[:, 0]
            else:
                mine[row] = value[0]

    def grown(self, rows: int) -> Functions:
        """The same with room for more functions."""
        made = Functions(rows)
        for name, value in vars(self).items():
            target = getattr(made, name)
            if name in ("squares", "weight", "loss"):
                target[:, : value.shape[1]] = value
            else:
                target[: len(value)] = value
        return made

    def say(self, rows: I64, x: F64, extra: F64, commons: Commons, levels: tuple[float, ...]) -> F64:
        """(K, M, Q) log quantiles for functions ``rows`` (K,) and inputs (K, D); ``extra`` (K,) is further variance."""
        rule, regression, _ = self._experts(rows, x, extra, commons, levels)
        weight = self._weights(rows)[..., None]
        mixed = weight * regression + (1 - weight) * rule
        return np.asarray(np.maximum.accumulate(np.clip(mixed, -ABSURD, ABSURD), axis=-1))

    def learn(self, rows: I64, x: F64, y: F64, commons: Commons) -> F64:
        """Learn one call of each of these different functions: ``y`` (K, M) logs, NaN unknown; standardised errors."""
        rule, regression, (mean, variance, lever) = self._experts(rows, x, np.zeros(len(rows)), commons, JUDGED)
        known = np.isfinite(y)
        scale = np.sqrt(self._noise(1)[rows])
        for place, said in enumerate((rule, regression)):
            loss = np.where(known, _pinball(y, said) / scale, 0.0)
            self.loss[place, rows] = np.where(known, REMEMBER, 1.0) * self.loss[place, rows] + loss
        deviation = np.sqrt(variance)
        error = (y - mean) / deviation
        noise = self._noise(0)[rows]
        self._remember(rows, y, error * np.sqrt(noise), known)
        clipped = np.where(known, mean + np.clip(error, -CLIP, CLIP) * deviation, 0.0)
        self._account(rows, known, clipped - mean, lever / noise)
        fresh = known[..., None]
        keep = np.where(known, FORGET, 1.0)
        self.moment[rows] = keep[..., None] * self.moment[rows] + fresh * clipped[..., None] * x[:, None]
        outer = fresh[..., None] * (x[:, :, None] * x[:, None, :])[:, None]
        self.information[rows] = keep[..., None, None] * self.information[rows] + outer
        self.seen[rows] += known
        self.low[rows], self.high[rows] = np.fmin(self.low[rows], y), np.fmax(self.high[rows], y)
        return np.asarray(np.where(known & (self.seen[rows] > SETTLED), error, np.nan))

    def _experts(
        self, rows: I64, x: F64, extra: F64, commons: Commons, levels: tuple[float, ...]
    ) -> tuple[F64, F64, tuple[F64, F64, F64]]:
        level, level_variance = self._level(rows, commons)
        grid = np.broadcast_to(commons.errors, (len(rows), TARGETS, GRID))
        own = self.values[rows].astype(np.float64)
        rule = _pooled(own, level[..., None] + np.sqrt(level_variance)[..., None] * grid, levels)
        coefficients, covariance = self._solved(rows, commons)
        mean = np.einsum("kmd,kd->km", coefficients, x)
        low, high = self.low[rows], self.high[rows]
        mean = np.where(np.isfinite(low), np.clip(mean, low - BEYOND, high + BEYOND), mean)
        lever = np.einsum("kd,kmde,ke->km", x, covariance, x)
        noise = self._noise(0)[rows]
        variance = noise + lever + extra[:, None]
        errors = _pooled(self.errors[rows].astype(np.float64), np.sqrt(noise)[..., None] * grid, levels)
        return rule, mean[..., None] + np.sqrt(variance / noise)[..., None] * errors, (mean, variance, lever)

    def _solved(self, rows: I64, commons: Commons) -> tuple[F64, F64]:
        """(K, M, D) coefficients and (K, M, D, D) their covariance."""
        noise = self._noise(0)[rows]
        prior = self.prior[rows].copy()
        prior[..., 0] = commons.level
        precision = np.empty((TARGETS, WIDTH))
        precision[:, 0] = 1 / commons.spread
        precision[:, 1 : 1 + NUMBERS] = SLOPE**-2
        precision[:, 1 + NUMBERS :] = OFFSET**-2
        matrix = self.information[rows] / noise[..., None, None]
        matrix[..., np.arange(WIDTH), np.arange(WIDTH)] += precision
        covariance = np.linalg.inv(matrix)
        found = np.einsum("kmde,kme->kmd", covariance, self.moment[rows] / noise[..., None] + precision * prior)
        self.coefficients[rows] = found
        self.variances[rows] = covariance[..., np.arange(WIDTH), np.arange(WIDTH)]
        return np.asarray(found), np.asarray(covariance)

    def _level(self, rows: I64, commons: Commons) -> tuple[F64, F64]:
        """(K, M) where a function's next call is by the rule, and how far from it."""
        own = self.values[rows].astype(np.float64)
        count = np.isfinite(own).sum(axis=-1)
        noise = self._noise(1)[rows]
        trust = noise / commons.spread
        level = (np.nansum(own, axis=-1) + trust * commons.level) / (count + trust)
        return level, noise * (1 + 1 / (count + trust))

    def _remember(self, rows: I64, y: F64, error: F64, known: NDArray[np.bool_]) -> None:
        k, m = np.nonzero(known)
        place = self.seen[rows[k], m] % RING
        self.values[rows[k], m, place] = y[k, m]
        self.errors[rows[k], m, place] = error[k, m]

    def _account(self, rows: I64, known: NDArray[np.bool_], error: F64, lever: F64) -> None:
        """Noise about the regression and about the level, forgetting as the regression does."""
        own = self.values[rows].astype(np.float64)
        count = np.maximum(np.isfinite(own).sum(axis=-1), 1)
        spread = np.nansum((own - (np.nansum(own, axis=-1) / count)[..., None]) ** 2, axis=-1)
        self.squares[1, rows] = spread + NOISE * NOISE_WEIGHT
        self.weight[1, rows] = np.maximum(count - 1, 0) + NOISE_WEIGHT
        keep = np.where(known, FORGET, 1.0)
        self.squares[0, rows] = keep * self.squares[0, rows] + np.where(known, error**2 / (1 + lever), 0.0)
        self.weight[0, rows] = keep * self.weight[0, rows] + known

    def _noise(self, place: int) -> F64:
        return np.asarray(np.maximum(self.squares[place] / self.weight[place], 1e-6))

    def _weights(self, rows: I64) -> F64:
        """(K, M) the regression's share."""
        better = np.clip(SHARPNESS * (self.loss[0, rows] - self.loss[1, rows]), -40, 40)
        return np.asarray(1 / (1 + np.exp(-better)))


def _pooled(own: F64, borrowed: F64, levels: tuple[float, ...]) -> F64:
    """(K, M, Q) quantiles of own values (NaN: none), of weight 1 each, and borrowed ones, of BORROWED together."""
    pool = np.concatenate([own, borrowed], axis=-1)
    weight = np.concatenate([np.isfinite(own), np.full(borrowed.shape, BORROWED / GRID)], axis=-1)
    order = np.argsort(pool, axis=-1)
    pool = np.take_along_axis(pool, order, axis=-1)
    weight = np.take_along_axis(weight, order, axis=-1)
    # each value stands in the middle of its weight; between two of them there are lines
    reached = np.cumsum(weight, axis=-1)
    total = reached[..., -1:]
    middle = (reached - weight / 2) / total
    return np.stack([_at(pool, middle, level) for level in levels], axis=-1)


def _at(pool: F64, middle: F64, level: float) -> F64:
    last = np.sum(np.isfinite(pool), axis=-1) - 1
    right = np.minimum((middle < level).sum(axis=-1), last)
    left = np.maximum(right - 1, 0)
    rows, targets = np.ogrid[: pool.shape[0], : pool.shape[1]]
    low, high = pool[rows, targets, left], pool[rows, targets, right]
    start, end = middle[rows, targets, left], middle[rows, targets, right]
    share = np.where(end > start, (level - start) / np.maximum(end - start, 1e-12), 0.0)
    return np.asarray(low + np.clip(share, 0.0, 1.0) * (high - low))


def _pinball(y: F64, said: F64) -> F64:
    """(K, M) mean over the judged levels."""
    levels = np.array(JUDGED)
    miss = np.nan_to_num(y)[..., None] - said
    return np.asarray(np.maximum(levels * miss, (levels - 1) * miss).mean(axis=-1))
