"""Scores as columns, and the formulas that make them from discounted sums. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

#: the levels of every forecast that is scored: two bands and the median
LEVELS: Final = (0.025, 0.1, 0.5, 0.9, 0.975)
#: no skill is worse than this, so that one still series cannot drown the others
WORST: Final = -10.0
#: differences below this share of a value are the rounding of float32
ROUNDING: Final = np.float32(1e-6)


@dataclass(frozen=True)
class Scores:
    """What forecasts were worth lately: every column is (S, B) float32, NaN where nothing was scored.

    ``n`` is how many forecasts count (discounted). ``skill`` is 1 - error / error of
    persistence; ``coverage80`` and ``coverage95`` the shares inside the bands; ``pinball``
    twice the mean pinball loss over ``LEVELS`` in typical deviations of the series, so that
    series of any unit can be pooled; ``error`` the mean absolute error of the median and
    ``bias`` the mean of what was said minus what came, both in the series' own unit.
    """

    horizons: NDArray[np.int64]
    n: F32
    skill: F32
    coverage80: F32
    coverage95: F32
    pinball: F32
    error: F32
    bias: F32

    def columns(self) -> F32:
        """(S, B, 7) in the order of the fields."""
        parts = (self.n, self.skill, self.coverage80, self.coverage95, self.pinball, self.error, self.bias)
        return np.stack(parts, axis=-1)


def skill_of(error: NDArray[Any], plain: NDArray[Any], number: NDArray[Any]) -> NDArray[Any]:
    """1 - error / error of persistence, at least ``WORST``; NaN without a number.

    Of a series that did not change persistence makes no error: the same is 0, any other is ``WORST``.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        skill = np.where(plain > 0, 1 - error / plain, np.where(error > 0, WORST, 0.0))
    return np.where(number > 0, np.maximum(skill, WORST), np.nan)


def ratio(total: NDArray[Any], number: NDArray[Any]) -> NDArray[Any]:
    """total / number, NaN where the number is 0; 0 / 0 too."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0, total / np.where(number > 0, number, 1), np.nan)


def scaled(total: NDArray[Any], number: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any]:
    """Mean loss in units of ``scale``; 0 where there was no loss, NaN where there was but no scale to hold it to."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(total > 0, total / (number * scale), 0.0)
    return np.where((number > 0) & np.isfinite(found), found, np.nan)


def median(values: NDArray[Any]) -> float:
    """The median of what is known, NaN of nothing."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def pinball(away: F32, level: float) -> F32:
    """The loss of a quantile that the truth missed by ``away`` (truth - quantile)."""
    found: F32 = np.maximum(np.float32(level) * away, np.float32(level - 1) * away)
    return found
