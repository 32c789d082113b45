"""Quantiles at other steps and other levels than those that are said."""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.network.features import KNOTS
from sidestep.forecasting.network.memory import F32, LEVELS

Steps = NDArray[np.int64]
Floats = NDArray[np.floating]

#: anchors beyond this are kept apart from float32, which ends at 3.4e38
LARGEST: Final = 1e37
MEDIAN: Final = LEVELS.index(0.5)
_KNOTS: Final = np.array(KNOTS)
_NORMAL: Final = np.array([NormalDist().inv_cdf(level) for level in LEVELS])


def along(values: F32, steps: Steps, places: NDArray[np.int64] = _KNOTS) -> F32:
    """(Q, T, S) of (Q, B, S): lines between the places, and beyond the last one wider with the root of time."""
    if len(steps) == len(places) and (steps == places).all():
        return values
    out = np.empty((len(values), len(steps), values.shape[2]), np.float32)
    for row, step in enumerate(steps.tolist()):
        right = int(np.clip(np.searchsorted(places, step), 1, len(places) - 1))
        left = right - 1
        part = np.float32(np.clip((step - places[left]) / (places[right] - places[left]), 0.0, 1.0))
        here = out[:, row]
        np.subtract(values[:, right], values[:, left], out=here)
        here *= part
        here += values[:, left]
        if step > places[-1]:
            middle = here[MEDIAN].copy()
            here -= middle
            here *= np.float32(np.sqrt(step / places[-1]))
            here += middle
    return out


def at_levels(values: F32, levels: tuple[float, ...]) -> F32:
    """(Q', T, S) of (Q, T, S) at other levels: lines in units of a normal variable, carried on beyond the outermost."""
    if levels == LEVELS:
        return values
    out = np.empty((len(levels), *values.shape[1:]), np.float32)
    for row, level in enumerate(levels):
        wanted = NormalDist().inv_cdf(level)
        right = int(np.clip(np.searchsorted(_NORMAL, wanted - 1e-9), 1, len(_NORMAL) - 1))
        part = np.float32((wanted - _NORMAL[right - 1]) / (_NORMAL[right] - _NORMAL[right - 1]))
        if abs(part - 1) < 1e-6:
            out[row] = values[right]
            continue
        np.subtract(values[right], values[right - 1], out=out[row])
        out[row] *= part
        out[row] += values[right - 1]
    return out


def precise(anchor: NDArray[np.float64]) -> type[np.floating]:
    """What values are told in: float32, as precise as distances from anchors are, unless an anchor is too large."""
    return np.float64 if (np.abs(anchor) > LARGEST).any() else np.float32


def absolute(values: F32, anchor: NDArray[np.float64], floor: float | None, out: Floats | None = None) -> Floats:
    """(S, T, Q) values of (Q, T, S) distances from the anchor (S,), not below the floor; in ``out`` if it is given."""
    if out is None:
        out = np.empty((values.shape[2], values.shape[1], len(values)), precise(anchor))
    out[:] = values.transpose(2, 1, 0)
    out += anchor.astype(out.dtype)[:, None, None]
    return out if floor is None else np.maximum(out, out.dtype.type(floor), out=out)
