"""Whether a series can be forecast, and when to stop relying on its forecasts (S5.22). Pure.

A forecast is worth something if its median beats persistence *and* its quantiles beat what
is usual of the series; a random walk fails the first, noise the second. docs/accuracy.md
says the rule in words, with the numbers below.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: forecasts this much better than both simple rules count as full marks
FULL: Final = 0.4
#: how often the farthest horizon must have been scored before what was measured counts, and counts most
ENOUGH: Final = 10.0
PLENTY: Final = 30.0
#: the most that measured worth weighs beside the structure of the series
TRUST: Final = 0.6
#: structure that nine in ten series of noise stay below, and that of a clear rhythm
NOISE: Final = 0.025
CLEAR: Final = 0.2
#: how far the 80 % band may be off before worth is doubted, and where nothing of it is left
LOOSE: Final = 0.12
BROKEN: Final = 0.5
#: reactive below the first, and no longer above the second; a wrong one costs foresight, so they are low
LOW: Final = 0.06
HIGH: Final = 0.14
#: nor is a forecast set aside that was measured to be worth more than this
NOTHING: Final = 0.03
#: a series whose persistence errs by less than this share of its level is still: nothing needs to be foreseen
STILL: Final = 0.01


def worth(error: Array, plain: Array, loss: Array, usual: Array) -> Array:
    """By how much forecasts beat the better one of persistence and the usual quantiles; at most 1.

    Arguments are means over horizons, (S,): absolute error of the median and of persistence,
    pinball loss of the forecast and of the usual quantiles.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        point = np.where(plain > 0, 1 - error / plain, np.where(error > 0, -1.0, 1.0))
        whole = np.where(usual > 0, 1 - loss / usual, np.where(loss > 0, -1.0, 1.0))
    return np.minimum(point, whole)


def forecastability(worth: Array, coverage: Array, number: Array, structure: Array, still: Array) -> Array:
    """(S,) 0..1: measured worth and the structure of the series, by how much was measured; NaN while neither is known.

    ``coverage`` is that of the 80 % band, ``number`` how often the farthest horizon was scored.
    """
    measured = np.clip(worth / FULL, 0, 1) * np.clip(1 - (np.abs(coverage - 0.8) - LOOSE) / (BROKEN - LOOSE), 0, 1)
    seen = np.clip((structure - NOISE) / (CLEAR - NOISE), 0, 1)
    known = (number >= ENOUGH) & np.isfinite(measured)
    weight = np.where(known, TRUST * np.minimum(1, number / PLENTY), 0.0)
    # without a spectrum what was measured stands alone
    weight = np.where(known & ~np.isfinite(seen), 1.0, weight)
    parts = np.where(weight > 0, weight * measured, 0.0) + np.where(weight < 1, (1 - weight) * seen, 0.0)
    return np.where(known & still, 1.0, parts)


def reactive(before: NDArray[np.bool_], chance: Array, worth: Array, number: Array) -> NDArray[np.bool_]:
    """(S,) which series only their measured values count of, after ``before``; with hysteresis.

    Never for lack of evidence: below ``ENOUGH`` scores nothing changes.
    """
    enough = (number >= ENOUGH) & np.isfinite(worth) & np.isfinite(chance)
    begins = enough & (chance < LOW) & (worth < NOTHING)
    ends = enough & (chance > HIGH)
    return (before | begins) & ~ends
