"""Leaving hosts: dead ones at once, with a brake; living ones after a look at whether it can be done at all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sidestep.planning.exact.changes import cordoned, split, widened
from sidestep.planning.ladder.headroom import Survival, survives
from sidestep.planning.ladder.remedy import Relieve, Remedy
from sidestep.planning.model import Budget, Duty, Left, Outcome, Problem, State

#: more dead hosts than this, or than this part of the fleet, are more likely our own blindness
BRAKE_HOSTS = 10
BRAKE_SHARE = 0.4
#: hosts that are added on paper
TRIED = (1, 2, 4, 8)


@dataclass(frozen=True, eq=False, kw_only=True)
class Failover:
    """What to do about dead hosts: duties on a problem in which they are closed, or nothing because of the brake."""

    problem: Problem
    duties: tuple[Duty, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    #: BRAKE: too many are dead to believe it
    code: str = ""


def failover(
    problem: Problem,
    dead: Sequence[int],
    *,
    poisoned: Collection[int] = (),
    gone: int = 0,
    most: int = BRAKE_HOSTS,
    share: float = BRAKE_SHARE,
) -> Failover:
    """Start the shards of dead hosts elsewhere, the most important first (lesson 10: unless too many are dead).

    ``poisoned`` shards crash the hosts they land on; they stay where they are (lesson 11). ``gone`` hosts are
    dead, if more than those that are to be left.
    """
    hosts = sorted(set(dead))
    gone = max(gone, len(hosts))
    if gone > most or gone > share * problem.hosts:
        return Failover(problem=problem, code="BRAKE")
    gives, movable = problem.gives.copy(), problem.movable.copy()
    gives[hosts] = True
    rows = {h: [s for s in problem.on(h).tolist() if s not in set(poisoned)] for h in hosts}
    lost = [s for each in rows.values() for s in each]
    movable[lost] = np.isfinite(problem.mean[lost]).all(axis=1)
    movable[list(poisoned)] = False
    closed = replace(cordoned(problem, hosts), gives=gives, movable=movable)
    first = {h: int(problem.priority[each].min()) for h, each in rows.items() if each}
    duties = tuple(
        Duty(kind="failover", host=h, shards=tuple(sorted(rows[h], key=lambda s: (int(problem.priority[s]), s))))
        for h in sorted(first, key=lambda h: (first[h], h))
    )
    ordered = sorted(lost, key=lambda s: (int(problem.priority[s]), s))
    remedies = tuple(Remedy(kind="failover", shard=s, host=int(problem.host[s]), code="HOST_DEAD") for s in ordered)
    return Failover(problem=closed, duties=duties, remedies=remedies)


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """What keeps a host from being emptied: PINNED (the shard may not move now), or a code of ``Left``."""

    host: int
    code: str
    shard: int = -1
    lacks: tuple[tuple[int, int, float], ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Preflight:
    """Whether hosts can be emptied: the moves that would do it, what blocks it, what would unblock it.

    ``unpin`` and ``split`` are shards; ``hosts`` is how many more hosts like the first would do, 0 if
    none are needed or not even the most that were tried would do. ``loss`` is the worst loss afterwards.
    """

    problem: Problem
    outcome: Outcome
    blocks: tuple[Blocker, ...]
    unpin: tuple[int, ...] = ()
    split: tuple[int, ...] = ()
    hosts: int = 0
    loss: Survival

    @property
    def possible(self) -> bool:
        """Whether nothing blocks."""
        return not self.blocks


def preflight(
    problem: Problem,
    hosts: Sequence[int],
    relieve: Relieve,
    *,
    budget: Budget | None = None,
    kind: int = 0,
    tried: Sequence[int] = TRIED,
) -> Preflight:
    """Empty ``hosts`` on paper; all of them are cordoned before the first is (lesson 9)."""
    budget = budget or Budget()
    wanted = sorted(set(hosts))
    closed = cordoned(problem, wanted)
    duties = drains(closed, wanted)
    outcome = relieve(closed, duties, budget)
    blocks = [b for left in outcome.left for b in _blockers(closed, left)]
    pinned = tuple(b.shard for b in blocks if b.code == "PINNED")
    split_, more = tuple[int, ...](), 0
    if outcome.left:
        freed = _unpinned(closed, pinned)
        if pinned:
            again = relieve(freed, duties, budget)
            stuck = [left for left in again.left if left.code == "NO_ROOM"]
        else:
            stuck = [left for left in outcome.left if left.code == "NO_ROOM"]
        if stuck:
            split_ = _splits(freed, duties, stuck, relieve, budget)
            more = _more_hosts(freed, duties, wanted[0], relieve, budget, tried)
    loss = survives(closed, State(closed, outcome.moves), kind)
    return Preflight(
        problem=closed, outcome=outcome, blocks=tuple(blocks), unpin=pinned, split=split_, hosts=more, loss=loss
    )


def drains(problem: Problem, hosts: Sequence[int]) -> tuple[Duty, ...]:
    """One duty for each host that is not empty."""
    rows = {h: tuple(problem.on(h).tolist()) for h in hosts}
    return tuple(Duty(kind="drain", host=h, shards=shards) for h, shards in rows.items() if shards)


def _unpinned(problem: Problem, shards: Sequence[int]) -> Problem:
    movable, gives = problem.movable.copy(), problem.gives.copy()
    movable[list(shards)] = True
    gives[problem.host[list(shards)]] = True
    return replace(problem, movable=movable, gives=gives)


def _blockers(problem: Problem, left: Left) -> list[Blocker]:
    host = left.duty.host
    rows = np.array(left.duty.shards, dtype=np.int64)
    held = rows if not problem.gives[host] else rows[~problem.movable[rows]]
    if len(held):
        return [Blocker(host=host, code="PINNED", shard=s) for s in held.tolist()]
    return [Blocker(host=host, code=left.code, shard=left.shard, lacks=left.lacks)]


def _splits(
    problem: Problem, duties: tuple[Duty, ...], stuck: list[Left], relieve: Relieve, budget: Budget
) -> tuple[int, ...]:
    """The shards that are hardest to place, if halving them all would do."""
    shards = sorted({left.shard for left in stuck if left.shard >= 0})
    trial, asked = problem, duties
    for shard in shards:
        asked = tuple(replace(d, shards=(*d.shards, trial.shards)) if shard in d.shards else d for d in asked)
        trial = split(trial, shard, (0.5, 0.5))
    return tuple(shards) if shards and not relieve(trial, asked, budget).left else ()


def _more_hosts(
    problem: Problem, duties: tuple[Duty, ...], like: int, relieve: Relieve, budget: Budget, tried: Sequence[int]
) -> int:
    for count in tried:
        if not relieve(widened(problem, [like] * count), duties, budget).left:
            return count
    return 0
