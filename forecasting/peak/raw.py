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

#: where a tail ends
LEAST: Final = 1e-6
#: stands for infinity where differences are taken
_HUGE: Final = 1e30


def raw_chance(
    peaks: NDArray[np.floating],
    windows: tuple[int, ...] | NDArray[np.int64],
    curves: NDArray[np.floating],
    levels: tuple[float, ...],
    limit: F64,
    window: int,
    duration: int,
    at: NDArray[np.int64] | None = None,
) -> F64:
    """(n,) chance that demand is above ``limit`` for ``duration`` steps running within the next ``window``.

    ``peaks`` (n, W, Q) are quantiles of the maximum over ``windows`` (W,) steps, empty or NaN where
    the model has none; ``curves`` (n, T, Q) are those of every single step, or of the steps ``at``
    (T,) with lines between them, which is enough for a duration of one step. Never rises with the
    limit or the duration, never falls with the window. NaN where the curves are unknown; no
    demand is above a limit that is NaN or infinite.
    """
    if duration <= 1 and np.isfinite(curves).all():
        top = _highest(curves[:, : max(1, min(window, curves.shape[1]))], levels)
        exact = np.flatnonzero(np.asarray(windows) == window)
        if peaks.size and len(exact) and np.isfinite(peaks).all():
            return _read(np.maximum(top, _highest(peaks[:, : exact[0] + 1], levels)), levels, limit)
        longer = _stretched(np.asarray(peaks, np.float64), levels) if peaks.size else np.asarray(peaks, np.float64)
        return _read(np.asarray(np.fmax(top, _maximum(longer, np.asarray(windows), window))), levels, limit)
    longer = _stretched(np.asarray(peaks, np.float64), levels) if peaks.size else np.asarray(peaks, np.float64)
    held = _held(longer, windows, _stretched(np.asarray(curves), levels), window, duration)
    return _read(held, levels, limit)


def at_knots(curves: NDArray[np.floating], knots: NDArray[np.int64], window: int) -> NDArray[np.floating]:
    """(n, B', Q) of (n, B, Q) at ``knots``: those within the window and its last step, which is on a line.

    All that ``raw_chance`` needs of the curves where demand need not last: lines are highest at their ends.
    """
    count = int(np.searchsorted(knots, window, side="right"))
    if count in {0, len(knots)} or knots[count - 1] == window:
        return curves[:, : max(1, count)]
    part = (window - int(knots[count - 1])) / int(knots[count] - knots[count - 1])
    found = curves[:, : count + 1].copy()
    found[:, count] = curves[:, count - 1] * (1 - part) + curves[:, count] * part
    return found


def above(quantiles: NDArray[np.floating], levels: tuple[float, ...], limit: F64) -> F64:
    """(n,) chance of a value above ``limit`` (n,) by ``quantiles`` (n, Q), with exponential tails."""
    return _read(_stretched(np.asarray(quantiles, np.float64), levels), levels, limit)


def _stretched(quantiles: NDArray[np.floating], levels: tuple[float, ...]) -> NDArray[np.floating]:
    """(..., Q + 2) with a level at ``LEAST`` on each side, where exponential tails lead.

    A tail goes on as the last two levels have begun. Made before anything is compared, so that
    whatever is higher at every level stays so in the tails.
    """
    values = np.clip(np.maximum.accumulate(quantiles, axis=-1), -_HUGE, _HUGE)
    below, beyond = _tails(levels)
    low = values[..., :1] - below * (values[..., 1:2] - values[..., :1])
    high = values[..., -1:] + beyond * (values[..., -1:] - values[..., -2:-1])
    return np.concatenate([low, values, high], axis=-1)


def _tails(levels: tuple[float, ...]) -> tuple[float, float]:
    """How often the distance between the last two levels fits between the last one and ``LEAST``, on both sides."""
    below = math.log(levels[0] / LEAST) / math.log(levels[1] / levels[0])
    return below, math.log((1 - levels[-1]) / LEAST) / math.log((1 - levels[-2]) / (1 - levels[-1]))


def _highest(curves: NDArray[np.floating], levels: tuple[float, ...]) -> F64:
    """(n, Q + 2) the highest over the steps of (n, T, Q), stretched: without a stretched copy of the whole."""
    below, beyond = _tails(levels)
    low = (curves[..., 0] - below * (curves[..., 1] - curves[..., 0])).max(axis=1)
    high = (curves[..., -1] + beyond * (curves[..., -1] - curves[..., -2])).max(axis=1)
    found = np.concatenate([low[:, None], _top(curves), high[:, None]], axis=1)
    return np.asarray(np.clip(np.maximum.accumulate(found, axis=1), -_HUGE, _HUGE), np.float64)


def _top(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """(n, Q) the highest over the steps of (n, T, Q), by halving: several times faster than over one short axis."""
    while values.shape[1] > 1:
        half = values.shape[1] // 2
        top = np.maximum(values[:, :half], values[:, half : 2 * half])
        if values.shape[1] % 2:
            np.maximum(top[:, :1], values[:, -1:], out=top[:, :1])
        values = top
    return values[:, 0]


def _read(values: NDArray[np.floating], levels: tuple[float, ...], limit: F64) -> F64:
    """(n,) of stretched quantiles: log-odds on lines between the levels, nothing beyond the last ones."""
    unknown: NDArray[np.bool_] = np.asarray(np.isnan(values).any(axis=1))
    known = np.isfinite(limit)
    edge = np.where(known, limit, 0.0)
    p = np.array([LEAST, *levels, 1 - LEAST])
    odds = np.log((1 - p) / p)
    rank = (values <= edge[:, None]).sum(axis=1)
    right = np.clip(rank, 1, len(p) - 1)
    each = np.arange(len(values))
    low, high = values[each, right - 1].astype(np.float64), values[each, right].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", under="ignore"):
        part = np.clip(np.where(high > low, (edge - low) / (high - low), 0.0), 0.0, 1.0)
        inside = 1 / (1 + np.exp(-(odds[right - 1] * (1 - part) + odds[right] * part)))
    chance = np.where(rank == len(p), 0.0, np.where(rank == 0, 1.0, inside))
    return np.where(unknown, np.nan, np.where(known, chance, 0.0))


def _held(
    peaks: NDArray[np.floating],
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


def _maximum(peaks: NDArray[np.floating], windows: NDArray[np.int64], window: int) -> F64 | float:
    """(n, Q) quantiles of the maximum over ``window`` steps, on a line between the known windows."""
    if peaks.size == 0 or window < windows[0]:
        return np.nan
    rising = np.maximum.accumulate(peaks, axis=1)
    right = int(np.searchsorted(windows, window))
    if right >= len(windows) or windows[right] == window:
        return np.asarray(rising[:, min(right, len(windows) - 1)])
    part = (window - int(windows[right - 1])) / int(windows[right] - windows[right - 1])
    return np.asarray(rising[:, right - 1] * (1 - part) + rising[:, right] * part)
