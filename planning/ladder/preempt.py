"""Preemption: strictly less important shards make room, as few as do, within a budget; else the shard queues.

S5.19, S5.10, S4.16: who is preempted is paused and queued; what is guaranteed is never taken.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from sidestep.planning.exact.changes import placed
from sidestep.planning.exact.check import overfull, relieved
from sidestep.planning.ladder.remedy import Allowed, Remedy
from sidestep.planning.model import Duty, Left, Problem, State
from sidestep.planning.model.problem import I64

#: victims of which every pair is looked at
PAIRS = 40
#: hosts that are looked at for every number of victims that they surely need
TRIED = 16


def preempt(problem: Problem, left: Left, allowed: Allowed, spent: int) -> tuple[Problem, list[Remedy]]:
    """The problem without the fewest victims that let a duty be done, and who they are; nothing if none do."""
    budget = allowed.max_preempted - spent
    if budget <= 0:
        return problem, []
    duty = left.duty
    if duty.kind == "contention":
        victims, sake = _for_host(problem, duty, allowed, budget), _most_important(problem, duty.host)
    else:
        sake = left.shard
        victims = _for_shard(problem, sake, allowed, budget) if sake >= 0 else []
    if not victims:
        return problem, []
    found = [
        Remedy(kind="preempt", shard=s, host=int(problem.host[s]), sake=sake, code="LOWER_PRIORITY") for s in victims
    ]
    return placed(problem, (), off=victims), found


def _most_important(problem: Problem, host: int) -> int:
    rows = problem.on(host)
    return int(rows[np.lexsort((rows, problem.priority[rows]))[0]]) if len(rows) else -1


def _candidates(problem: Problem, host: int, than: int, allowed: Allowed) -> I64:
    """The shards of a host that matter strictly less, the least important first, then the largest."""
    rows = problem.on(host)
    may = problem.movable[rows] & (problem.priority[rows] > than)
    if allowed.guaranteed is not None:
        may &= ~allowed.guaranteed[rows]
    rows = rows[may]
    return np.asarray(rows[np.lexsort((rows, -problem.mean[rows].sum(axis=1), -problem.priority[rows]))], np.int64)


def _fewest(rows: I64, enough: Callable[[I64], bool], budget: int) -> list[int]:
    """The fewest of ``rows`` that are enough, rather the first ones; of three or more the first that no one is
    needless in."""
    for shard in rows.tolist():
        if enough(np.array([shard])):
            return [shard]
    if budget < 2:
        return []
    for pair in combinations(rows[:PAIRS].tolist(), 2):
        if enough(np.array(pair)):
            return list(pair)
    for size in range(3, len(rows) + 1):
        if enough(rows[:size]):
            chosen = rows[:size].tolist()
            for shard in reversed(chosen[:-1]):
                rest = [s for s in chosen if s != shard]
                chosen = rest if enough(np.array(rest)) else chosen
            return chosen if len(chosen) <= budget else []
    return []


def _for_host(problem: Problem, duty: Duty, allowed: Allowed, budget: int) -> list[int]:
    first = _most_important(problem, duty.host)
    if first < 0:
        return []
    rows = _candidates(problem, duty.host, int(problem.priority[first]), allowed)
    none = np.zeros(0, dtype=np.int64)
    return _fewest(rows, lambda gone: relieved(problem, duty, gone, none), budget)


def _for_shard(problem: Problem, shard: int, allowed: Allowed, budget: int) -> list[int]:
    """On the host where fewest are needed; of those where they matter least and carry least.

    Hosts are tried by a number that surely is needed there; where that many do, no other host does with fewer.
    """
    state = State(problem)
    blocked = problem.constraints.blocked(state.at, shard)
    come, best = np.array([shard], dtype=np.int64), None
    for least, host in _promising(problem, state, shard, allowed, budget):
        if best is not None and len(best[1]) < least:
            break
        rows = _candidates(problem, host, int(problem.priority[shard]), allowed)

        def enough(gone: I64, host: int = host) -> bool:
            if blocked[host]:
                at = state.at.copy()
                at[gone] = -1
                if problem.constraints.blocked(at, shard)[host]:
                    return False
            return not overfull(problem, host, gone, come)

        found = _fewest(rows, enough, budget)
        if found:
            key = (len(found), -int(problem.priority[found].min()), float(problem.bytes[found].sum()), host)
            if best is None or key < best[0]:
                best = (key, found)
    return best[1] if best else []


def _promising(problem: Problem, state: State, shard: int, allowed: Allowed, budget: int) -> list[tuple[int, int]]:
    """(at least so many must leave, host) of hosts where enough could leave, fewest first, TRIED of each number.

    A shard that leaves frees at most its mean and its whole distance to the quantile.
    """
    p = problem
    may = p.movable & (p.host >= 0) & (p.priority > p.priority[shard])
    if allowed.guaranteed is not None:
        may &= ~allowed.guaranteed
    rows = np.flatnonzero(may)
    asks = (p.mean[shard] > 0) | (p.sd[shard] > 0)
    open_ = p.accepts & p.constraints.masks[p.constraints.mask[shard]]
    if p.host[shard] >= 0:
        open_[p.host[shard]] = False
    if not len(rows) or not asks.any():
        return []
    rows = rows[np.argsort(p.host[rows], kind="stable")]
    hosts, first = np.unique(p.host[rows].astype(np.int64), return_index=True)
    freed = (p.mean[rows][:, asks] + abs(p.z) * p.sd[rows][:, asks]).astype(np.float64)
    lack = (state.arrivals(shard, hosts) - p.room[hosts])[:, asks]
    lack = np.where(np.isnan(lack), np.inf, lack - 1e-6 * np.abs(p.room[hosts][:, asks]))
    most, all_ = np.maximum.reduceat(freed, first, axis=0), np.add.reduceat(freed, first, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        needed = np.where(lack > 0, np.ceil(lack / most), 0.0).max(axis=1)
    needed = np.maximum(np.where(np.isnan(needed), np.inf, needed), 1.0)
    could = open_[hosts] & (needed <= budget) & (lack <= all_).all(axis=1)
    found = sorted(zip(needed[could].astype(int).tolist(), hosts[could].tolist(), strict=True))
    counts: dict[int, int] = {}
    kept = []
    for least, host in found:
        counts[least] = counts.get(least, 0) + 1
        if counts[least] <= TRIED:
            kept.append((least, host))
    return kept
