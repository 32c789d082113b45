"""What a fleet lacks when no moves do its duties, and whether those that a plan left undone could be done at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from sidestep.planning.exact.build import Scope, build
from sidestep.planning.exact.changes import split, widened
from sidestep.planning.exact.check import done
from sidestep.planning.exact.program import Limits
from sidestep.planning.exact.solve import Exact, Search, moves_count, optimum
from sidestep.planning.model import Duty, Move, Outcome, Problem, State
from sidestep.planning.model.problem import Mask

#: hosts that are added at most
MOST = 8
#: shards that are tried at each size of a set to split, the largest first
FEW = 4
#: ways to move a shard that a program may have
WAYS = 40_000


@dataclass(frozen=True, kw_only=True)
class Missing:
    """By rows, no words: how many more hosts would do, or which splits.

    ``needed`` False: moves alone do. ``hosts`` more like ``like`` (0: not even the most that were tried do);
    ``fewest`` says that one fewer is proven not to. ``splits``: shards that would have to be halved, empty if
    no such set was found; ``proven`` that moves alone do not do.
    """

    needed: bool
    proven: bool = False
    like: int = -1
    hosts: int = 0
    fewest: bool = False
    moves: tuple[Move, ...] = ()
    splits: tuple[int, ...] = ()
    capped: str = ""


def what_is_missing(
    problem: Problem,
    duties: tuple[Duty, ...],
    *,
    like: int | None = None,
    splittable: tuple[int, ...] = (),
    most: int = MOST,
    limits: Limits | None = None,
) -> Missing:
    """The fewest empty hosts ``like`` one of the fleet that would let moves do all duties, or which splits would.

    ``like`` is the cheapest accepting host unless given. Of ``splittable`` shards the fewest are halved that
    do, tried by their size on what is in contention, up to three at once.
    """
    limits = limits or Limits()
    alone = optimum(problem, duties, limits=limits, lightest=False)
    if alone.moves or alone.status == "OPTIMAL":
        return Missing(needed=False)
    proven = alone.status == "INFEASIBLE"
    if like is None:
        open_ = np.flatnonzero(problem.accepts)
        order = np.lexsort((problem.rank[open_], problem.cost[open_]))
        like = int(open_[order[0]]) if len(open_) else -1
    hosts, fewest, moves, capped = 0, False, tuple[Move, ...](), alone.capped
    if like >= 0 and alone.hopeless is None:
        found, sure = _fewest_hosts(problem, duties, like, most, limits)
        capped = capped or found.capped
        if found.moves:
            new = {m.destination for m in found.moves if m.destination >= problem.hosts}
            hosts, moves, fewest = len(new), found.moves, sure and proven
    return Missing(
        needed=True,
        proven=proven,
        like=like,
        hosts=hosts,
        fewest=fewest,
        moves=moves,
        splits=_splits(problem, duties, splittable, limits),
        capped=capped,
    )


def _fewest_hosts(
    problem: Problem, duties: tuple[Duty, ...], like: int, most: int, limits: Limits
) -> tuple[Exact, bool]:
    """A plan on the fleet with hosts added that opens as few as possible; and whether that is proven."""
    wide = widened(problem, [like] * most)
    new = tuple(range(problem.hosts, wide.hosts))
    model = build(wide, duties, Scope(opened=new))
    if model.hopeless is not None:
        return Exact(status="INFEASIBLE", hopeless=model.hopeless), True
    columns = [model.open[host] for host in new]
    for one, other in pairwise(columns):
        # they are all alike: open them in order
        model.program.row(np.array([other, one]), np.array([1.0, -1.0]), high=0.0)
    search = Search(model, limits)
    cost = np.zeros(model.program.columns)
    cost[columns] = 1.0
    found = search.best(cost)
    sure = found.verdict == "OPTIMAL" and search.sure
    answer = Exact(
        status=found.verdict if search.sure else "UNKNOWN",
        moves=found.moves,
        count=moves_count(wide, found.moves),
        capped=found.capped,
        nodes=search.nodes,
        rounds=search.rounds,
    )
    used = len({m.destination for m in found.moves if m.destination >= problem.hosts})
    if not found.moves or used == 0:
        return answer, sure
    # with as many hosts as that, the fewest moves
    exactly = widened(problem, [like] * used)
    better = optimum(exactly, duties, limits=limits, lightest=False)
    return (better if better.moves else answer), sure


def _splits(problem: Problem, duties: tuple[Duty, ...], splittable: tuple[int, ...], limits: Limits) -> tuple[int, ...]:
    """The first set found of at most three shards whose halving lets moves do all duties, smaller sets first."""
    limits = replace(limits, nodes=max(1, limits.nodes // 10), rounds=max(1, limits.rounds // 4))
    rows = [s for s in splittable if problem.movable[s]]
    hot = {d.host: d for d in duties if d.kind == "contention"}
    named = {s for d in duties for s in d.shards}
    rows = [s for s in rows if int(problem.host[s]) in hot or s in named]
    scale = np.nanmax(np.where(np.isfinite(problem.limit), problem.limit, np.nan), axis=0)
    rows.sort(key=lambda s: (-float((problem.mean[s] / scale).max()), s))
    chosen: list[int] = []
    for _ in range(3):
        for shard in rows[:FEW]:
            if shard not in chosen and _does(problem, duties, [*chosen, shard], limits):
                return tuple(sorted([*chosen, shard]))
        rest = [s for s in rows if s not in chosen]
        if not rest:
            break
        chosen.append(rest[0])
    return ()


def _does(problem: Problem, duties: tuple[Duty, ...], shards: list[int], limits: Limits) -> bool:
    trial, asked = problem, duties
    for shard in shards:
        asked = tuple(
            replace(d, shards=(*d.shards, trial.shards)) if d.kind in {"drain", "failover"} and shard in d.shards else d
            for d in asked
        )
        trial = split(trial, shard, (0.5, 0.5))
    return bool(optimum(trial, asked, limits=limits, lightest=False).moves)


@dataclass(frozen=True, kw_only=True)
class Touched:
    """The exact answer on a sub-fleet of ``hosts``: those that a plan touches, those still hot, and the roomiest.

    POSSIBLE: ``moves`` do every duty that the plan did and some that it left. FEWER: the same duties with
    fewer moves. BEST: the plan does all that can be done there with no move too many. UNKNOWN: capped. A
    larger sub-fleet might know better, so only POSSIBLE and FEWER are final.
    """

    verdict: Literal["POSSIBLE", "FEWER", "BEST", "UNKNOWN"]
    hosts: tuple[int, ...]
    moves: tuple[Move, ...] = ()
    count: int = 0
    bound: int = 0
    capped: str = ""


def touched(
    problem: Problem,
    outcome: Outcome,
    duties: tuple[Duty, ...],
    *,
    receivers: int = 12,
    limits: Limits | None = None,
) -> Touched:
    """Whether the hosts that a plan touches, and the roomiest others, could do more duties or do with fewer moves.

    Those left undone first, all together and one by one beside what the plan did; then what it did with
    fewer moves. Shards of hosts without a duty may move too while the program stays below ``WAYS`` ways to move one.
    """
    limits = limits or Limits()
    hosts = _sub_fleet(problem, outcome, duties, receivers)
    inside = np.zeros(problem.hosts, dtype=np.bool_)
    inside[list(hosts)] = True
    scope = Scope(hosts=inside, shards=_movers(problem, outcome, duties, inside))
    count = moves_count(problem, outcome.moves)
    undone = tuple(left.duty for left in outcome.left)
    served = tuple(d for d in duties if d not in undone and done(problem, d, outcome.moves))
    unsure: Exact | None = None
    # all at once, else each by itself beside what the plan does
    for more in dict.fromkeys((undone, *((duty,) for duty in undone)) if undone else ()):
        found = optimum(problem, served + more, scope=scope, limits=limits, lightest=False)
        if found.moves:
            return Touched(verdict="POSSIBLE", hosts=hosts, moves=found.moves, count=found.count, bound=found.bound)
        if found.status != "INFEASIBLE":
            unsure = found
    if unsure is not None:
        return Touched(verdict="UNKNOWN", hosts=hosts, count=count, bound=unsure.bound, capped=unsure.capped)
    fewer = optimum(problem, served, scope=scope, limits=limits, known=count, lightest=False)
    if fewer.moves:
        return Touched(verdict="FEWER", hosts=hosts, moves=fewer.moves, count=fewer.count, bound=fewer.bound)
    if fewer.status in {"INFEASIBLE", "OPTIMAL"}:
        return Touched(verdict="BEST", hosts=hosts, moves=outcome.moves, count=count, bound=count)
    return Touched(verdict="UNKNOWN", hosts=hosts, count=count, bound=fewer.bound, capped=fewer.capped)


def _sub_fleet(problem: Problem, outcome: Outcome, duties: tuple[Duty, ...], receivers: int) -> tuple[int, ...]:
    hosts = {h for m in outcome.moves for h in (m.source, m.destination) if h >= 0}
    hosts |= {d.host for d in duties if d.host >= 0}
    state = State(problem, outcome.moves)
    with np.errstate(invalid="ignore", divide="ignore"):
        free = ((problem.room - state.upper()) / problem.capacity).min(axis=1)
    free = np.where(problem.accepts & np.isfinite(free), free, -np.inf)
    order = [h for h in np.lexsort((problem.rank, -free)).tolist() if h not in hosts and free[h] > -np.inf]
    return tuple(sorted(hosts | set(order[:receivers])))


def _movers(problem: Problem, outcome: Outcome, duties: tuple[Duty, ...], inside: Mask) -> Mask:
    about = np.zeros(problem.hosts + 1, dtype=np.bool_)
    about[[d.host for d in duties if d.host >= 0]] = True
    here = np.append(inside, False)[problem.host] & problem.movable
    first = here & about[problem.host]
    first[[s for d in duties for s in d.shards]] = True
    first[[m.shard for m in outcome.moves]] = True
    more = np.flatnonzero(here & ~first)
    spare = WAYS // max(1, int(inside.sum())) - int(first.sum())
    if spare <= 0:
        return np.asarray(first, dtype=np.bool_)
    # the largest: their leaving makes room
    size = problem.mean[more].max(axis=1, initial=0.0)
    first[more[np.argsort(-size, kind="stable")[:spare]]] = True
    return np.asarray(first, dtype=np.bool_)
