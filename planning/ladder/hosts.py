"""The best host for a shard, and why every other is not (S1.13, S1.28, S5.17, S5.18)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sidestep.planning.exact.changes import grown_rules
from sidestep.planning.model import Problem, State
from sidestep.planning.model.problem import F64, I64
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.relief import DEFAULT, Place

WhyNot = Literal["HERE", "CLOSED", "NOT_ALLOWED", "GROUP", "AVOID", "UNKNOWN", "NO_ROOM"]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a host is not for a shard; for NO_ROOM the column and how much is missing where it is worst."""

    host: int
    code: WhyNot
    column: int = -1
    missing: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Hosts that may receive, the best first, with the room each keeps; none: the shard is to queue."""

    hosts: tuple[int, ...]
    room: tuple[float, ...]
    refused: tuple[Refusal, ...]

    @property
    def queue(self) -> bool:
        """Whether no host fits now, so that the shard waits for room (S5.18)."""
        return not self.hosts


def best_hosts(state: State, shard: int, places: Sequence[Place] = DEFAULT) -> Offer:
    """All hosts ranked for a shard by the goals of ``places``, after the moves of ``state``; others with reasons."""
    p = state.problem
    spare = state.spare(shard)
    open_ = state.open(shard)
    rows = np.flatnonzero(open_ & (spare >= -TOLERANCE))
    keys: list[F64 | I64] = [p.rank[rows]]
    for place in reversed(places):
        score = place.score(state, shard, rows)
        keys.append(np.round(score / place.grain) if place.grain > 0 else score)
    rows = rows[np.lexsort(keys)]
    others = np.setdiff1d(np.arange(p.hosts), rows)
    return Offer(
        hosts=tuple(rows.tolist()),
        room=tuple(spare[rows].tolist()),
        refused=tuple(_refusal(state, shard, host, bool(open_[host])) for host in others.tolist()),
    )


def _refusal(state: State, shard: int, host: int, open_: bool) -> Refusal:
    p, rules = state.problem, state.problem.constraints
    if not open_:
        if state.at[shard] == host:
            return Refusal(host=host, code="HERE")
        if not p.accepts[host]:
            return Refusal(host=host, code="CLOSED")
        if not rules.masks[rules.mask[shard], host]:
            return Refusal(host=host, code="NOT_ALLOWED")
        near = rules.avoided(shard)
        return Refusal(host=host, code="AVOID" if (state.at[near] == host).any() else "GROUP")
    lack = state.arrivals(shard, np.array([host]), during=True)[0] - p.room[host]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where((p.mean[shard] > 0) | (p.sd[shard] > 0), lack / p.capacity[host], -np.inf)
    if np.isnan(part).any():
        return Refusal(host=host, code="UNKNOWN")
    column = int(part.argmax())
    return Refusal(host=host, code="NO_ROOM", column=column, missing=float(lack[column]))


def with_work(problem: Problem, mean: F64, sd: F64 | None = None, *, like: int = -1, priority: int = 3) -> Problem:
    """The problem with one more shard, its last row, that is nowhere; under the rules of shard ``like``, or none."""
    p = problem
    rows = np.append(np.arange(p.shards), max(like, 0)).astype(np.int64)
    new_sd = np.zeros_like(mean) if sd is None else sd
    rules = grown_rules(p.constraints, rows, like)
    return replace(
        p,
        host=np.append(p.host, -1).astype(np.int32),
        mean=np.vstack([p.mean, mean]).astype(np.float32),
        sd=np.vstack([p.sd, new_sd]).astype(np.float32),
        movable=np.append(p.movable, True),
        bytes=np.append(p.bytes, 0.0),
        count=np.append(p.count, 1).astype(np.int32),
        priority=np.append(p.priority, priority).astype(np.int32),
        constraints=rules,
    )
