"""What if a host or a failure domain were lost: whether the others would hold its shards (N-1 headroom).

The limit counts here, not the room: what is reserved for failures is there to be used in one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sidestep.planning.exact.changes import cordoned
from sidestep.planning.ladder.remedy import Remedy
from sidestep.planning.model import Move, Problem, State
from sidestep.planning.model.problem import F64, I64
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.relief import DEFAULT
from sidestep.planning.relief.goals import best_place


@dataclass(frozen=True, eq=False, kw_only=True)
class Survival:
    """The worst loss. ``domain`` -1: every loss would be survived; else the first that would not be.

    ``missing`` (D,) is demand that the others have no room for in sum; where that is nothing, ``shard``
    is one that finds no single host. ``tried`` domains were placed shard by shard, the tightest first;
    the sums were looked at for all.
    """

    domain: int = -1
    missing: F64
    shard: int = -1
    tried: int = 0

    @property
    def survives(self) -> bool:
        """Whether no loss was found that would not be survived."""
        return self.domain < 0


def survives(problem: Problem, state: State, kind: int = 0, *, tries: int = 8) -> Survival:
    """Whether the fleet would hold the shards of any one domain of ``kind`` (0: host) if it were lost.

    Sums over all columns first, for all domains at once: where they do not suffice nothing would. Then
    the ``tries`` domains with least to spare are placed in full, rules included.
    """
    p, width = problem, problem.limit.shape[1]
    domain = p.constraints.domains[kind].astype(np.int64)
    count = int(domain.max(initial=-1)) + 1
    used = state.upper()
    with np.errstate(invalid="ignore"):
        free = np.where(p.accepts[:, None], np.maximum(p.limit - used, 0.0), 0.0)
    free = np.where(np.isnan(free), 0.0, free)
    placed = np.flatnonzero(state.at >= 0)
    asked, spare = np.zeros((count, width)), np.zeros((count, width))
    np.add.at(asked, domain[state.at[placed]], np.nan_to_num(p.mean[placed].astype(np.float64)))
    np.add.at(spare, domain, free)
    with np.errstate(invalid="ignore"):
        missing = np.nan_to_num(asked - (free.sum(axis=0) - spare), nan=0.0, neginf=0.0)
    scale = np.nanmax(np.where(np.isfinite(p.capacity), p.capacity, np.nan), axis=0, initial=1e-12)
    worst = np.where(asked > 0, missing / scale, -np.inf).max(axis=1, initial=-np.inf)
    order = np.argsort(-worst, kind="stable")
    if count and worst[order[0]] > TOLERANCE:
        at = int(order[0])
        return Survival(domain=at, missing=np.maximum(missing[at], 0.0))
    tried = 0
    for at in order[np.isfinite(worst[order])][:tries].tolist():
        tried += 1
        stuck = _evacuate(p, state, np.flatnonzero(domain == at))
        if stuck >= 0:
            return Survival(domain=at, missing=np.zeros(width), shard=stuck, tried=tried)
    return Survival(missing=np.zeros(width), tried=tried)


def _evacuate(problem: Problem, state: State, lost: I64) -> int:
    """A shard that finds no host when those are lost, placed the largest first; -1 if all do."""
    dead = replace(cordoned(problem, lost.tolist()), room=problem.limit)
    trial = State(dead, tuple(state.moves))
    rows = np.flatnonzero(np.isin(state.at, lost))
    size = (dead.mean[rows] / np.maximum(np.nanmedian(dead.capacity, axis=0), 1e-12)).max(axis=1, initial=0.0)
    for shard in rows[np.argsort(-size, kind="stable")].tolist():
        # whoever moved there is placed from there
        hosts = np.flatnonzero(trial.open(shard))
        hosts = hosts[trial.spare(shard, hosts, during=False) >= -TOLERANCE]
        if not len(hosts):
            return int(shard)
        to = best_place(DEFAULT, trial, shard, hosts)
        if trial.at[shard] == dead.host[shard]:
            trial.push(Move(shard, int(dead.host[shard]), to, -1))
        else:
            trial.take(shard)
            trial.push(Move(shard, int(dead.host[shard]), to, -1))
    return -1


def deactivate(
    problem: Problem, state: State, hosts: tuple[int, ...], *, kinds: tuple[int, ...] = (0,), keep: int = 1
) -> tuple[Remedy, ...]:
    """Which of ``hosts`` can be closed: empty ones without which every loss would still be survived.

    The dearest first, so that the cheapest stay (S3.15); at least ``keep`` accepting hosts do.
    """
    p, found = problem, list[Remedy]()
    empty = [h for h in hosts if p.accepts[h] and not (state.at == h).any()]
    for host in sorted(empty, key=lambda h: (-float(p.cost[h]), -int(p.rank[h]))):
        if int(p.accepts.sum()) <= keep:
            break
        without = cordoned(p, [host])
        trial = State(without, tuple(state.moves))
        if all(survives(without, trial, kind).survives for kind in kinds):
            p = without
            found.append(Remedy(kind="deactivate", host=host, amounts=(float(p.cost[host]),), code="EMPTY"))
    return tuple(found)
