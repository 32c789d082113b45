"""What is weighed: the network, and the simple rules that it must never be worse than.

Each says a quantile for every level and knot, from one memory. The rules are those of the
field: the last value stays; what was a season ago comes again, as it was or moved to the
present level; the future is like the recent window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.calibrate import scores
from sidestep.forecasting.network.features import KNOTS, columns
from sidestep.forecasting.network.memory import CENTRE, F32, LAGS, LEVELS, Memory
from sidestep.forecasting.network.net import SAID, Network

NAMES: Final = ("network", "window", "persistence", "seasonal", "moved")
NETWORK, WINDOW, PERSISTENCE, SEASONAL, MOVED = range(len(NAMES))
#: quantiles of an error whose mean size is 1, between a normal and a double exponential one
SHAPE: Final[F32] = np.array([-3.4, -2.6, -1.45, -0.6, 0, 0.6, 1.45, 2.0, 2.6, 3.4], np.float32)
#: spread of a series that was seen once or never changed yet, as a share of its value, while it is so young
GUESS: Final = 0.05
YOUNG: Final = 3
#: below so many values the window's quantiles lean on a distribution, which counts for so many of them
FEW: Final = 64
LEAN: Final = 4.0
#: series that are worked on at a time, so that what is in between stays small
CHUNK: Final = 4096
_LOG_LAGS: Final = np.log(np.array(LAGS, np.float64))


@dataclass(frozen=True, eq=False)
class Later:
    """What forecasts between two steps need of the experts: a part of ``Said``, since all of it is large."""

    #: (Q, W, S) quantiles of the windows' highest values
    windows: F32
    #: (B, S) the last season, and 1 where it is known
    last: F32
    season: F32


@dataclass(frozen=True, eq=False)
class Said:
    """What all experts say, relative to the anchor.

    ``network`` (Q, SAID, S) quantiles of knots and windows; ``window`` (Q, S) the same for every
    knot; ``centre`` and ``spread`` (3, B, S) of the rules whose errors have the shape ``SHAPE``.
    """

    network: F32
    window: F32
    centre: F32
    spread: F32
    #: (B, S) 1 where the last season is known
    season: F32
    #: (S,) whether there is only a guess: nothing is learned from how it turns out
    guessed: NDArray[np.bool_]

    def later(self) -> Later:
        """What of it is still needed once it has been weighed and held."""
        return Later(self.network[:, len(KNOTS) :].copy(), self.centre[1].copy(), self.season)

    def at(self, knot: int, levels: tuple[int, ...]) -> F32:
        """(K, q, S) what every expert says at one knot, at some rows of the levels."""
        out = np.empty((len(NAMES), len(levels), self.window.shape[1]), np.float32)
        for row, level in enumerate(levels):
            out[NETWORK, row] = self.network[level, knot]
            out[WINDOW, row] = self.window[level]
            for rule in range(3):
                np.multiply(self.spread[rule, knot], SHAPE[level], out=out[PERSISTENCE + rule, row])
                out[PERSISTENCE + rule, row] += self.centre[rule, knot]
        return out


def parts(count: int) -> Iterator[slice]:
    """So many series, some at a time."""
    return (slice(first, min(count, first + CHUNK)) for first in range(0, count, CHUNK))


def ask(memory: Memory, network: Network) -> Said:
    """All experts' opinions now; in chunks of series, so that what is in between stays small."""
    count = memory.series
    said = np.empty((len(LEVELS), SAID, count), np.float32)
    for part in parts(count):
        seen, location, scale = columns(memory, part)
        found = np.multiply(network.quantiles(seen), scale, out=said[:, :, part])
        found += location
    scale, location = memory.scale(), memory.means[CENTRE]
    still = (scale == 0) & (memory.seen[0] < YOUNG)
    if still.any():
        _guess(memory, still, said)
    centre, spread = _rules(memory)
    window = _window(memory)
    season = np.isfinite(centre[2]) & np.isfinite(centre[1])
    if not season.all():
        for rule in (1, 2):
            centre[rule] = np.where(season, centre[rule], location)
            spread[rule] = np.where(season, spread[rule], scale)
    known = memory.seen[0] > 0
    if not known.all():
        said[:, :, ~known] = np.nan
        centre[:, :, ~known] = np.nan
    return Said(said, window, centre, spread, season.astype(np.float32), still | ~known)


def _window(memory: Memory) -> F32:
    """(Q, S) quantiles of the recent window; few values lean on those of a Student distribution."""
    seen = memory.seen[0]
    few = np.flatnonzero((seen > 1) & (seen < FEW))
    if not len(few):
        return memory.window
    count = seen[few]
    spread = np.sqrt(np.maximum(memory.spread[1, few] * (1 + 1 / count), 0.0))
    assumed = memory.means[-1, few] + spread * scores(LEVELS, count.astype(np.float64) - 1).T.astype(np.float32)
    found = memory.window.copy()
    found[:, few] = (count * found[:, few] + LEAN * assumed) / (count + LEAN)
    return found


def _guess(memory: Memory, still: NDArray[np.bool_], said: F32) -> None:
    """A little room about a value that has not moved yet, while it was seen too seldom to call it constant."""
    value = np.abs(memory.anchor[0, still]).astype(np.float32)
    room = value * np.float32(GUESS) / np.maximum(memory.seen[0, still], 1.0)
    said[:, :, still] += SHAPE[:, None, None] * room


def _rules(memory: Memory) -> tuple[F32, F32]:
    """(3, B, S) centres and mean errors of persistence, of the season, and of the season moved to the level."""
    count, knots = memory.series, np.array(KNOTS)
    centre = np.empty((3, len(knots), count), np.float32)
    spread = np.empty((3, len(knots), count), np.float32)
    centre[0] = memory.last()
    change = np.maximum.accumulate(memory.change, axis=0)
    place = np.interp(np.log(knots), _LOG_LAGS, np.arange(len(LAGS)))
    late = memory.stale[0]
    for b, at in enumerate(place):
        low = min(int(at), len(LAGS) - 2)
        part = np.float32(at - low)
        spread[0, b] = change[low] * (1 - part) + change[low + 1] * part
        if late.any():
            spread[0, b] *= np.sqrt((knots[b] + late) / knots[b])
    if memory.slots:
        now = memory.seasonal(-1)
        moved = memory.means[CENTRE] - now
        for b, knot in enumerate(KNOTS):
            centre[1, b] = memory.last_season(knot - 1)
            np.add(memory.seasonal(knot - 1), moved, out=centre[2, b])
        spread[1] = memory.season_error[2]
        spread[2] = memory.season_error[1]
    else:
        centre[1:] = np.nan
        spread[1:] = np.nan
    return centre, spread
