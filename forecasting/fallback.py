"""The forecast of last resort, in the daemon itself: the last value, and how far values stray from it.

Needs numpy only, so that the daemon can always forecast, whatever became of the worker.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.calibrate import scores
from sidestep.forecasting.recent import INDEPENDENT, Recent

F32 = NDArray[np.float32]

#: no more differences than this make a spread surer
SURE: Final = 30.0


def persistence(recent: Recent, levels: tuple[float, ...]) -> F32:
    """(S, B, Q) quantiles at the lags of ``recent``; NaN for a series never seen."""
    spread = _strays(recent)
    number = np.minimum(recent.count[0], SURE) if len(recent.count) else np.zeros(len(recent.last))
    # a handful of different numbers, so the scores are looked up and not worked out for every series
    many = np.arange(SURE + 1, dtype=np.float64)
    z = scores(levels, many + 2.0).astype(np.float32)[np.floor(number).astype(np.int64)]
    found = spread.T[:, :, None] * z[:, None, :]
    found += recent.last[:, None, None]
    return np.maximum(found, 0.0, out=found)


def _strays(recent: Recent) -> F32:
    """(B, S) spread of the errors that persistence made, a tenth of the value before there were any.

    Neighbouring errors overlap, so a history holds only so many independent ones: what they
    do not settle is that of the shorter horizon before.
    """
    before = np.square(np.float32(0.1) * np.nan_to_num(recent.last))
    found = np.empty_like(recent.square)
    for b, lag in enumerate(recent.lags):
        trust = np.minimum(recent.count[b] / np.float32(lag * INDEPENDENT), np.float32(1))
        mixed = recent.square[b] * trust + before * (1 - trust)
        before = mixed if b == 0 else np.maximum(before, mixed)
        found[b] = np.sqrt(before)
    return found
