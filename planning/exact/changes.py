"""The same fleet with another shape: shards split, merged or resized, hosts opened or closed. All by rows.

Demand is conserved: what a host demands before any move is the same to the last bit of rounding,
whatever a shard is split into or merged with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.model import Constraints, Move, Problem, State
from sidestep.planning.model.problem import F64, I32, I64


def split(problem: Problem, shard: int, shares: Sequence[float], counts: int = 1) -> Problem:
    """The problem with a shard in ``len(shares)`` parts: the first keeps its row, the others come last.

    ``shares`` of demand and bytes sum to 1. Parts are of the same groups, avoid the same shards
    and may be on the same hosts; each counts ``counts`` when it moves.
    """
    parts = np.asarray(shares, dtype=np.float64)
    if len(parts) < 2 or not np.isclose(parts.sum(), 1.0) or (parts <= 0).any():
        raise ValueError(f"shares {parts.tolist()} are not at least two positive ones that sum to 1")
    p, new = problem, len(parts) - 1
    mean, sd = p.mean[shard].astype(np.float64), p.sd[shard].astype(np.float64)
    rows = np.append(np.arange(p.shards), np.full(new, shard))

    def shared(values: NDArray[np.floating], whole: F64) -> F64:
        grown: F64 = values[rows].astype(np.float64)
        grown[shard] = whole * parts[0]
        grown[p.shards :] = np.multiply.outer(parts[1:], whole)
        return grown

    count = p.count[rows].copy()
    count[[shard, *range(p.shards, p.shards + new)]] = counts
    changed = replace(
        p,
        host=p.host[rows],
        mean=shared(p.mean, mean).astype(np.float32),
        sd=shared(p.sd, sd).astype(np.float32),
        movable=p.movable[rows],
        bytes=shared(p.bytes, np.asarray(p.bytes[shard], dtype=np.float64)),
        count=count,
        priority=p.priority[rows],
        constraints=grown_rules(p.constraints, rows, shard),
    )
    return _resummed(changed, p, int(p.host[shard]))


def merge(problem: Problem, into: int, other: int) -> Problem:
    """The problem with ``other``'s demand and bytes in ``into``'s row; ``other`` is nowhere and demands nothing.

    Rows keep their numbers, so that moves of both problems mean the same. They must share a host.
    """
    p = problem
    if into == other or p.host[into] != p.host[other] or p.host[into] < 0:
        raise ValueError(f"shards {into} and {other} do not share a host")
    mean, sd, size = p.mean.copy(), p.sd.copy(), p.bytes.copy()
    host, movable = p.host.copy(), p.movable.copy()
    mean[into] += mean[other]
    sd[into] += sd[other]
    size[into] += size[other]
    mean[other], sd[other], size[other], host[other], movable[other] = 0.0, 0.0, 0.0, -1, False
    movable[into] &= p.movable[other]
    changed = replace(p, mean=mean, sd=sd, bytes=size, host=host, movable=movable)
    return _resummed(changed, p, int(p.host[into]))


def resized(problem: Problem, shard: int, factor: F64) -> Problem:
    """The problem with a shard that demands ``factor`` (D,) times what it did, and its host as much less or more."""
    p, host = problem, int(problem.host[shard])
    mean, sd = p.mean.copy(), p.sd.copy()
    mean[shard] = (mean[shard] * factor).astype(np.float32)
    sd[shard] = (sd[shard] * factor).astype(np.float32)
    changed = replace(p, mean=mean, sd=sd)
    if host < 0:
        return changed
    median, away = p.median.copy(), p.away.copy()
    median[host] = np.maximum(median[host] + mean[shard].astype(np.float64) - p.mean[shard], 0.0)
    summed = _resummed(replace(changed, median=median), p, host)
    with np.errstate(divide="ignore", invalid="ignore"):
        away[host] *= np.where(p.spread[host] > 0, np.sqrt(summed.spread[host] / p.spread[host]), 1.0)
    return replace(summed, away=away)


def placed(problem: Problem, moves: Sequence[tuple[int, int]], *, off: Sequence[int] = ()) -> Problem:
    """The problem after ``(shard, host)`` moves, as the new start; shards ``off`` are nowhere and demand nothing."""
    p = problem
    state = State(p, tuple(Move(s, int(p.host[s]), h, int(p.host[s])) for s, h in moves))
    median, squared, deviation = (part.copy() for part in state.after)
    variance = p.variance.copy()
    for shard, host in moves:
        own = p.sd[shard].astype(np.float64) ** 2
        if p.host[shard] >= 0:
            variance[p.host[shard]] = np.maximum(variance[p.host[shard]] - own, 0.0)
        variance[host] += own
    sign = -1.0 if p.z < 0 else 1.0
    now = replace(p, host=state.at.copy(), median=median, away=sign * np.sqrt(squared), variance=variance,
                  deviation=deviation)  # fmt: skip
    for shard in off:
        gone = resized(now, shard, np.zeros(p.limit.shape[1]))
        host_, movable = gone.host.copy(), gone.movable.copy()
        host_[shard], movable[shard] = -1, False
        now = replace(gone, host=host_, movable=movable)
    return now


def opened(problem: Problem, hosts: Sequence[int]) -> Problem:
    """The problem with standby ``hosts`` that accept."""
    accepts = problem.accepts.copy()
    accepts[list(hosts)] = True
    return replace(problem, accepts=accepts)


def cordoned(problem: Problem, hosts: Sequence[int]) -> Problem:
    """The problem in which ``hosts`` receive nothing (lesson 9: all at once, before the first is drained)."""
    accepts = problem.accepts.copy()
    accepts[list(hosts)] = False
    return replace(problem, accepts=accepts)


def widened(problem: Problem, like: Sequence[int]) -> Problem:
    """The problem with one more empty host, accepting, for every row of ``like``: as large, as dear, as near."""
    p, rules = problem, problem.constraints
    rows = np.append(np.arange(p.hosts), np.asarray(like, dtype=np.int64)).astype(np.int64)
    new = slice(p.hosts, None)

    def more(values: F64) -> F64:
        grown = values[rows]
        grown[new] = 0.0
        return grown

    accepts, gives = p.accepts[rows], p.gives[rows]
    accepts[new] = gives[new] = True
    domains = rules.domains[:, rows]
    domains[0] = np.arange(len(rows))
    return replace(
        p,
        limit=p.limit[rows],
        room=p.room[rows],
        capacity=p.capacity[rows],
        median=more(p.median),
        away=more(p.away),
        variance=more(p.variance),
        deviation=more(p.deviation),
        accepts=accepts,
        gives=gives,
        cost=p.cost[rows],
        rank=np.append(p.rank, np.arange(p.hosts, len(rows))),
        constraints=replace(rules, domains=domains, masks=rules.masks[:, rows]),
    )


def _resummed(changed: Problem, before: Problem, host: int) -> Problem:
    """Sums of variances and deviations of a host as its shards now have them; what it demands stays."""
    if host < 0:
        return changed
    variance, deviation = before.variance.copy(), before.deviation.copy()
    for power, into in ((2, variance), (1, deviation)):
        was = (before.sd[before.on(host)].astype(np.float64) ** power).sum(axis=0)
        now = (changed.sd[changed.on(host)].astype(np.float64) ** power).sum(axis=0)
        into[host] = np.maximum(into[host] - was + now, 0.0)
    return replace(changed, variance=variance, deviation=deviation)


def grown_rules(rules: Constraints, rows: I64, shard: int) -> Constraints:
    """The rules with rows at the end that are as ``shard`` is; -1: under no rule."""
    old = len(rules.mask)
    new = list(range(old, len(rows)))
    groups = rules.groups_of(shard).tolist() if shard >= 0 else []
    avoided = rules.avoided(shard).tolist() if shard >= 0 else []
    ptr, idx = rules.avoids
    first = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    pairs = [*zip(first.tolist(), idx.tolist(), strict=True), *((row, other) for row in new for other in avoided)]
    listed = [
        (int(rules.kind[g]), int(rules.most[g]), [*rules.members_of(g).tolist(), *(new if g in groups else ())])
        for g in range(len(rules.kind))
    ]
    mask: I32 = rules.mask[rows]
    masks = rules.masks
    if shard < 0:
        masks = np.concatenate([masks, np.ones((1, masks.shape[1]), dtype=np.bool_)])
        mask[new] = len(masks) - 1
    return Constraints.make(
        rules.domains.shape[1], len(rows), domains=rules.domains, masks=masks, mask=mask, groups=listed,
        pairs=pairs,
    )  # fmt: skip
