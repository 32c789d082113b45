"""Whether the model that is served has lost touch with a fleet: four sequential charts a series, all at once.

One step ahead the truth must lie outside the model's 80 % band about as often as it used
to, as often above the median as below it, and as near to it: a model that widens its band
at once is calibrated and still worse than it was. Each chart is a CUSUM of the logarithm of a
likelihood ratio on such an indicator, so nothing is assumed of the values but that, and a
chart of independent indicators raises, by Lorden's bound, at most one false alarm in
``exp(LIMIT)`` steps on average. One series proves little: ``share`` of the fleet must agree.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: the quantiles that a caller says beforehand
LEVELS: Final = (0.1, 0.5, 0.9)
#: a chart above this raises an alarm: one in 20,000 steps of a series is false, or fewer
LIMIT: Final = math.log(20_000.0)
#: steps over which a series' usual share outside its band is averaged
MEMORY: Final = 500.0
#: steps of a series before its charts count: a new model's bands are still being learned
SETTLE: Final = 60
#: steps for which an alarm counts towards the fleet's share
RECENT: Final = 30
#: part of the series that must have raised an alarm of late, and how many at least
SHARE: Final = 0.2
FEW: Final = 3
_USUAL: Final = 0.2
#: a drift is so much more often outside of the band, or on one side of the median so often
_MORE: Final = 0.3
_ONE_SIDE: Final = 0.9
#: an error is large when one in ten was larger, over the last some hundred steps; a drift makes most of them large
_LARGE: Final = 0.1
_MOSTLY: Final = 0.6
_PACE: Final = 0.01


class Drift:
    """Charts of S series; ``observe`` one closed step after the other."""

    def __init__(self, series: int) -> None:
        self.series = series
        self._charts = np.zeros((4, series))
        self._usual = np.full(series, _USUAL)
        self._large = np.zeros(series)
        self._seen = np.zeros(series)
        self._since = np.full(series, np.inf)

    def observe(self, truth: F64, said: F64) -> Mask:
        """(S,) which series raise an alarm now. ``truth`` (S,); ``said`` (S, 3) quantiles at ``LEVELS``; NaN is none.

        A chart that raised one begins anew.
        """
        known = np.isfinite(truth) & np.isfinite(said).all(axis=1)
        self._seen += known
        counts = known & (self._seen > SETTLE)
        with np.errstate(invalid="ignore"):
            outside = (truth < said[:, 0]) | (truth > said[:, 2])
            # a constant series is neither above nor below
            above, below = truth > said[:, 1], truth < said[:, 1]
        usual = np.clip(self._usual, 0.1, 0.5)
        self._move(0, counts, outside, usual, np.minimum(usual + _MORE, 0.9))
        half = np.full(self.series, 0.5)
        self._move(1, counts, above, half, np.full(self.series, _ONE_SIDE))
        self._move(2, counts, below, half, np.full(self.series, _ONE_SIDE))
        self._move(3, counts, self._is_large(known, np.abs(truth - said[:, 1])), np.full(self.series, _LARGE),
                   np.full(self.series, _MOSTLY))  # fmt: skip
        rate = 1.0 / np.minimum(np.maximum(self._seen, 20.0), MEMORY)
        self._usual += np.where(known, (outside - self._usual) * rate, 0.0)
        alarm = (self._charts > LIMIT).any(axis=0)
        self._charts[:, alarm] = 0.0
        self._since = np.where(alarm, 0.0, self._since + 1.0)
        return np.asarray(alarm)

    def _is_large(self, known: Mask, error: F64) -> Mask:
        """Whether errors are larger than nine in ten were; the bound then moves a little to where that holds."""
        self._large = np.where(known & (self._large == 0), error, self._large)
        with np.errstate(invalid="ignore"):
            large = np.asarray(error > self._large)
        rate = np.maximum(_PACE, 1.0 / (1.0 + self._seen / 5))
        moved = self._large * np.exp(rate * (large - _LARGE))
        self._large = np.where(known, np.maximum(moved, 1e-12), self._large)
        return large

    def _move(self, chart: int, counts: Mask, hit: Mask, calm: F64, changed: F64) -> None:
        step = np.where(hit, np.log(changed / calm), np.log((1 - changed) / (1 - calm)))
        self._charts[chart] = np.where(counts, np.maximum(self._charts[chart] + step, 0.0), self._charts[chart])

    @property
    def watched(self) -> int:
        """How many series were seen long enough to be judged."""
        return int((self._seen > SETTLE).sum())

    @property
    def alarmed(self) -> int:
        """How many of them raised an alarm within the last ``RECENT`` steps."""
        return int((self._since < RECENT).sum())

    @property
    def drifted(self) -> bool:
        """Whether the fleet has drifted: enough series agree."""
        watched = self.watched
        return watched > 0 and self.alarmed >= max(min(FEW, watched), math.ceil(SHARE * watched))

    def settle(self) -> None:
        """Begin anew: the drift has been answered."""
        self._charts[:] = 0.0
        self._usual[:] = _USUAL
        self._seen[:] = 0.0
        self._large[:] = 0.0
        self._since[:] = np.inf
