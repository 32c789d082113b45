"""What is usual of a series: running quantiles, the forecast of somebody who only knows its past.

A forecast that is no better than these says nothing about *when*. They are followed by
small steps (Robbins and Monro), larger while little was seen, so that they need no window.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from sidestep.forecasting.accounting.held import F32, Rows, taken

#: how far a quantile moves at least, as a share of the typical deviation
_RATE: Final = np.float32(0.02)
#: while little was seen it moves by this over the number of steps seen, at most by half
_EAGER: Final = np.float32(8.0)
_MOST: Final = 65535


class Usual:
    """Running quantiles at ``levels`` (Q,), and the mean distance from the median, of every series."""

    def __init__(self, series: int, levels: tuple[float, ...]) -> None:
        self._levels = np.array(levels, np.float32)[:, None]
        self._middle = levels.index(0.5)
        self.quantiles = np.zeros((len(levels), series), np.float32)
        #: mean distance from the median
        self.scale = np.zeros(series, np.float32)
        self.seen = np.zeros(series, np.uint16)

    @property
    def median(self) -> F32:
        """(S,) the running median."""
        found: F32 = self.quantiles[self._middle]
        return found

    def observe(self, truth: F32) -> None:
        """Learn one value of every series; NaN is none."""
        known = np.isfinite(truth)
        whole = bool(known.all())
        if bool((self.seen == 0).any()):
            first = known & (self.seen == 0)
            self.quantiles[:, first] = truth[first]
        away = np.abs(truth - self.median)
        count = self.seen.astype(np.float32)
        rate = np.maximum(_RATE, np.minimum(np.float32(0.5), _EAGER / (count + 1)))
        slow = np.maximum(_RATE, 1 / (count + 1))
        if not whole:
            rate, slow = np.where(known, rate, np.float32(0)), np.where(known, slow, np.float32(0))
            away = np.where(known, away, np.float32(0))
        self.scale += slow * (away - self.scale)
        # NaN is not below anything, and its rate is 0
        rate *= self.scale
        step = self._levels * rate
        np.subtract(step, rate, out=step, where=truth < self.quantiles)
        self.quantiles += step
        self.seen += known & (self.seen < _MOST)

    def select(self, rows: Rows) -> None:
        """Keep and reorder series; -1 is one of which nothing was seen."""
        self.quantiles = taken(self.quantiles, rows, 0)
        self.scale = taken(self.scale, rows, 0)
        self.seen = taken(self.seen, rows, 0)
