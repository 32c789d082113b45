"""What the oracle says: quantiles for every host and shard, and the contention they predict.

``T`` steps of ``step`` seconds each follow ``time``; ``R`` is ``resources.PLANNED``
dimensions; ``Q`` is ``len(levels)``. Values are in the dimension's own unit (cores, bytes).
Everything is said at ``B`` knots; what is looked at often is there at every step as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.forecast_types import Account
from sidestep.fleet.labels import Label
from sidestep.fleet.resources import PLANNED

F32 = NDArray[np.float32]

#: the quantile levels of every forecast; 0.5 and every policy quantile are among them
LEVELS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
MEDIAN: Final = LEVELS.index(0.5)

_NOTHING: Final[F32] = np.zeros((0, 0, 0, 0), np.float32)
_NEVER: Final[NDArray[np.bool_]] = np.zeros((0, 0), np.bool_)
_NORMAL: Final[F32] = np.array([NormalDist().inv_cdf(level) for level in LEVELS], np.float32)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One run of the oracle over the whole panel."""

    id: str
    snapshot: int
    time: float
    step: float
    model: Label
    #: "ok", or "insufficient" until enough windows were seen
    confidence: str
    #: "" or why a fallback model is being served
    fallback: Label
    #: (H, R, T, Q)
    hosts: F32
    #: (N, R, T) for adding shards up with a common factor; see planning.uncertainty
    shard_mean: F32
    shard_sd: F32
    accounts: tuple[Account, ...] = ()
    #: steps ahead at which the following are known; between them lines do
    knots: tuple[int, ...] = ()
    #: (H, len(HOST_SERIES), B, Q) and (N, len(SHARD_SERIES), B, Q)
    host_knots: F32 = field(default_factory=lambda: _NOTHING)
    shard_knots: F32 = field(default_factory=lambda: _NOTHING)
    #: lengths in steps of the windows of ``host_peaks``, ascending
    windows: tuple[int, ...] = ()
    #: (H, len(HOST_SERIES), W, Q) quantiles of the highest value within the next ``windows`` steps
    host_peaks: F32 = field(default_factory=lambda: _NOTHING)
    #: (H, PLANNED) calibrated chance of contention within the horizon, NaN where none can be said
    chance: F32 = field(default_factory=lambda: _NOTHING)
    #: (H, PLANNED) whether such chances have beaten the climatology on this very series
    proven: NDArray[np.bool_] = field(default_factory=lambda: _NEVER)
    #: (H, PLANNED) whether the series cannot be forecast, so that only what is measured counts (S5.22)
    reactive: NDArray[np.bool_] = field(default_factory=lambda: _NEVER)
    #: (H, PLANNED) whether demand has been above its limit for the minimum duration by now: no forecast, but a fact
    held: NDArray[np.bool_] = field(default_factory=lambda: _NEVER)
    #: correlation of shards' forecast errors as it was measured, NaN until then; see planning.uncertainty
    rho: float = math.nan
    #: (series, model) where another model than ``model`` is served
    served: tuple[tuple[str, str], ...] = ()

    @property
    def steps(self) -> int:
        """T, the number of steps ahead."""
        return int(self.hosts.shape[2])

    def shards_over(self, rows: NDArray[np.int64], columns: int = PLANNED) -> F32:
        """(n, columns, T, Q) of these shards at every step: made when asked for, it would be large for all of them."""
        return np.stack([self.shards_at(ahead, rows)[:, :columns] for ahead in range(1, self.steps + 1)], axis=2)

    def shards_at(self, ahead: int, rows: NDArray[np.int64] | slice = slice(None)) -> F32:
        """(n, len(SHARD_SERIES), Q) of these shards, ``ahead`` steps (1..T) from now.

        Of a forecast without knots (n, R, Q), read off a normal distribution.
        """
        ahead = min(max(1, ahead), self.steps)
        if self.shard_knots.size:
            return self._between(self.shard_knots[rows], ahead)
        at = min(ahead, self.shard_mean.shape[2]) - 1
        mean, spread = self.shard_mean[rows, :, at], self.shard_sd[rows, :, at]
        return np.asarray(mean[..., None] + spread[..., None] * _NORMAL, dtype=np.float32)

    def _between(self, values: F32, ahead: int) -> F32:
        """(..., Q) of (..., B, Q): on the line between two knots, flat beyond them."""
        right = int(np.searchsorted(self.knots, ahead))
        if right >= len(self.knots) or right == 0 or self.knots[right] == ahead:
            return np.asarray(values[:, :, min(right, len(self.knots) - 1)])
        left, end = self.knots[right - 1], self.knots[right]
        part = np.float32((ahead - left) / (end - left))
        return np.asarray(values[:, :, right - 1] * (1 - part) + values[:, :, right] * part)
