"""Forecasts held until the truth comes, and bands that learn from it.

At a few horizons (``ladder``) every forecast is kept in a ring until its time has come;
then the band of that series and horizon is widened or narrowed a little, each side on its
own, so that in the long run it holds as often as it says. Factors are in units of the
model's own spread and bounded: offsets in absolute units run away when the scale changes.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

STEPS: Final = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200, 300, 450, 600)
#: the chance that a value lies beyond the calibrated edge, on each side
TAIL: Final = 0.1
#: no single squared error counts for more than this
WILD: Final = 25.0
#: nor is a band ever widened by more than the root of this: errors that were made before a turn, in
#: units of the calm before it, would be counted again in those of the model that has seen it
MOST: Final = 6.0
_EDGE: Final = NormalDist().inv_cdf(1 - TAIL)


def ladder(horizon: int) -> NDArray[np.int64]:
    """The horizons that are scored, up to ``horizon`` and with it."""
    inside = [h for h in STEPS if h < horizon]
    return np.array([*inside, max(1, horizon)], dtype=np.int64)


def along(values: NDArray[np.floating], known: NDArray[np.int64] | F64, wanted: NDArray[np.int64] | F64) -> F64:
    """(..., T) of (..., B): linear between the known horizons, flat beyond them."""
    right = np.clip(np.searchsorted(known, wanted), 1, max(1, len(known) - 1))
    if len(known) == 1:
        return np.asarray(np.repeat(values, len(wanted), axis=-1))
    left = right - 1
    part = np.clip((wanted - known[left]) / (known[right] - known[left]), 0.0, 1.0)
    return np.asarray(values[..., left] * (1 - part) + values[..., right] * part)


def scores(levels: tuple[float, ...], freedom: F64) -> F64:
    """(S, Q) quantiles of a Student distribution (two terms of its expansion) of unit scale."""
    z = np.array([NormalDist().inv_cdf(level) for level in levels])
    nu = np.maximum(freedom, 2.0)[:, None]
    first = (z**3 + z) / (4 * nu)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
    return np.asarray(z + first + second)


class Pending:
    """Rings of forecasts: what was said ``ladder[b]`` steps ago about now. Shape (..., B)."""

    def __init__(self, horizons: NDArray[np.int64], lead: tuple[int, ...]) -> None:
        self.horizons = horizons
        self._rings = [np.full((int(h), *lead), np.nan, np.float32) for h in horizons]

    def swap(self, clock: int, said: F64) -> F64:
        """What was said about step ``clock``; ``said`` (..., B) about later steps takes its place."""
        due = np.empty(said.shape)
        for b, ring in enumerate(self._rings):
            at = clock % len(ring)
            due[..., b] = ring[at]
            ring[at] = said[..., b]
        return due

    def peek(self, clock: int) -> F64:
        """What was said about step ``clock``, left in place."""
        return np.stack([ring[clock % len(ring)] for ring in self._rings], axis=-1).astype(np.float64)

    def drop(self, where: NDArray[np.bool_]) -> None:
        """Forget what was said about the chosen rows: of the last leading axis, or of all of them."""
        for ring in self._rings:
            ring[..., where] = np.nan

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder rows of the last leading axis; -1 is a row of which nothing was said."""
        for b, ring in enumerate(self._rings):
            kept = ring[..., np.maximum(rows, 0)]
            kept[..., rows < 0] = np.nan
            self._rings[b] = kept


class Bands:
    """(S, B) how far the truth strays from the median, in units of the model's own spread.

    ``power`` is the mean square of what was seen, shrunk while few independent errors were;
    ``lower`` and ``upper`` (logarithms) then move each edge to where it holds.
    """

    def __init__(self, series: int, horizons: NDArray[np.int64], low: float = 0.35, high: float = 4.0) -> None:
        self.horizons = horizons
        self._bounds = (math.log(low), math.log(high))
        self.lower = np.zeros((series, len(horizons)))
        self.upper = np.zeros((series, len(horizons)))
        self.count = np.zeros((series, len(horizons)))
        self.square = np.zeros((series, len(horizons)))

    @property
    def power(self) -> F64:
        """(S, B) mean square of the errors in units of the model's spread.

        Shrunk to that of the next shorter horizon (of which more independent errors were seen),
        and never to less than 1: what was not seen is not narrow.
        """
        guess = 4.0 + self.horizons / 4
        number = np.minimum(self.count, self._memory)
        found = np.empty_like(self.square)
        before: F64 = np.ones(len(self.square))
        for b in range(len(self.horizons)):
            before = (guess[b] * np.maximum(before, 1.0) + self.square[:, b]) / (guess[b] + number[:, b])
            found[:, b] = before
        return np.minimum(found, MOST)

    @property
    def _memory(self) -> F64:
        return np.asarray(np.maximum(100.0, 5.0 * self.horizons))

    def learn(self, residual: F64) -> None:
        """``residual`` (S, B): (truth - median) / spread of the forecasts that came due; NaN is none."""
        valid = np.isfinite(residual)
        keep = np.where(valid & (self.count >= self._memory), 1 - 1 / self._memory, 1.0)
        power = self.power
        residual = residual / np.sqrt(power)
        square = np.where(valid, np.minimum(np.square(residual), WILD) * power, 0.0)
        rate = np.maximum(0.3 / np.sqrt(self.horizons + self.count), 0.03 / np.sqrt(1 + self.horizons / 20))
        above = np.where(residual > _EDGE * np.exp(self.upper), 1 - TAIL, -TAIL)
        below = np.where(residual < -_EDGE * np.exp(self.lower), 1 - TAIL, -TAIL)
        # A ratio of medians to widths: one miss undoes what 1 / TAIL hits earned.
        self.upper = np.clip(self.upper + np.where(valid, rate * above, 0.0), *self._bounds)
        self.lower = np.clip(self.lower + np.where(valid, rate * below, 0.0), *self._bounds)
        self.square = self.square * keep + square
        self.count += valid

    def quantiles(
        self, median: F64, spread: F64, freedom: F64, levels: tuple[float, ...], steps: NDArray[np.int64]
    ) -> F64:
        """(S, T, Q) around ``median`` (S, T) with ``spread`` (S, T), in ascending order of level."""
        z = scores(levels, freedom)[:, None, :]
        size: F64 = np.sqrt(self.power)
        upper = along(np.exp(self.upper) * size, self.horizons, steps) * spread
        lower = along(np.exp(self.lower) * size, self.horizons, steps) * spread
        return np.asarray(median[..., None] + z * np.where(z > 0, upper[..., None], lower[..., None]))

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder series; -1 is one of which nothing is known."""
        for name in ("lower", "upper", "count", "square"):
            kept = getattr(self, name)[np.maximum(rows, 0)]
            kept[rows < 0] = 0.0
            setattr(self, name, kept)
