"""What is weighed: the network, and the simple rules that it must never be worse than.

Each says a quantile for every level and knot, from one memory. The rules are those of the
field: the last value stays; what was a season ago comes again, as it was or moved to the
present level; the future is like the recent window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sidestep.forecasting.network.features import KNOTS, features
from sidestep.forecasting.network.memory import CENTRE, F32, LAGS, LEVELS, Memory
from sidestep.forecasting.network.net import SAID, Network

NAMES: Final = ("network", "window", "persistence", "seasonal", "moved")
NETWORK, WINDOW, PERSISTENCE, SEASONAL, MOVED = range(len(NAMES))
#: quantiles of an error whose mean size is 1, between a normal and a double exponential one
SHAPE: Final[F32] = np.array([-3.4, -2.6, -1.45, -0.6, 0, 0.6, 1.45, 2.0, 2.6, 3.4], np.float32)
#: spread of a series that was seen once or never changed yet, as a share of its value, while it is so young
GUESS: Final = 0.05
YOUNG: Final = 12
_LOG_LAGS: Final = np.log(np.array(LAGS, np.float64))


@dataclass(frozen=True, eq=False)
class Said:
    """What all experts say, relative to the anchor.

    ``network`` (S, SAID, Q) quantiles of knots and windows; ``window`` (S, Q) the same for every
    knot; ``centre`` and ``spread`` (3, S, B) of the rules whose errors have the shape ``SHAPE``.
    """

    network: F32
    window: F32
    centre: F32
    spread: F32
    #: (S,) of those rules' last one, whether a season is known
    season: F32

    def at(self, knot: int, columns: list[int]) -> F32:
        """(K, S, q) what every expert says at one knot, at some levels."""
        out = np.empty((len(NAMES), len(self.window), len(columns)), np.float32)
        out[NETWORK] = self.network[:, knot, columns]
        out[WINDOW] = self.window[:, columns]
        shape = SHAPE[columns]
        for rule in range(3):
            np.multiply(self.spread[rule, :, knot, None], shape, out=out[PERSISTENCE + rule])
            out[PERSISTENCE + rule] += self.centre[rule, :, knot, None]
        return out


def ask(memory: Memory, network: Network, chunk: int = 8192) -> Said:
    """All experts' opinions now; in chunks of rows, so that what is in between stays small."""
    count = memory.series
    scale = memory.scale()
    location = memory.means[CENTRE]
    said = np.empty((count, SAID, len(LEVELS)), np.float32)
    for first in range(0, count, chunk):
        rows = np.arange(first, min(count, first + chunk)) if count > chunk else None
        seen, where, unit = features(memory, rows)
        part = slice(first, first + chunk) if rows is not None else slice(None)
        found = network.quantiles(seen)
        found *= unit[:, None, None]
        found += where[:, None, None]
        said[part] = found
    still = (scale == 0) & (memory.seen[0] < YOUNG)
    if still.any():
        _guess(memory, still, said)
    centre, spread = _rules(memory)
    window = np.ascontiguousarray(memory.window.T)
    known = memory.seen[0] > 0
    if not known.all():
        said[~known] = np.nan
        window[~known] = np.nan
        centre[:, ~known] = np.nan
    season = np.isfinite(centre[1, :, 0])
    for rule in (1, 2):
        absent = ~np.isfinite(centre[rule])
        centre[rule] = np.where(absent, location[:, None], centre[rule])
        spread[rule] = np.where(absent, scale[:, None], spread[rule])
    return Said(said, window, centre, spread, season.astype(np.float32))


def _guess(memory: Memory, still: np.ndarray, said: F32) -> None:
    """A little room about a value that has not moved yet, while it was seen too seldom to call it constant."""
    value = np.abs(memory.anchor[0, still]).astype(np.float32)
    room = value * np.float32(GUESS) / np.maximum(memory.seen[0, still], 1.0)
    said[still] += room[:, None, None] * SHAPE


def _rules(memory: Memory) -> tuple[F32, F32]:
    """(3, S, B) centres and mean errors of persistence, of the season, and of the season moved to the level."""
    count, knots = memory.series, np.array(KNOTS)
    centre = np.empty((3, count, len(knots)), np.float32)
    spread = np.empty((3, count, len(knots)), np.float32)
    last = memory.last()
    centre[0] = last[:, None]
    change = np.maximum.accumulate(memory.change, axis=0)
    place = np.interp(np.log(knots), _LOG_LAGS, np.arange(len(LAGS)))
    late = memory.stale[0]
    for b, at in enumerate(place):
        low = min(int(at), len(LAGS) - 2)
        part = np.float32(at - low)
        spread[0, :, b] = change[low] * (1 - part) + change[low + 1] * part
    if late.any():
        spread[0] *= np.sqrt((knots + late[:, None]) / knots)
    if memory.slots:
        now = memory.seasonal(-1)
        level = memory.means[CENTRE]
        for b, knot in enumerate(KNOTS):
            then = memory.seasonal(knot - 1)
            centre[1, :, b] = then
            centre[2, :, b] = then - now + level
        spread[1] = memory.season_error[0][:, None]
        spread[2] = memory.season_error[1][:, None]
    else:
        centre[1:] = np.nan
        spread[1:] = np.nan
    return centre, spread
