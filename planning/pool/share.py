"""Pools that share hosts: whose instances get the room (S4.16). Guarantees first, then by priority.

A pool's guarantee is a number of instances that it gets before anybody gets more than its own guarantee. What
is left goes to priority 1 first. So where room is lacking, the lowest priority gives way first,
and a guarantee is broken only where all guarantees together do not fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Room:
    """What pools share: ``free`` (H, R) room of hosts for all pools together, ``size`` (P, R) of one instance.

    ``may`` (P, H) says which hosts a pool may use. An instance that takes nothing fits anywhere.
    """

    free: F64
    size: F64
    may: Flags


def fits(free: F64, size: F64, may: Flags) -> I64:
    """(H,) how many instances of one ``size`` (R,) each host takes; many where they take nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(size > 0, np.floor(np.maximum(free, 0.0) / size + 1e-9), np.inf)
    most = each.min(axis=1, initial=np.inf)
    return np.where(may, np.minimum(most, 1e6), 0).astype(np.int64)


def share(wanted: I64, guarantee: I64, priority: I64, now: I64, room: Room) -> I64:
    """(P, H) instances that each pool may have on each host, given where they are ``now`` (P, H).

    What is there already stays where it fits; the rest goes to the hosts with the most room left. Sums over
    hosts are at most ``wanted``. The loop is over pools, of which there are few; hosts are arrays.
    """
    given = np.zeros_like(now)
    free = room.free.astype(np.float64).copy()
    order = np.lexsort((np.arange(len(wanted)), priority))
    for goal in (np.minimum(wanted, guarantee), wanted):
        for pool in order.tolist():
            more = int(goal[pool] - given[pool].sum())
            if more <= 0:
                continue
            added = _spread(more, now[pool] - given[pool], fits(free, room.size[pool], room.may[pool]))
            given[pool] += added
            free -= added[:, None] * room.size[pool]
    return given


def _spread(more: int, there: I64, fit: I64) -> I64:
    """(H,) ``more`` instances over hosts: first where they are ``there``, then one by one where most fits."""
    added = _capped(np.minimum(np.maximum(there, 0), fit), more)
    left = min(more - int(added.sum()), int((fit - added).sum()))
    if left <= 0:
        return added
    # water is filled in from the top: the hosts with the most room come down to one level
    space = fit - added
    low, high = 0, int(space.max())
    while low < high:
        middle = (low + high) // 2
        if int(np.maximum(space - middle, 0).sum()) <= left:
            high = middle
        else:
            low = middle + 1
    extra = np.maximum(space - low, 0)
    rest = left - int(extra.sum())
    at_level = np.flatnonzero(space - extra == low)[:rest]
    extra[at_level] += 1
    return np.asarray(added + np.minimum(extra, space), dtype=np.int64)


def _capped(values: I64, most: int) -> I64:
    """(H,) the values, cut off once their running sum reaches ``most``."""
    before = np.cumsum(values) - values
    return np.asarray(np.clip(np.minimum(values, most - before), 0, None), dtype=np.int64)
