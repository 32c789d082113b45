"""Requests for pools, made from traces of load: places in use at once, in slots of ten seconds.

A series of a trace gives the shape, the pool gets a size: its 95th percentile, over the history before the
scored time, stands for so many places. In every slot the requests that hold a place are Poisson about
the trace, which is read in straight lines between its samples: arrivals are random for every contender.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle.data import Group, PartName, part_of

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

#: seconds of a slot: how long a request holds its place
SLOT: Final = 10
#: seconds between two decisions
TICK: Final = 60
SLOTS: Final = TICK // SLOT
#: sizes of pools, in places at the 95th percentile of what was before
SMALLEST, LARGEST = 40.0, 400.0


@dataclass(frozen=True)
class Pools:
    """(T, S) requests of each slot, scored from ``begin`` on; ``day`` is in ticks. ``machine`` says whose they are."""

    name: str
    requests: I32
    begin: int
    day: int
    machine: NDArray[np.int64]

    def ticks(self) -> I32:
        """(T / SLOTS, S) the most places in use at once in each tick."""
        return self.requests.reshape(-1, SLOTS, self.requests.shape[1]).max(axis=1)


def pools_of(
    group: Group, part: PartName, *, series: int, history: float, days: float, scale: float = 1.0, seed: int = 3
) -> Pools | None:
    """The pools that a group's part gives; None if no series of it moves. ``scale`` makes them larger or smaller."""
    block = part_of(group, part, series=series, history=history, days=days, seed=seed)
    if not block.values.shape[1] or len(block.values) < 2:
        return None
    random = np.random.default_rng(seed)
    filled = _filled(block.values)
    before = filled[: max(block.begin, 1)] if block.begin > block.day // 4 else filled
    ruler = np.quantile(before, 0.95, axis=0)
    ruler = np.where(ruler > 0, ruler, np.maximum(filled.max(axis=0), 1e-12))
    size = scale * np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST), filled.shape[1]))
    # beyond three times its usual peak no pool was ever meant to go
    mean = np.minimum(filled / ruler, 3.0) * size
    per_step = block.step // SLOT
    ticks = (len(mean) - 1) * block.step // TICK
    where = np.arange(ticks * SLOTS) / per_step
    left = where.astype(np.int64)
    share = (where - left)[:, None]
    rate = mean[left] * (1 - share) + mean[left + 1] * share
    begin = min(block.begin * block.step // TICK, ticks - 1)
    return Pools(block.name, random.poisson(rate).astype(np.int32), begin * SLOTS, 86400 // TICK, block.machine)


def _filled(values: F64) -> F64:
    """(T, S) with what is missing on a line between its neighbours."""
    found, at = values.copy(), np.arange(len(values))
    for column in found.T:
        known = np.isfinite(column)
        column[:] = np.interp(at, at[known], column[known]) if known.any() else 0.0
    return found
