"""Quantiles at other steps and other levels than those that are said."""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.network.features import KNOTS
from sidestep.forecasting.network.memory import F32, LEVELS

F64 = NDArray[np.float64]
Steps = NDArray[np.int64]

MEDIAN: Final = LEVELS.index(0.5)
_KNOTS: Final = np.array(KNOTS)
_NORMAL: Final = np.array([NormalDist().inv_cdf(level) for level in LEVELS])


def along(values: F32, steps: Steps, places: NDArray[np.int64] = _KNOTS) -> F32:
    """(S, T, Q) of (S, B, Q): lines between the places, and beyond the last one wider with the root of time."""
    if len(steps) == len(places) and (steps == places).all():
        return values
    right = np.clip(np.searchsorted(places, steps), 1, len(places) - 1)
    left = right - 1
    part = np.clip((steps - places[left]) / (places[right] - places[left]), 0.0, 1.0).astype(np.float32)[:, None]
    found = values[:, left] * (1 - part) + values[:, right] * part
    beyond = steps > places[-1]
    if beyond.any():
        wider = np.sqrt(steps[beyond] / places[-1]).astype(np.float32)[None, :, None]
        middle = found[:, beyond][..., MEDIAN : MEDIAN + 1]
        found[:, beyond] = middle + (found[:, beyond] - middle) * wider
    return found


def at_levels(values: F32, levels: tuple[float, ...]) -> F64:
    """(..., Q) at other levels: lines between those known, in units of a normal variable; beyond them carried on."""
    if levels == LEVELS:
        return values.astype(np.float64)
    wanted = np.array([NormalDist().inv_cdf(level) for level in levels])
    right = np.clip(np.searchsorted(_NORMAL, wanted), 1, len(_NORMAL) - 1)
    part = (wanted - _NORMAL[right - 1]) / (_NORMAL[right] - _NORMAL[right - 1])
    low, high = values[..., right - 1].astype(np.float64), values[..., right].astype(np.float64)
    return np.asarray(low + (high - low) * part)
