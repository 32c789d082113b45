"""How long it takes until an instance serves, as measured, and how early that asks us to begin (S4.6)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: durations that are remembered of each pool
KEPT: Final = 64
#: durations from which the measured p95 counts alone
ENOUGH: Final = 8


class Durations:
    """The newest durations (s) of ``pools`` pools; before there are enough, ``assumed`` (P,) counts, too."""

    def __init__(self, pools: int, assumed: NDArray[np.floating]) -> None:
        self._ring = np.full((pools, KEPT), np.nan)
        self._count = np.zeros(pools, dtype=np.int64)
        self._assumed = np.asarray(assumed, dtype=np.float64)

    def add(self, pool: int, seconds: float) -> None:
        """One more was measured. Raises ValueError for what is no duration."""
        if not (np.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"{seconds} is no duration")
        self._ring[pool, self._count[pool] % KEPT] = seconds
        self._count[pool] += 1

    @property
    def measured(self) -> NDArray[np.int64]:
        """(P,) how many were measured."""
        return self._count.copy()

    def p95(self) -> F64:
        """(P,) the 95th percentile; at least what is assumed while fewer than ENOUGH were measured."""
        known = np.isfinite(self._ring)
        filled = np.where(known, self._ring, np.inf)
        rank = np.maximum(np.ceil(0.95 * known.sum(axis=1)).astype(np.int64) - 1, 0)
        found = np.sort(filled, axis=1)[np.arange(len(filled)), rank]
        few = self._count < ENOUGH
        return np.where(known.any(axis=1), np.where(few, np.maximum(found, self._assumed), found), self._assumed)


def reach(seconds: F64, margin: NDArray[np.floating], every: float) -> F64:
    """(P,) seconds from now on that a decision must cover: it takes so long to act, and the next one is that far."""
    return np.asarray(seconds + margin + every)


def steps_within(reached: F64, step: float, most: int) -> NDArray[np.int64]:
    """(P,) forecast steps (1..most) of ``step`` seconds that cover so many seconds, but for a twentieth of one."""
    return np.clip(np.ceil(reached / step - 0.05), 1, most).astype(np.int64)


def highest_within(quantiles: F64, steps: NDArray[np.int64]) -> F64:
    """(P, Q) of (P, T, Q): the highest of each quantile within the pool's first ``steps`` (P,) steps."""
    later = np.arange(quantiles.shape[1])[None, :, None] >= steps[:, None, None]
    return np.asarray(np.where(later, -np.inf, quantiles).max(axis=1))
