"""Limits in whole quanta: what a shard that is throttled demands, and the right sizes of all (S3.12, S3.13, S3.24)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sidestep.planning.exact.changes import resized
from sidestep.planning.exact.check import done
from sidestep.planning.ladder.remedy import Allowed, Remedy
from sidestep.planning.model import Duty, Problem, State
from sidestep.planning.model.problem import F64


def whole(amount: F64, quanta: F64) -> F64:
    """Amounts rounded up to whole quanta; a quantum of 0 rounds nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.ceil(amount / quanta - 1e-9) * quanta
    return np.asarray(np.where(quanta > 0, up, amount), dtype=np.float64)


def factor(problem: Problem, shard: int, limits: F64) -> F64:
    """(D,) by what the demand of a shard is multiplied when it is held to ``limits`` (R,) at the strict quantile."""
    p = problem
    peak = p.mean[shard].astype(np.float64) + max(p.z, 0.0) * p.sd[shard]
    edge = np.full(len(peak), np.inf)
    edge[: p.timed] = np.repeat(limits, p.steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.where(peak > edge, edge / peak, 1.0)
    return np.asarray(out, dtype=np.float64)


def shrink(problem: Problem, duty: Duty, allowed: Allowed) -> tuple[Problem, list[Remedy]]:
    """Lower limits on a host until its duty is done, the least important shards first, never below the guarantee.

    All or nothing: half a relief is none. A shard that is shrunk gets the highest limits, in whole
    quanta, with which the host is relieved.
    """
    if allowed.limits is None or allowed.least is None or allowed.quanta is None or duty.kind != "contention":
        return problem, []
    p, quanta = problem, allowed.quanta
    rows = p.on(duty.host)
    known = np.isfinite(allowed.limits[rows]).all(axis=1) & np.isfinite(allowed.least[rows]).all(axis=1)
    rows = rows[known & (allowed.limits[rows] > allowed.least[rows]).any(axis=1)]
    rows = rows[np.lexsort((rows, -p.mean[rows].sum(axis=1), -p.priority[rows]))]
    # nobody is throttled for the sake of those who matter no more
    first = p.on(duty.host)
    rows = rows[p.priority[rows] > p.priority[first].min()] if len(first) else rows
    hot = np.unique([c // p.steps for c in duty.columns if c < p.timed]) if duty.columns else np.arange(p.dimensions)
    found: list[Remedy] = []
    for shard in rows.tolist():
        now, least = allowed.limits[shard], np.minimum(whole(allowed.least[shard], quanta), allowed.limits[shard])
        target = now.copy()
        target[hot] = least[hot]
        lowest = resized(p, shard, factor(p, shard, target))
        if np.allclose(lowest.mean[shard], p.mean[shard], rtol=1e-6):
            continue
        if done(lowest, duty, ()):
            best, target = _gentle(p, shard, duty, now, target, quanta)
            found.append(
                Remedy(kind="resize", shard=shard, host=duty.host, amounts=tuple(target.tolist()), code="SHRINK")
            )
            return best, found
        p = lowest
        found.append(Remedy(kind="resize", shard=shard, host=duty.host, amounts=tuple(target.tolist()), code="SHRINK"))
    return problem, []


def _gentle(p: Problem, shard: int, duty: Duty, now: F64, least: F64, quanta: F64) -> tuple[Problem, F64]:
    """The highest limits between the two, in whole quanta, that are still enough: by halving the way."""
    low, high = 0, 64
    kept, target = resized(p, shard, factor(p, shard, least)), least
    while high - low > 1:
        middle = (low + high) // 2
        limits = np.minimum(whole(least + (now - least) * middle / 64, quanta), now)
        tried = resized(p, shard, factor(p, shard, limits))
        if done(tried, duty, ()):
            low, kept, target = middle, tried, limits
        else:
            high = middle
    return kept, target


@dataclass(frozen=True, eq=False, kw_only=True)
class Sizes:
    """Right sizes: ``target`` (N, R) in whole quanta, what is wasted and what is short against the limits."""

    target: F64
    waste: F64
    short: F64

    @property
    def wasted(self) -> F64:
        """(R,) the share of all limits that nobody is predicted to need."""
        given = np.nansum(self.target + self.waste - self.short, axis=0)
        return np.asarray(np.nansum(self.waste, axis=0) / np.maximum(given, 1e-12), dtype=np.float64)


def right_sizes(need: F64, limits: F64, least: F64, quanta: F64) -> Sizes:
    """What every shard should have: the peak quantile ``need`` (N, R) in whole quanta, at least its guarantee.

    NaN stays NaN: a shard of unknown need, or without limits, is left alone.
    """
    target = whole(np.fmax(need, np.nan_to_num(least)) + 0.0 * need * np.where(np.isnan(limits), np.nan, 1.0), quanta)
    return Sizes(target=target, waste=np.maximum(limits - target, 0.0), short=np.maximum(target - limits, 0.0))


def better_quanta(problem: Problem, need: F64, quanta: F64, share: float) -> tuple[tuple[int, float, str], ...]:
    """New quanta ``(dimension, quantum, code)`` where the present ones waste more than ``share`` (S3.13).

    WASTE: rounding up gives shards that much more than they need; the quantum is halved until it
    does not. FRAGMENTS: that much of the fleet's free room lies in pieces smaller than a quantum.
    """
    found = []
    edge = State(problem).upper()
    for dim in range(problem.dimensions):
        quantum, asked = float(quanta[dim]), need[:, dim][np.isfinite(need[:, dim]) & (need[:, dim] > 0)]
        if quantum <= 0 or not len(asked):
            continue
        span = slice(dim * problem.steps, (dim + 1) * problem.steps)
        free = np.maximum((problem.room - edge)[:, span].min(axis=1), 0.0)[problem.accepts]
        free = free[np.isfinite(free)]

        def wasted(size: float, asked: F64 = asked) -> float:
            return float(whole(asked, np.array(size)).sum() / asked.sum() - 1.0)

        def lost(size: float, free: F64 = free) -> float:
            return float(1.0 - (np.floor(free / size + 1e-9) * size).sum() / free.sum()) if free.sum() > 0 else 0.0

        code = "WASTE" if wasted(quantum) > share else "FRAGMENTS" if lost(quantum) > share else ""
        size = quantum
        while code and (wasted(size) > share or lost(size) > share) and size > quantum / 64:
            size /= 2
        if code:
            found.append((dim, size, code))
    return tuple(found)
