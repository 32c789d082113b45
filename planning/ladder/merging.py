"""Merging cold neighbours of one app, never above the threshold at which they would be split again (S1.21)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sidestep.planning.exact.changes import merge
from sidestep.planning.ladder.remedy import Remedy
from sidestep.planning.model import Problem
from sidestep.planning.model.problem import F64, Mask

#: merged shards stay this far below the threshold, or the next noise splits them again
MARGIN = 0.5


def merges(
    problem: Problem, neighbours: Iterable[tuple[int, int]], cold: Mask, threshold: F64, *, margin: float = MARGIN
) -> tuple[Problem, tuple[Remedy, ...]]:
    """Merge neighbours (pairs of rows, of one app, adjacent) that have both long been ``cold`` (N,).

    They must share a host and may both move; their joint peak, sum of both strict quantiles, stays below
    ``margin`` times ``threshold`` (D,), the demand at which a shard is split. Each is merged once a plan.
    """
    p, found, used = problem, list[Remedy](), set[int]()
    for one, other in neighbours:
        if one in used or other in used or not (cold[one] and cold[other]):
            continue
        if p.host[one] < 0 or p.host[one] != p.host[other] or not (p.movable[one] and p.movable[other]):
            continue
        pair = [one, other]
        peak = (p.mean[pair].astype(np.float64) + max(p.z, 0.0) * p.sd[pair]).sum(axis=0)
        if not (peak <= margin * threshold).all():
            continue
        used |= {one, other}
        p = merge(p, one, other)
        found.append(Remedy(kind="merge", shard=one, host=int(p.host[one]), parts=(one, other), code="COLD"))
    return p, tuple(found)
