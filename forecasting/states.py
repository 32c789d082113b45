"""A bank of structural filters, one a series: level, damped slope and season.

Every row is a Kalman filter in units of its own noise: what
recursive least squares with exponential forgetting becomes when forgetting is written as
drift of the coefficients. Then the uncertainty of a row that misses values grows by itself,
a row that joins late starts wide, and nothing winds up where nothing is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: innovations beyond this many standard deviations are cut, unless they keep coming
SPIKE: Final = 3.5
#: so many cut innovations of one sign in a row are a change of level, not a spike
SHIFT: Final = 3
#: a row begins again from its first so many values: the very first may be a start-up, not a demand
WARMUP: Final = 5
#: no more memory of the noise level than so many values
MEMORY: Final = 120.0
#: weight of the first guess of the noise, in values
GUESS: Final = 2.0
#: a slope is followed for at most so many times the number of values that it was seen in
REACH: Final = 1.0
#: relative deviation that is assumed at least after the warm-up: few values may agree by chance
LEAST: Final = 0.03
#: relative floor of the noise, so that constant series stay finite
FLOOR: Final = 1e-6


@dataclass(frozen=True)
class Structure:
    """What all rows of a bank share: damping of the slope, season in steps (0 is none), harmonics."""

    damping: float
    season: float = 0.0
    harmonics: int = 0

    @property
    def size(self) -> int:
        """Coefficients of a row."""
        return 2 + 2 * self.waves

    @property
    def waves(self) -> int:
        """Harmonics that the season can carry: none without one, at most one for every 4 steps."""
        return min(self.harmonics, int(self.season // 4)) if self.season > 0 else 0

    def transition(self) -> F64:
        """(p, p) what one step of time does to the coefficients."""
        matrix = np.zeros((self.size, self.size))
        matrix[0, :2] = 1.0, self.damping
        matrix[1, 1] = self.damping
        for k in range(self.waves):
            angle = 2 * np.pi * (k + 1) / self.season
            at = 2 + 2 * k
            matrix[at : at + 2, at : at + 2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        return matrix

    def reading(self) -> F64:
        """(p,) how the coefficients make the present value."""
        row = np.zeros(self.size)
        row[0] = 1.0
        row[2::2] = 1.0
        return row

    def ahead(self, steps: NDArray[np.int64]) -> F64:
        """(T, p) how the coefficients make the value so many steps ahead."""
        h = steps.astype(np.float64)
        rows = np.zeros((len(steps), self.size))
        rows[:, 0] = 1.0
        d = self.damping
        rows[:, 1] = h if d == 1.0 else d * (1 - d**h) / (1 - d)
        for k in range(self.waves):
            angle = 2 * np.pi * (k + 1) / self.season * h
            rows[:, 2 + 2 * k], rows[:, 3 + 2 * k] = np.cos(angle), np.sin(angle)
        return rows

    def buildup(self, steps: NDArray[np.int64]) -> F64:
        """(T, p) how much of each coefficient's drift variance is in the value so many steps ahead."""
        rows = np.square(self.ahead(np.arange(int(steps.max(initial=1)))))
        return np.asarray(np.cumsum(rows, axis=0)[steps - 1])


class FilterBank:
    """``rows`` filters; ``drift`` and ``prior`` (p,) are variances in units of the noise variance."""

    def __init__(self, rows: int, structure: Structure, drift: F64, prior: F64) -> None:
        self.structure = structure
        self.drift = drift
        self.prior = prior
        self._step = structure.transition()
        self._read = structure.reading()
        self.theta = np.zeros((rows, structure.size))
        self.spread = np.tile(np.diag(prior), (rows, 1, 1))
        self.noise = np.zeros(rows)
        self.weight = np.zeros(rows)
        self.seen = np.zeros(rows)
        self.streak = np.zeros(rows)
        self.latest = np.full((rows, WARMUP), np.nan)

    def observe(self, values: F64) -> None:
        """Let one step pass, then learn ``values`` (rows,) where they are finite."""
        self.theta = self.theta @ self._step.T
        self.spread = self._step @ self.spread @ self._step.T + np.diag(self.drift)
        valid = np.isfinite(values)
        first = valid & (self.seen == 0)
        if first.any():
            self._begin(first, values)
        learn = valid & ~first
        cross = self.spread @ self._read
        total = 1.0 + cross @ self._read
        error = np.where(learn, values - self.theta @ self._read, 0.0)
        cut = self._cut(error, total, learn)
        gain = cross / total[:, None]
        self.theta += gain * cut[:, None]
        shrink = np.where(learn, 1.0 / total, 0.0)
        self.spread -= shrink[:, None, None] * cross[:, :, None] * cross[:, None, :]
        self._learn_noise(cut, total, learn, values)
        self.seen += valid
        self.latest[valid] = np.roll(self.latest[valid], -1, axis=1)
        self.latest[valid, -1] = values[valid]
        self._begin_again(valid)

    def _begin(self, first: NDArray[np.bool_], values: F64) -> None:
        self.theta[first] = 0.0
        self.theta[first, 0] = values[first]
        self.spread[first] = np.diag(self.prior)
        self.noise[first] = np.square(0.1 * np.abs(values[first])) + 1e-18
        self.weight[first] = GUESS

    def _begin_again(self, valid: NDArray[np.bool_]) -> None:
        """Start rows afresh after their warm-up and after a change of level.

        A shard that starts, and a host that lost or got one, make a step that no slope explains;
        what is left of the old level would be followed as a trend for a long time.
        """
        warm = valid & (self.seen == WARMUP)
        shifted = valid & (np.abs(self.streak) == SHIFT)
        again = warm | shifted
        if not again.any():
            return
        level = np.where(warm, np.median(self.latest, axis=1), np.median(self.latest[:, -SHIFT:], axis=1))
        self.theta[again, 0] = level[again] - self.theta[again, 2:] @ self._read[2:]
        self.theta[again, 1] = 0.0
        self.spread[again] = np.diag(self.prior)
        self.streak[again] = 0.0
        if warm.any():
            off = np.abs(self.latest[warm] - level[warm, None])
            robust = np.square(1.4826 * np.median(off, axis=1))
            self.noise[warm] = np.maximum(robust, np.square(LEAST * np.abs(level[warm]))) + 1e-18
            self.weight[warm] = GUESS + WARMUP

    def _cut(self, error: F64, total: F64, learn: NDArray[np.bool_]) -> F64:
        """The innovation, cut where it is a lone spike."""
        scale = SPIKE * np.sqrt(total * self.noise)
        over = learn & (np.abs(error) > scale) & (self.seen >= WARMUP)
        sign = np.sign(error)
        same = over & (np.sign(self.streak) == sign)
        self.streak = np.where(over, np.where(same, self.streak + sign, sign), np.where(learn, 0.0, self.streak))
        return np.where(over & (np.abs(self.streak) < SHIFT), np.clip(error, -scale, scale), error)

    def _learn_noise(self, cut: F64, total: F64, learn: NDArray[np.bool_], values: F64) -> None:
        limit = np.square(2 * SPIKE) * self.noise
        square = np.minimum(np.square(cut) / total, np.where(self.seen >= WARMUP, limit, np.inf))
        weight = np.minimum(self.weight + 1.0, MEMORY)
        # Newer values weigh more, so that the first guess is soon forgotten.
        moved = self.noise + (square - self.noise) * 2.0 / (weight + 1.0)
        floor = np.square(FLOOR * np.abs(np.nan_to_num(values))) + 1e-18
        self.noise = np.where(learn, np.maximum(moved, floor), self.noise)
        self.weight = np.where(learn, weight, self.weight)

    def mean(self, steps: NDArray[np.int64]) -> F64:
        """(rows, T) the value so many steps ahead; no slope is followed for longer than the row was seen."""
        ahead = self.structure.ahead(steps)
        sloped = self.theta[:, 1:2] * np.minimum(ahead[:, 1], REACH * self.seen[:, None])
        ahead[:, 1] = 0.0
        return np.asarray(self.theta @ ahead.T + sloped)

    def variance(self, steps: NDArray[np.int64]) -> F64:
        """(rows, T) of the value itself, noise and drift until then included, in the value's unit squared."""
        ahead = self.structure.ahead(steps)
        size = self.structure.size
        pairs = (ahead[:, :, None] * ahead[:, None, :]).reshape(len(steps), size * size)
        inner = self.spread.reshape(-1, size * size) @ pairs.T
        drifted = self.structure.buildup(steps) @ self.drift
        return np.asarray((inner + drifted + 1.0) * self.noise[:, None])

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder rows; -1 makes one that has seen nothing."""
        fresh = FilterBank(len(rows), self.structure, self.drift, self.prior)
        old = rows >= 0
        for name in ("theta", "spread", "noise", "weight", "seen", "streak", "latest"):
            made = getattr(fresh, name)
            made[old] = getattr(self, name)[rows[old]]
            setattr(self, name, made)
