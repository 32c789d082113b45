"""What the oracle is told of the past when its worker starts: read from the history's rings."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from sidestep.fleet.history import Block, History, Series
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.resources import DIMENSIONS, PLANNED
from sidestep.forecasting import wire

#: most steps of the oracle's grid that are told: a worker learns that many in a few seconds
MOST: Final = 3000
#: seasons that are worth telling
SEASONS: Final = 3.0
#: most numbers of one telling
NUMBERS: Final = 4 << 20
#: a past that ended longer ago than this many steps is not told: the grid could not be carried on
FRESH: Final = 900


def past_of(history: History, fleet: FleetSpec, before: float, now: float) -> wire.Past | None:
    """The newest past from before a time, at most ``MOST`` steps of the oracle's grid; None if it is too old or none.

    The finest ring that is no coarser than the grid is taken if it holds enough; else the
    coarser one that reaches farther back, whose means stand alone with unknown steps between.
    """
    step = fleet.oracle.step
    end = min(before, now)
    names = _names(fleet)
    wanted = min(MOST, max(fleet.oracle.min_steps, math.ceil(SEASONS * fleet.oracle.season / step) or MOST))
    best: tuple[int, Block] | None = None
    for ring, spec in enumerate(history.rings):
        if history.open_slot(ring) < 0:
            continue
        reach = min(wanted * step, NUMBERS // max(1, len(names)) * spec.step)
        block = history.query(ring, end - reach, math.floor(end / spec.step) * spec.step, names)
        known = block.valid[:, : len(fleet.hosts) * PLANNED : PLANNED]
        rows = np.flatnonzero(known.any(axis=1))
        if not len(rows) or end - (block.times[rows[-1]] + spec.step) > FRESH * step:
            continue
        block = block.part(slice(None), slice(int(rows[0]), int(rows[-1]) + 1))
        # so many steps of the grid would be known
        worth = int(len(rows) * min(1.0, spec.step / step))
        if best is None or worth > 2 * best[0]:
            best = worth, block
    if best is None:
        return None
    block = best[1]
    values = np.where(block.valid, block.mean, np.nan)
    hosts = tuple(host.name for host in fleet.hosts)
    shards = tuple(shard.name for shard in fleet.shards)
    count = len(hosts) * PLANNED
    return wire.Past(
        step=block.step,
        hosts=hosts,
        shards=shards,
        times=block.times.astype("<f8").tobytes(),
        host_use=wire.to_bytes(values[:, :count]),
        shard_use=wire.to_bytes(values[:, count:]),
    )


def _names(fleet: FleetSpec) -> tuple[str, ...]:
    kinds = (("host", fleet.hosts), ("shard", fleet.shards))
    metrics = DIMENSIONS[:PLANNED]
    return tuple(str(Series(kind, each.name, metric)) for kind, these in kinds for each in these for metric in metrics)
