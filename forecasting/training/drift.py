"""Whether the model that is served has lost touch with a fleet: four sequential charts a series, all at once.

One step ahead the truth must lie outside the model's 80 % band about as often as it used
to, as often above the median as below it, and as near to it: a model that widens its band
at once is calibrated and still worse than it was. Each chart is a CUSUM of the logarithm of a
likelihood ratio on such an indicator, so nothing is assumed of the values but that. Misses of
smooth or bursty series come in runs, without any drift: so the ratio is that of a chain in
which a miss depends on whether there was one before, with the series' own chances, and a
chart raises, by Lorden's bound, at most one false alarm in ``exp(LIMIT)`` steps on average as
far as these are known. One series proves little: ``share`` of the fleet must agree.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I8 = NDArray[np.int8]
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
#: the charts, and of each the chance of a hit in calm times and when drifted, as far as nothing is known of a series:
#: outside of the band, above the median, below it, and a large error (larger than nine in ten were)
_CALM: Final = np.array([0.2, 0.5, 0.5, 0.1])
#: the same after a hit: misses of many series come in runs, and that is found out before it is called a drift
_AFTER: Final = np.array([0.5, 0.75, 0.75, 0.5])
_CHANGED: Final = np.array([0.5, 0.9, 0.9, 0.6])
#: by how much the odds of a hit rise
_ODDS: Final = _CHANGED / (1 - _CHANGED) * (1 - _CALM) / _CALM
_OUTSIDE, _ABOVE, _BELOW, _LARGE_ERROR = range(4)
#: so many steps are as good as what is presumed; a chance is taken to be higher by so many of its deviations
_PRESUMED: Final = 10.0
_DOUBT: Final = 2.0
#: no chance is taken to be above this: one that always hits says nothing any more
_HIGHEST: Final = 0.9999
#: steps until what came of a step counts as usual: a drift must not explain itself
_LAG: Final = 40
#: values so near to a quantile are on it: they travel and are learned as f4
_ROUNDING: Final = 1e-6
_LARGE: Final = 0.1
_PACE: Final = 0.01


class Drift:
    """Charts of S series; ``observe`` one closed step after the other."""

    def __init__(self, series: int) -> None:
        self.series = series
        self.settle()

    def settle(self) -> None:
        """Begin anew: the drift has been answered."""
        series = self.series
        self._charts = np.zeros((4, series))
        self._large = np.zeros(series)
        self._seen = np.zeros(series)
        self._since = np.full(series, np.inf)
        self._hit = np.zeros((4, series), np.int8)
        #: (2, 4, S) steps that came after no hit and after one, and how many of them were hits
        self._steps = np.zeros((2, 4, series))
        self._hits = np.zeros((2, 4, series))
        self._waiting: deque[tuple[I8, I8, Mask]] = deque()

    def observe(self, truth: F64, said: F64) -> Mask:
        """(S,) which series raise an alarm now. ``truth`` (S,); ``said`` (S, 3) quantiles at ``LEVELS``; NaN is none.

        A chart that raised one begins anew.
        """
        known = np.isfinite(truth) & np.isfinite(said).all(axis=1)
        self._seen += known
        hit = self._indicators(known, truth, said)
        calm = self._chances()
        odds = calm / (1 - calm) * _ODDS[:, None]
        changed = odds / (1 + odds)
        step = np.where(hit, np.log(changed / calm), np.log((1 - changed) / (1 - calm)))
        moved = np.maximum(self._charts + step, 0.0)
        self._charts = np.where(known & (self._seen > SETTLE), moved, self._charts)
        self._learn(hit, known)
        alarm = (self._charts > LIMIT).any(axis=0)
        self._charts[:, alarm] = 0.0
        self._since = np.where(alarm, 0.0, self._since + 1.0)
        return np.asarray(alarm)

    def _indicators(self, known: Mask, truth: F64, said: F64) -> I8:
        """(4, S) 1 where a chart's indicator hits; what is on a quantile, as a constant series is, does not."""
        slack = _ROUNDING * np.abs(truth)
        hit = np.empty((4, self.series), np.int8)
        with np.errstate(invalid="ignore"):
            hit[_OUTSIDE] = (truth < said[:, 0] - slack) | (truth > said[:, 2] + slack)
            hit[_ABOVE] = truth > said[:, 1] + slack
            hit[_BELOW] = truth < said[:, 1] - slack
            error = np.abs(truth - said[:, 1])
            hit[_LARGE_ERROR] = self._is_large(known, np.where(error > slack, error, 0.0))
        return hit

    def _is_large(self, known: Mask, error: F64) -> Mask:
        """Whether errors are larger than nine in ten were; the bound then moves a little to where that holds."""
        self._large = np.where(known & (self._large == 0), error, self._large)
        with np.errstate(invalid="ignore"):
            large = np.asarray(error > self._large)
        rate = np.maximum(_PACE, 1.0 / (1.0 + self._seen / 5))
        moved = self._large * np.exp(rate * (large - _LARGE))
        self._large = np.where(known, np.maximum(moved, 1e-12), self._large)
        return large

    def _chances(self) -> F64:
        """(4, S) the chance of a hit in calm times, given whether there was one before; doubted upwards."""
        steps, hits = (np.where(self._hit, both[1], both[0]) for both in (self._steps, self._hits))
        number = steps + _PRESUMED
        presumed = np.where(self._hit, _AFTER[:, None], _CALM[:, None])
        chance = (hits + _PRESUMED * presumed) / number
        high = chance + _DOUBT * np.sqrt(chance * (1 - chance) / number)
        return np.asarray(np.clip(high, _CALM[:, None], _HIGHEST), np.float64)

    def _learn(self, hit: I8, known: Mask) -> None:
        """Count what came some steps ago; what came before that fades."""
        self._waiting.append((self._hit, hit, known))
        self._hit = np.where(known, hit, self._hit)
        if len(self._waiting) <= _LAG:
            return
        before, then, counts = self._waiting.popleft()
        for state in range(2):
            here = counts & (before == state)
            fade = np.where(here & (self._steps[state] >= MEMORY), 1 - 1 / MEMORY, 1.0)
            self._steps[state] = self._steps[state] * fade + here
            self._hits[state] = self._hits[state] * fade + (here & (then == 1))

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
