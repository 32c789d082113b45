"""What the trainer is told of the past: read from the history's rings, bounded in numbers, a part at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.history import History, Series
from sidestep.forecasting import wire
from sidestep.forecasting.training import protocol
from sidestep.forecasting.training.table import DEPTH, NUMBERS

F32 = NDArray[np.float32]

#: numbers of one telling, so that reading them does not keep the loop from its tick
PART: Final = 1 << 20
#: steps that a horizon must have on a grid
LEAST_STEPS: Final = 4
#: steps of history with which a coarser grid is preferred
ENOUGH: Final = 400
#: series that tell how far back a ring reaches
_LOOKED_AT: Final = 64
#: what the oracle's series of a host are made of, where the history calls it otherwise
_SOURCES: Final = {
    "net": ("net_rx", "net_tx"),
    "psi_cpu": ("pressure_cpu",),
    "psi_memory": ("pressure_memory",),
    "psi_io": ("pressure_io",),
}


class Grid(NamedTuple):
    """A ring of the history and the step (s) that its slots are put together to."""

    ring: int
    step: float


def grid_of(history: History, names: Sequence[str], step: float, horizon: float) -> Grid | None:
    """The coarsest grid on which the horizon has four steps and the history enough; else the one that has most.

    Never finer than ``step``, the oracle's own. None while nothing was recorded.
    """
    sources = [source for name in names[:_LOOKED_AT] for source in _sources(name)]
    best: tuple[float, Grid] | None = None
    for ring, spec in enumerate(history.rings):
        if history.open_slot(ring) < 0:
            continue
        grid = Grid(ring, max(1, math.ceil(step / spec.step - 1e-9)) * spec.step)
        if best is not None and grid.step > horizon / LEAST_STEPS:
            break
        rows = int(history.query(ring, names=sources).valid.any(axis=1).sum()) * spec.step / grid.step
        if best is None or rows >= ENOUGH or rows > best[0]:
            best = rows, grid
    return best[1] if best is not None else None


def parts(history: History, grid: Grid, names: Sequence[str], since: float, now: float) -> Iterator[protocol.Learn]:
    """All closed steps from ``since`` on, oldest first, as far as the trainer keeps them; nothing if there are none.

    The iterator reads when it is asked: give the loop a turn between two parts.
    """
    if not names:
        return
    most = min(DEPTH, NUMBERS // len(names))
    last = math.floor(now / grid.step)
    first = max(math.ceil(since / grid.step - 1e-6) if math.isfinite(since) else 0, last - most)
    wide = [_sources(name) for name in names]
    flat = [source for sources in wide for source in sources]
    starts = np.cumsum([0, *(len(sources) for sources in wide)])[:-1]
    spec = history.rings[grid.ring]
    first = max(first, math.floor((now - spec.slots * spec.step) / grid.step) + 1)
    per = max(1, PART // max(1, len(flat) * max(1, round(grid.step / spec.step))))
    for begin in range(first, last, per):
        end = min(begin + per, last)
        block = history.query(grid.ring, begin * grid.step, end * grid.step, flat)
        values = np.where(block.valid, block.mean, np.nan).astype(np.float32)
        known = np.flatnonzero(np.isfinite(values).any(axis=1))
        if not len(known):
            continue
        # what is after the newest known is not told yet: it may come late
        values, slots = values[known[0] : known[-1] + 1], block.times[known[0] : known[-1] + 1]
        times, values = _binned(slots, values, grid.step)
        told = np.add.reduceat(values, starts, axis=1) if len(flat) > len(names) else values
        yield protocol.Learn(tuple(names), times.astype("<f8").tobytes(), wire.to_bytes(told))


def _binned(times: NDArray[np.float64], values: F32, step: float) -> tuple[NDArray[np.float64], F32]:
    """Means over the slots of one step each; NaN where none is known."""
    slots = np.floor(times / step + 1e-6)
    kept, first = np.unique(slots, return_index=True)
    if len(kept) == len(slots):
        return kept * step, values
    known = np.isfinite(values)
    total = np.add.reduceat(np.where(known, values, np.float32(0)), first, axis=0)
    count = np.add.reduceat(known, first, axis=0, dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return kept * step, np.where(count > 0, total / count, np.nan).astype(np.float32)


def _sources(name: str) -> tuple[str, ...]:
    """The series of the history that a series of the oracle is the sum of."""
    series = Series.parse(name)
    if series.kind != "host" or series.metric not in _SOURCES:
        return (name,)
    return tuple(str(Series(series.kind, series.name, metric)) for metric in _SOURCES[series.metric])
