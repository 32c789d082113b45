"""What the oracle says: quantiles for every host and shard, and the contention they predict.

``T`` steps of ``step`` seconds each follow ``time``; ``R`` is ``resources.PLANNED``
dimensions; ``Q`` is ``len(levels)``. Values are in the dimension's own unit (cores, bytes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.forecast_types import Account
from sidestep.fleet.labels import Label

F32 = NDArray[np.float32]

#: the quantile levels of every forecast; 0.5 and every policy quantile are among them
LEVELS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
MEDIAN: Final = LEVELS.index(0.5)

_NOTHING: Final[F32] = np.zeros((0, 0, 0, 0), np.float32)
_NEVER: Final[NDArray[np.bool_]] = np.zeros((0, 0), np.bool_)


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
    #: (H, R, T, Q) and (N, R, T, Q)
    hosts: F32
    shards: F32
    #: (N, R, T) for adding shards up with a common factor; see planning.uncertainty
    shard_mean: F32
    shard_sd: F32
    accounts: tuple[Account, ...] = ()
    #: steps ahead at which the following are known; between them lines do
    knots: tuple[int, ...] = ()
    #: (H, len(HOST_SERIES), B, Q) and (N, len(SHARD_SERIES), B, Q); empty from a model of last resort
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

    @property
    def steps(self) -> int:
        """T, the number of steps ahead."""
        return int(self.hosts.shape[2])
