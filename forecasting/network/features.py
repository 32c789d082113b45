"""What the network sees of a memory: numbers without unit, location or name.

Everything is a distance from the location in units of the scale, so that a forecast of
``a * y + b`` is ``a`` times that of ``y`` plus ``b``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.network.memory import CENTRE, F32, LAGS, LEVELS, PICKS, RECENT, STRIDE, Memory

#: steps ahead that the network speaks of
KNOTS: Final = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60)
#: windows, in steps from now, whose highest value it speaks of
WINDOWS: Final = (3, 6, 12, 30, 60)
#: single values at the front, then means of so many
SINGLES: Final = 12
BLOCKS: Final = ((12, 16), (16, 20), (20, 24), (24, 32))
#: steps ahead at which the season is looked up
SEASON_AT: Final = (0, 1, 2, 3, 5, 8, 12, 18, 27, 40, 60)
#: highest of the last so many steps
MAXIMA: Final = ((0, 3), (3, 6), (6, 12), (12, 24))
#: features that are not distances
EXTRAS: Final = 10
#: no distance is looked at beyond so many scales
FAR: Final = 1e4
COUNT: Final = (
    SINGLES + len(BLOCKS) + 4 + len(LEVELS) + 2 * len(SEASON_AT) + 2 * len(WINDOWS) + len(MAXIMA) + 2
    + len(LAGS) + 2 + EXTRAS
)  # fmt: skip


def features(memory: Memory, rows: NDArray[np.int64] | None = None) -> tuple[F32, F32, F32]:
    """(S, COUNT) features, (S,) location relative to the anchor and (S,) scale, of all series or of some."""
    found, location, scale = columns(memory, rows)
    return np.ascontiguousarray(found.T), location, scale


def columns(memory: Memory, rows: NDArray[np.int64] | slice | None = None) -> tuple[F32, F32, F32]:
    """The same with a row for every feature: (COUNT, S).

    Unknown distances are 0: at the location. A series that never changed has scale 0 and says nothing.
    """
    take = slice(None) if rows is None else rows
    location = memory.means[CENTRE, take]
    scale = memory.scale()[take]
    out = np.empty((COUNT, len(location)), np.float32)
    count = _distances(memory, take, out, location)
    changes = len(LAGS) + 2
    out[count : count + len(LAGS)] = memory.change[:, take]
    out[count + len(LAGS) : count + changes] = memory.season_error[:2, take]
    with np.errstate(divide="ignore"):
        unit = np.where(scale > 0, 1.0 / scale, 0.0).astype(np.float32)
    body = out[: count + changes]
    body *= unit
    unknown = ~np.isfinite(body)  # few are, and nan_to_num of all of them looks three times
    body[unknown] = np.nan_to_num(body[unknown], nan=0.0, posinf=FAR, neginf=-FAR)
    np.copysign(np.log1p(np.abs(body)), body, out=body)
    _extras(memory, take, out[count + changes :])
    return out, location, scale


def _distances(memory: Memory, take: slice | NDArray[np.int64], out: F32, location: F32) -> int:
    """Fill in distances from the location; returns how many."""
    at = 0

    def put(row: F32) -> None:
        nonlocal at
        np.subtract(row, location, out=out[at])
        at += 1

    newest = memory.clock - 1
    quick = memory.means[0, take]

    def value(back: int) -> F32:
        return memory.recent[(newest - back) % RECENT, take] if newest >= back else np.full_like(location, np.nan)

    values = [value(back) for back in range(RECENT)]
    put(np.where(np.isfinite(values[0]), values[0], quick))
    for back in range(1, SINGLES):
        put(values[back])
    for first, end in BLOCKS:
        block = values[first]
        for back in range(first + 1, end):
            block = block + values[back]
        put(block / np.float32(end - first))
    for row in (0, 2, 3, 4):
        put(memory.means[row, take])
    for row in range(len(LEVELS)):
        put(memory.window[row, take])
    for found in (*_season_rows(memory, take, location), *_maxima(memory, take, values)):
        put(found)
    return at


def _season_rows(memory: Memory, take: slice | NDArray[np.int64], location: F32) -> Iterator[F32]:
    """What the last season and the usual one say of the steps ahead, and their highest values in windows."""
    for ring in (memory.yesterday, memory.profile):
        for ahead in SEASON_AT:
            yield memory.seasonal(ahead - 1, ring, take) if memory.slots else location
    for ring in (memory.highest, memory.usual):
        top: F32 | None = None
        done = 0
        for window in WINDOWS:
            if memory.slots:
                for slot in sorted({memory.slot(step) for step in range(done, window)}):
                    top = ring[slot, take] if top is None else np.fmax(top, ring[slot, take])
                done = window
            yield location if top is None else top


def _maxima(memory: Memory, take: slice | NDArray[np.int64], values: list[F32]) -> Iterator[F32]:
    """The highest values of the last steps."""
    top = values[0]
    for first, end in MAXIMA:
        for back in range(first, end):
            top = np.fmax(top, values[back])
        yield top
    now = (memory.clock - 1) // STRIDE
    for blocks in (PICKS // 4, PICKS):
        yield np.fmax.reduce(memory.peaks_fine[:, take][[(now - j) % PICKS for j in range(blocks)]], axis=0)


def _extras(memory: Memory, take: slice | NDArray[np.int64], out: F32) -> None:
    """How old, how full of holes, how seasonal: numbers that are no distances."""
    seen, stale = memory.seen[0, take], memory.stale[0, take]
    out[0] = np.log1p(seen) * 0.3
    out[1] = np.minimum(seen, 24.0) / 12.0
    out[2] = np.minimum(seen / memory.season, 3.0) if memory.slots else 0.0
    out[3] = np.minimum(stale, 20.0) * 0.1
    out[4] = memory.gap[0, take]
    out[5] = np.log1p(memory.season) * 0.15 if memory.slots else 0.0
    out[6] = 1.0 if memory.slots else 0.0
    known = np.isfinite(memory.seasonal(0, None, take)) if memory.slots else np.zeros_like(seen, bool)
    out[7] = known
    out[8] = np.isfinite(memory.seasonal(KNOTS[-1], None, take)) if memory.slots else 0.0
    spread = memory.spread[:, take]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((spread > 0).all(axis=0), np.log(spread[0] / np.maximum(spread[1], 1e-38)), 0.0)
    out[9] = np.clip(ratio, -5, 5) * 0.3
