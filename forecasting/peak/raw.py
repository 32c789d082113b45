"""The chance of contention as the model alone says it: from quantiles of the window's maximum.

Quantiles of the maximum know what marginal ones do not: how many independent chances a window
has. For demand that must last they are lowered towards the highest level that is *held*.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: a tail is at least this share of the whole distribution's width
_NARROW: Final = 0.02


def raw_chance(
    peaks: NDArray[np.floating],
    windows: tuple[int, ...] | NDArray[np.int64],
    curves: NDArray[np.floating],
    levels: tuple[float, ...],
    limit: F64,
    window: int,
    duration: int,
) -> F64:
    """(n,) chance that demand is above ``limit`` for ``duration`` steps running within the next ``window``.

    ``peaks`` (n, W, Q) are quantiles of the maximum over ``windows`` (W,) steps, empty or NaN where
    the model has none; ``curves`` (n, T, Q) are those of every single step. Never rises with the
    limit or the duration, never falls with the window. NaN where the curves are unknown; no
    demand is above a limit that is NaN or infinite.
    """
    held = _held(np.asarray(peaks, np.float64), windows, np.asarray(curves), window, duration)
    return above(held, levels, limit)


def above(quantiles: F64, levels: tuple[float, ...], limit: F64) -> F64:
    """(n,) chance of a value above ``limit`` (n,) by ``quantiles`` (n, Q), with exponential tails.

    A tail goes on as the last two levels have begun, so that no finite limit is certain to hold.
    """
    values = np.maximum.accumulate(quantiles, axis=1)
    unknown: NDArray[np.bool_] = np.asarray(np.isnan(values).any(axis=1))
    values = np.where(unknown[:, None], 0.0, np.nan_to_num(values, posinf=1e300, neginf=-1e300))
    known = np.isfinite(limit)
    edge = np.where(known, limit, 0.0)
    p = np.asarray(levels)
    width = np.maximum(_NARROW * (values[:, -1] - values[:, 0]), 1e-12 * np.abs(values).max(axis=1) + 1e-300)
    upper = np.maximum((values[:, -1] - values[:, -2]) / math.log((1 - p[-2]) / (1 - p[-1])), width)
    lower = np.maximum((values[:, 1] - values[:, 0]) / math.log(p[1] / p[0]), width)
    rank = (values <= edge[:, None]).sum(axis=1)
    right = np.clip(rank, 1, len(p) - 1)
    each = np.arange(len(values))
    low, high = values[each, right - 1], values[each, right]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        part = np.where(high > low, (edge - low) / (high - low), 0.0)
        inside = 1 - p[right - 1] - np.clip(part, 0.0, 1.0) * (p[right] - p[right - 1])
        over = (1 - p[-1]) * np.exp(-np.maximum(edge - values[:, -1], 0.0) / upper)
        under = 1 - p[0] * np.exp(-np.maximum(values[:, 0] - edge, 0.0) / lower)
    chance = np.where(rank == len(p), over, np.where(rank == 0, under, inside))
    return np.where(unknown, np.nan, np.where(known, chance, 0.0))


def _held(
    peaks: F64,
    windows: tuple[int, ...] | NDArray[np.int64],
    curves: NDArray[np.floating],
    window: int,
    duration: int,
) -> F64:
    """(n, Q) quantiles of the highest level that is held for ``duration`` steps within ``window``.

    Between what the curves hold and the maximum, and nearer to the former the longer it must last:
    noise, by which the two differ, does not. Both never fall with the window, nor does this.
    """
    reach = max(1, min(window, curves.shape[1]))
    duration = max(1, min(duration, reach))
    inside = curves[:, :reach]
    held = _lowest(inside, duration).max(axis=1).astype(np.float64)
    top = np.fmax(inside.max(axis=1), _maximum(peaks, np.asarray(windows), window))
    return np.asarray(held + (top - held) / duration)


def _lowest(values: NDArray[np.floating], steps: int) -> NDArray[np.floating]:
    """(n, T - steps + 1, Q) the lowest of every ``steps`` neighbours, found by doubling."""
    width, found = 1, values
    while width < steps:
        more = min(width, steps - width)
        found = np.minimum(found[:, : found.shape[1] - more], found[:, more:])
        width += more
    return found


def _maximum(peaks: F64, windows: NDArray[np.int64], window: int) -> F64 | float:
    """(n, Q) quantiles of the maximum over ``window`` steps, on a line between the known windows."""
    if peaks.size == 0 or window < windows[0]:
        return np.nan
    rising = np.maximum.accumulate(peaks, axis=1)
    right = int(np.searchsorted(windows, window))
    if right >= len(windows) or windows[right] == window:
        return np.asarray(rising[:, min(right, len(windows) - 1)])
    part = (window - int(windows[right - 1])) / int(windows[right] - windows[right - 1])
    return np.asarray(rising[:, right - 1] * (1 - part) + rising[:, right] * part)
