"""What the oracle is told of the past when its worker starts: read from the history's rings."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from sidestep.fleet.history import Block, History, Series
from sidestep.fleet.history_tables import Kept
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.resources import HOST_SERIES, SHARD_SERIES
from sidestep.forecasting import wire
from sidestep.forecasting.horizon import grid_step

#: most steps of the oracle's grid that are told: a worker learns that many in a few seconds
MOST: Final = 3000
#: seasons that are worth telling
SEASONS: Final = 3.0
#: what the history calls the series of a host, in their order; those of one place are added up
_HOST: Final = {
    "cpu": ("cpu",),
    "memory": ("memory",),
    "net": ("net_rx", "net_tx"),
    "psi_cpu": ("pressure_cpu",),
    "psi_memory": ("pressure_memory",),
    "psi_io": ("pressure_io",),
}
_KEPT: Final = tuple(metric for name in HOST_SERIES for metric in _HOST[name])
#: most numbers of one telling
NUMBERS: Final = 4 << 20
#: a past that ended longer ago than this many steps is not told: the grid could not be carried on
FRESH: Final = 900


def past_of(history: History, fleet: FleetSpec, before: float, now: float) -> wire.Past | None:
    """The newest past from before a time, at most ``MOST`` steps of the oracle's grid; None if it is too old or none.

    The finest ring that is no coarser than the grid is taken if it holds enough; else the
    coarser one that reaches farther back, whose means stand alone with unknown steps between.
    """
    step = grid_step(fleet.oracle, fleet.policy.horizon, fleet.interval)
    end = min(before, now)
    names = _names(fleet)
    wanted = min(MOST, max(fleet.oracle.min_steps, math.ceil(SEASONS * fleet.oracle.season / step) or MOST))
    best: tuple[int, Block] | None = None
    for ring, spec in enumerate(history.rings):
        if history.open_slot(ring) < 0:
            continue
        reach = min(wanted * step, NUMBERS // max(1, len(names)) * spec.step)
        block = history.query(ring, end - reach, math.floor(end / spec.step) * spec.step, names)
        known = block.valid[:, : len(fleet.hosts) * len(_KEPT) : len(_KEPT)]
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
    whose = wire.Names(
        tuple(host.name for host in fleet.hosts),
        tuple(shard.name for shard in fleet.shards),
        tuple(shard.app for shard in fleet.shards),
    )
    count = len(fleet.hosts) * len(_KEPT)
    return wire.Past(
        step=block.step,
        names=whose,
        times=block.times.astype("<f8").tobytes(),
        host_use=wire.to_bytes(_hosts(values[:, :count].reshape(len(values), -1, len(_KEPT)))),
        shard_use=wire.to_bytes(values[:, count:]),
    )


def _hosts(kept: Kept) -> Kept:
    """(K, H, HOST_SERIES) of what the history keeps (K, H, len(_KEPT))."""
    columns = [[_KEPT.index(metric) for metric in _HOST[name]] for name in HOST_SERIES]
    return np.stack([kept[..., some].sum(axis=-1) for some in columns], axis=-1)


def _names(fleet: FleetSpec) -> tuple[str, ...]:
    kinds = (("host", fleet.hosts, _KEPT), ("shard", fleet.shards, SHARD_SERIES))
    return tuple(str(Series(kind, each.name, metric)) for kind, these, own in kinds for each in these for metric in own)
