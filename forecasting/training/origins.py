"""Rolling origin: from where forecasts are made and what they are held against. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Steps = NDArray[np.int64]

#: quantiles of curves: those that are served and those that accounts are kept of
LEVELS: Final = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99)
MEDIAN: Final = LEVELS.index(0.5)
#: the levels of the accounts that are kept of every forecast: those decide here too
SCORED: Final = (0.025, 0.1, 0.5, 0.9, 0.975)
_WHERE: Final = [LEVELS.index(level) for level in SCORED]
#: horizons that are scored
KNOTS: Final = 6
#: with fewer series than this, origins must be many and apart, since they decide
FEW_SERIES: Final = 8
MOST_ORIGINS: Final = (12, 24)
LEAST_ORIGINS: Final = 4
#: earlier origins that only teach a forecaster without intervals how far it strays
WARM: Final = 4
#: steps that anybody may learn from before the first origin
LEAST_STEPS: Final = 24


class Course(Struct, frozen=True):
    """``origins`` (numbers of steps that are known), earlier ``warm`` ones, and ``knots`` (steps ahead that count).

    Whoever is served from curves is asked ``age`` steps early: a curve has that age when it is used.
    """

    origins: tuple[int, ...]
    warm: tuple[int, ...]
    knots: tuple[int, ...]
    age: int

    @property
    def all(self) -> tuple[int, ...]:
        """All origins, oldest first."""
        return (*self.warm, *self.origins)


def course(steps: int, horizon: int, series: int) -> Course | None:
    """Where to forecast from on a history of so many steps; None if it is too short to decide anything."""
    few = series < FEW_SERIES
    apart = horizon if few else max(1, horizon // 2)
    first = max(LEAST_STEPS, horizon) + horizon // 4
    room = min(steps - horizon - first, steps // 2 if few else steps // 3)
    count = min(MOST_ORIGINS[few], room // apart + 1 if room >= 0 else 0)
    if count < LEAST_ORIGINS:
        return None
    origins = steps - horizon - apart * np.arange(count)[::-1]
    warm = origins[0] - apart * np.arange(1, WARM + 1)[::-1]
    return Course(
        origins=tuple(int(o) for o in origins),
        warm=tuple(int(o) for o in warm if o >= first),
        knots=knots(horizon, KNOTS),
        age=horizon // 4,
    )


def knots(horizon: int, count: int) -> tuple[int, ...]:
    """At most ``count`` horizons from 1 to ``horizon``, close together at first."""
    return tuple(int(h) for h in np.unique(np.round(np.geomspace(1, max(1, horizon), count))))


def truth(values: F32, origins: tuple[int, ...], ahead: tuple[int, ...]) -> F64:
    """(S, O, H) what came, of ``values`` (K, S); NaN is unknown or not yet."""
    at = np.asarray(origins)[:, None] + np.asarray(ahead) - 1
    inside = at < len(values)
    found = values[np.minimum(at, len(values) - 1)].astype(np.float64)
    found[~inside] = np.nan
    return np.moveaxis(found, 2, 0)


def scale(values: F32, course: Course) -> F64:
    """(S,) how far each series strays from its mean before the first origin; NaN if it is constant or unknown."""
    known = values[: course.origins[0]].astype(np.float64)
    valid = np.isfinite(known)
    count = valid.sum(axis=0)
    mean = np.where(valid, known, 0.0).sum(axis=0) / np.maximum(count, 1)
    square = np.where(valid, np.square(known - mean), 0.0).sum(axis=0) / np.maximum(count, 1)
    spread = np.sqrt(square)
    good = (count >= LEAST_STEPS) & (count >= 0.3 * len(known)) & (spread > 1e-6 * np.abs(mean) + 1e-12)
    return np.where(good, spread, np.nan)


def crps(came: F64, said: F64, scale: F64) -> F64:
    """(S, O) scaled CRPS at the scored levels, mean over horizons: ``came`` (S, O, H), ``said`` (S, O, H, len(LEVELS)).

    NaN where nothing came or nothing (finite) was said about what came.
    """
    levels = np.asarray(SCORED)
    error = came[..., None] - said[..., _WHERE]
    loss = 2 * np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)
    known = np.isfinite(came)
    total = np.where(known, loss, 0.0).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / known.sum(axis=-1) / scale[:, None])


def strays(came: F64, median: F64, scale: F64, due: NDArray[np.bool_]) -> F64:
    """(H, len(LEVELS)) quantiles of the errors that point forecasts made, in units of ``scale``.

    ``came`` and ``median`` are (S, O, H), ``due`` (O, H) what may be looked at. A horizon of
    which nothing came borrows from the one before it; all NaN if none is known.
    """
    with np.errstate(invalid="ignore"):
        error = np.where(due, (came - median) / scale[:, None, None], np.nan)
    found = np.full((came.shape[2], len(LEVELS)), np.nan)
    for h in range(came.shape[2]):
        known = error[:, :, h][np.isfinite(error[:, :, h])]
        if len(known):
            found[h] = np.quantile(known, LEVELS)
        elif h:
            found[h] = found[h - 1]
    return found
