"""How good alarms are: onsets caught in time at a rate of false alarms, average precision, Brier skill.

Only instants count at which the series is not over, and was not during the three steps before:
to say then that it stays over is no foresight. False alarms are counted there, on instants after
which it did not come within the window. One height of the score holds for all series of a panel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.alarms_panels import Panel

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

CALM: Final = 3
FALSE: Final = (0.05, 0.01)


@dataclass(frozen=True)
class Truth:
    """What came, of a panel: (T, S) masks, and the onsets as (n, 2) step and series."""

    over: Mask
    #: instants that count, and whether it came within the window after them
    counts: Mask
    came: Mask
    onsets: NDArray[np.int64]

    @classmethod
    def of(cls, panel: Panel) -> Truth:
        """Look at the whole panel; instants without a whole window after them do not count."""
        with np.errstate(invalid="ignore"):
            over = panel.values > panel.limit
        came = np.zeros_like(over)
        for ahead in range(1, panel.window + 1):
            came[:-ahead] |= over[ahead:]
        counts = ~over & np.isfinite(panel.values)
        for back in range(1, CALM + 1):
            counts[back:] &= ~over[:-back]
        counts[: panel.begin] = False
        counts[len(over) - panel.window :] = False
        starts = np.argwhere(over[1:] & ~over[:-1]) + np.array([1, 0])
        starts = starts[starts[:, 0] >= panel.begin + panel.window]
        fresh = [not over[t - panel.window : t, s].any() for t, s in starts]
        return cls(over, counts, came, starts[np.array(fresh, np.bool_)] if len(starts) else starts)


def caught(score: F64, truth: Truth, panel: Panel, share: float) -> float:
    """The share of onsets with an alarm at least ``panel.lead`` steps before, within the window.

    The alarm's height is such that at most ``share`` of the uneventful instants raise it; a score that
    is the same nearly everywhere raises none there.
    """
    calm = score[truth.counts & ~truth.came & np.isfinite(score)]
    if not len(calm) or not len(truth.onsets):
        return float("nan")
    height = np.quantile(calm, 1 - share)
    if (calm >= height).mean() > share:
        height = np.nextafter(height, np.inf)
    alarms = np.nan_to_num(score, nan=-np.inf) >= height
    rows = truth.onsets[:, 0][:, None] - np.arange(panel.lead, panel.window + 1)
    return float(alarms[rows, truth.onsets[:, 1][:, None]].any(axis=1).mean())


def precision(score: F64, truth: Truth) -> float:
    """Average precision over the instants that count."""
    where = truth.counts & np.isfinite(score)
    order = np.argsort(-score[where], kind="stable")
    hits = truth.came[where][order]
    found = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((found * hits).sum() / max(1, hits.sum()))


def brier(chance: F64, truth: Truth) -> float:
    """Mean square of the error over the instants that count."""
    where = truth.counts & np.isfinite(chance)
    return float(np.square(chance[where] - truth.came[where]).mean())


def climatology(panel: Panel, truth: Truth, hours: int = 1, memory: float = 20.0) -> F64:
    """(T, S) how often it came so far after a calm instant, by hour of the day if ``hours`` > 1.

    Causal: what was said ``window`` steps ago is known by now. Begins at the mean of the series'
    own past, and at the fleet's with the weight of ``memory`` instants.
    """
    calm = ~truth.over & np.isfinite(panel.values)
    hit = truth.came & calm
    known, count = np.zeros_like(panel.values), np.zeros_like(panel.values)
    known[panel.window :] = np.cumsum(hit, axis=0)[: -panel.window]
    count[panel.window :] = np.cumsum(calm, axis=0)[: -panel.window]
    fleet = known.sum(axis=1, keepdims=True) / np.maximum(count.sum(axis=1, keepdims=True), 1)
    rate: F64 = np.asarray((known + memory * fleet) / (count + memory), dtype=np.float64)
    if hours == 1:
        return rate
    slot = np.arange(len(hit)) % panel.day * hours // panel.day
    found: F64 = np.empty(rate.shape)
    weight = 2.0 * panel.window
    for hour in range(hours):
        rows = np.flatnonzero(slot == hour)
        here = np.zeros_like(hit)
        here[rows] = True
        some, all_ = (np.zeros_like(rate) for _ in range(2))
        some[panel.window :] = np.cumsum(hit & here, axis=0)[: -panel.window]
        all_[panel.window :] = np.cumsum(calm & here, axis=0)[: -panel.window]
        found[rows] = (some[rows] + weight * rate[rows]) / (all_[rows] + weight)
    return found
