"""How right chances were, per series: Brier scores against the climatology, and whether they are proven."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: independent windows and events that a proof rests on, at least
WINDOWS: Final = 20.0
EVENTS: Final = 3.0
#: a proof holds until the skill itself, not its bound, is gone
CONFIDENCE: Final = 1.0
#: independent windows that are remembered
MEMORY: Final = 1000.0
#: windows' worth of the fleet's own spread of scores that a series' is shrunken with
_SHRUNK: Final = 10.0


class Record:
    """Discounted sums over what came due; overlapping windows count as their ``share`` of one."""

    def __init__(self, rows: int, share: float) -> None:
        self._share = share
        self._sums = np.zeros((5, rows))
        self.proven: Mask = np.zeros(rows, np.bool_)

    @property
    def windows(self) -> F64:
        """(n,) independent windows that were scored."""
        return np.asarray(self._sums[0])

    @property
    def events(self) -> F64:
        """(n,) of them those in which it came."""
        return np.asarray(self._sums[1])

    def learn(self, said: F64, plain: F64, came: Mask, where: Mask) -> None:
        """Score ``said`` and the climatology ``plain`` (n,) where something came due, and judge these series."""
        truth = came.astype(np.float64)
        gain = np.square(plain - truth) - np.square(said - truth)
        each = np.stack([np.ones(len(truth)), truth, gain, np.square(gain), np.square(plain - truth)])
        fade = np.where(where, 1 - self._share / MEMORY, 1.0)
        self._sums = self._sums * fade + self._share * np.where(where, each, 0.0)
        self._judge(where)

    def skill(self) -> F64:
        """(n,) Brier skill against the climatology; NaN where nothing was scored or nothing could be gained."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(self._sums[4] > 0, self._sums[2] / self._sums[4], np.nan))

    def _judge(self, where: Mask) -> None:
        windows, events, gain, square, _ = self._sums
        total = max(float(windows.sum()), 1e-9)
        spread = float(square.sum()) / total
        number = np.maximum(windows, 1e-9)
        mean = gain / number
        variance = (square + _SHRUNK * spread) / (number + _SHRUNK) - np.square(mean)
        bound = mean - CONFIDENCE * np.sqrt(np.maximum(variance, 0.0) / number)
        enough = (windows >= WINDOWS) & (events >= EVENTS)
        good = np.where(self.proven, enough & (mean > 0), enough & (bound > 0))
        self.proven = np.where(where, good, self.proven)

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder series; -1 is one without a record."""
        sums, proven = np.zeros((5, len(rows))), np.zeros(len(rows), np.bool_)
        kept = rows >= 0
        sums[:, kept], proven[kept] = self._sums[:, rows[kept]], self.proven[rows[kept]]
        self._sums, self.proven = sums, proven
