"""Whether a challenger is really better: a paired bootstrap, a margin, and hysteresis. Pure.

Pairs are series (each the mean of its origins), or origins where there are few series: the
forecasts of one series are too alike to be counted one by one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.forecasting.training.origins import FEW_SERIES

F64 = NDArray[np.float64]

#: chance that a round promotes a challenger that is no better, shared among all challengers of an arena
ERROR: Final = 0.05
SAMPLES: Final = 2000
#: pairs that any decision needs
FEW_PAIRS: Final = 6


class Verdict(Struct, frozen=True):
    """``gain`` is the part of its error that the challenger saves, ``lower`` the least that this can be believed to be.

    Both are of the mean scaled CRPS over ``series``; ``pairs`` is what was resampled.
    """

    score: float
    versus: float
    gain: float
    lower: float
    series: int
    pairs: int

    def better(self, margin: float) -> bool:
        """Whether the challenger wins: surely better, and by the margin."""
        return self.pairs >= FEW_PAIRS and self.lower > 0 and self.gain >= margin


def compare(challenger: F64, served: F64, *, challengers: int, seed: int) -> Verdict:
    """The verdict over what both were scored on: (S, O) scaled CRPS each, NaN for what was not.

    Where the challenger said nothing usable on a series that it reached, the served model
    would have spoken: it counts as equal there.
    """
    reached = np.isfinite(challenger).any(axis=1) & np.isfinite(served).any(axis=1)
    mine = np.where(np.isfinite(challenger), challenger, served)[reached]
    theirs = np.where(np.isfinite(served), served, np.nan)[reached]
    mine = np.where(np.isfinite(theirs), mine, np.nan)
    axis = 1 if len(mine) >= FEW_SERIES else 0
    a, b = _mean(mine, axis), _mean(theirs, axis)
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    if not len(a) or not b.mean() > 0:
        return Verdict(np.nan, np.nan, 0.0, -np.inf, int(reached.sum()), 0)
    chosen = np.random.default_rng(seed).integers(0, len(a), (SAMPLES, len(a)))
    gains = 1 - a[chosen].mean(axis=1) / np.maximum(b[chosen].mean(axis=1), 1e-12)
    lower = float(np.quantile(gains, ERROR / max(1, challengers)))
    gain = float(1 - a.mean() / b.mean())
    return Verdict(float(a.mean()), float(b.mean()), gain, lower, int(reached.sum()), len(a))


def _mean(values: F64, axis: int) -> F64:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=axis) / known.sum(axis=axis))
