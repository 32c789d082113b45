"""How good forecasts were: scaled CRPS, coverage, and how sure that is.

The ruler of a series at an origin is its standard deviation over the two days before the
origin; where fewer than ``ENOUGH`` values are known there, or they do not move, over all that is
known of the series, and never less than a hundredth of that. A ruler may look ahead: no
contender sees it, and it is the same one for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

LEVELS: Final = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99)
#: of the horizons 1 to 30, the ones that are scored
KNOTS: Final = (1, 2, 3, 5, 8, 12, 18, 27, 30)
ENOUGH: Final = 24
LEAST: Final = 0.01
#: keeps a ratio of two perfect scores at 1
TINY: Final = 1e-6


@dataclass(frozen=True)
class Scores:
    """Per series (S,): mean scaled CRPS, share of outcomes in the 80 % and 95 % bands; NaN where nothing was scored.

    ``fair80`` and ``fair95`` count an outcome that equals a band's end, or several quantiles at
    once, by the share of its levels that lie in the band: of a series that mostly stands
    still a perfect forecast has plain coverage near 1, and fair coverage of 0.8.
    """

    crps: F64
    cover80: F64
    cover95: F64
    fair80: F64
    fair95: F64

    @property
    def median(self) -> float:
        """The group's scaled CRPS: the median over its series."""
        return float(np.nanmedian(self.crps)) if np.isfinite(self.crps).any() else float("nan")

    @property
    def mean(self) -> float:
        """The mean over its series."""
        return float(np.nanmean(self.crps)) if np.isfinite(self.crps).any() else float("nan")


def rulers(values: F64, origins: I64, day: int) -> F64:
    """(O, S) by what the errors of (T, S) at ``origins`` (steps seen) are divided; NaN for a constant series."""
    whole = _deviation(values)
    whole = np.where(whole > 0, whole, np.nan)
    found = np.empty((len(origins), values.shape[1]))
    for at, origin in enumerate(origins.tolist()):
        recent = values[max(0, origin - 2 * day) : origin]
        near = _deviation(recent)
        enough = (np.isfinite(recent).sum(axis=0) >= ENOUGH) & (near > 0)
        found[at] = np.where(enough, np.maximum(near, LEAST * whole), whole)
    return found


def _deviation(values: F64) -> F64:
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    found: F64 = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / count)
    return found


def truth_at(values: F64, origins: I64, horizons: I64) -> F64:
    """(O, S, B) what came ``horizons`` steps after the last of ``origins`` samples; NaN past the end."""
    places = origins[:, None] + horizons[None, :] - 1
    found = values[np.minimum(places, len(values) - 1)]
    found = np.where((places < len(values))[:, :, None], found, np.nan)
    return np.swapaxes(found, 1, 2)


def crps(truth: F64, found: F64, levels: F64) -> F64:
    """Twice the mean pinball loss over the levels: (...) from (...) and (..., Q). Unsaid quantiles count as 0."""
    error = truth[..., None] - np.nan_to_num(found, nan=0.0)
    loss: F64 = 2.0 * np.maximum(levels * error, (levels - 1.0) * error).mean(axis=-1)
    return loss


def inside(truth: F64, found: F64, low: int, high: int) -> F64:
    """1 where the truth is in the closed band of these columns, else 0; NaN where it is unknown."""
    hit = (truth >= found[..., low]) & (truth <= found[..., high])
    return np.where(np.isfinite(truth), hit.astype(np.float64), np.nan)


def inside_fair(truth: F64, found: F64, levels: F64, low: int, high: int) -> F64:
    """Like ``inside``, an outcome equal to quantiles spread evenly over their levels."""
    y = truth[..., None]
    below, upto = found < y, found <= y
    edges = np.concatenate([[0.0], levels, [1.0]])
    # the outcome's level lies between the last quantile below it and the first above it
    lower = edges[np.where(_tied(found, y), _first(found >= y) + 1, below.sum(axis=-1))]
    upper = edges[np.where(_tied(found, y), upto.sum(axis=-1), below.sum(axis=-1) + 1)]
    # an outcome tied with the outermost quantiles owns the tail beyond them
    lower = np.where(_tied(found, y) & (_first(found >= y) == 0), 0.0, lower)
    upper = np.where(_tied(found, y) & (upto.sum(axis=-1) == len(levels)), 1.0, upper)
    a, b = levels[low], levels[high]
    overlap = np.clip(np.minimum(upper, b) - np.maximum(lower, a), 0.0, None)
    width = upper - lower
    share = np.where(width > 0, overlap / np.where(width > 0, width, 1.0), (lower >= a) & (lower <= b))
    return np.where(np.isfinite(truth), share, np.nan)


def _tied(found: F64, y: F64) -> NDArray[np.bool_]:
    tied: NDArray[np.bool_] = (found == y).any(axis=-1)
    return tied


def _first(mask: NDArray[np.bool_]) -> I64:
    first: I64 = np.argmax(mask, axis=-1)
    return first


def score(truth: F64, found: F64, scale: F64, levels: tuple[float, ...] = LEVELS) -> Scores:
    """Scores per series from truth (O, S, B), quantiles (O, S, B, Q) and rulers (O, S)."""
    names = np.asarray(levels)
    with np.errstate(invalid="ignore"):
        scaled = crps(truth, found, names) / scale[:, :, None]
        at = {level: int(np.argmin(np.abs(names - level))) for level in (0.025, 0.1, 0.9, 0.975)}
        plain = [inside(truth, found, at[low], at[high]) for low, high in ((0.1, 0.9), (0.025, 0.975))]
        fair = [inside_fair(truth, found, names, at[low], at[high]) for low, high in ((0.1, 0.9), (0.025, 0.975))]
    usable = np.isfinite(scaled)
    parts = [_mean(np.where(usable, each, np.nan)) for each in (scaled, *plain, *fair)]
    return Scores(*parts)


def _mean(values: F64) -> F64:
    """Means over origins and horizons of (O, S, B), for each series."""
    known = np.isfinite(values)
    count = known.sum(axis=(0, 2))
    total = np.where(known, values, 0.0).sum(axis=(0, 2))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def ratio(ours: F64, theirs: F64, middle: Callable[..., np.floating] = np.nanmedian) -> float:
    """Median of ours over median of theirs, over the series that both have."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    if not both.any():
        return float("nan")
    return float((middle(ours[both]) + TINY) / (middle(theirs[both]) + TINY))


def interval(ours: F64, theirs: F64, machine: I64, draws: int = 400, seed: int = 3) -> tuple[float, float]:
    """The 95 % interval of ``ratio`` when machines are drawn anew; NaN with fewer than three machines."""
    names = np.unique(machine)
    if len(names) < 3:
        return float("nan"), float("nan")
    rows = [np.flatnonzero(machine == name) for name in names]
    random = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = np.concatenate([rows[at] for at in random.integers(len(rows), size=len(rows))])
        found.append(ratio(ours[drawn], theirs[drawn]))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)
