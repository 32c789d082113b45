"""What is asked of a plan, in strict order, and how destinations are chosen.

First the duties: fewer undone of level 0, of those undone rather the later ones, then the same
for the next level. Then moves (or bytes) with a little for every change against the plan shown
before, then bytes (or moves). Destinations are chosen by the places' goals, which never
change what is done nor how many moves it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from sidestep.planning.model import Duty, Move, Problem, State
from sidestep.planning.model.problem import F64, I64, Mask

Prefer = Literal["moves", "bytes"]
#: duties by level: how many undone, and which; then the cost
Rating = tuple[tuple[tuple[int, tuple[bool, ...]], ...], float, float]

#: what one change against the plan shown before costs, in moves
CHANGE = 0.05
#: a move's own cost in a plan of the fewest bytes, so that nothing is moved for nothing
PER_MOVE = 65536.0


class Place(Protocol):
    """A goal by which destinations are chosen."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def grain(self) -> float:
        """Scores that differ by less are the same; 0 compares them exactly."""

    def score(self, state: State, shard: int, rows: I64) -> F64:
        """(k,) lower is better, for hosts ``rows`` that all may receive the shard."""


@dataclass(frozen=True)
class Headroom:
    """Rather where most room stays in the column that has least."""

    name: str = "headroom"
    grain: float = 1e-6

    def score(self, state: State, shard: int, rows: I64) -> F64:
        """Least room that stays, negative: a fraction of capacity."""
        return -state.spare(shard, rows)


DEFAULT: tuple[Place, ...] = (Headroom(),)


def best_place(places: Sequence[Place], state: State, shard: int, rows: I64) -> int:
    """The host that is best by the first goal, then by the next one, then by rank; ``rows`` is not empty."""
    keys: list[F64 | I64] = [state.problem.rank[rows]]
    for place in reversed(places):
        score = place.score(state, shard, rows)
        keys.append(np.round(score / place.grain) if place.grain > 0 else score)
    return int(rows[np.lexsort(keys)[0]])


@dataclass(frozen=True, eq=False)
class Tasks:
    """The duties of a problem by level, soonest first, and when they are done."""

    problem: Problem
    duties: tuple[Duty, ...]
    previous: tuple[Move, ...] = ()
    prefer: Prefer = "moves"
    _before: dict[int, tuple[int, int]] = field(default_factory=dict, init=False)
    #: positions and hosts of the duties of contention, and the duties that ask more than not to be hot
    _hot: tuple[I64, I64] = field(init=False)
    _special: tuple[tuple[int, Duty], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "duties", tuple(sorted(self.duties, key=lambda duty: duty.level)))
        rows = [i for i, duty in enumerate(self.duties) if duty.kind == "contention"]
        hosts = [self.duties[i].host for i in rows]
        object.__setattr__(self, "_hot", (np.array(rows, dtype=np.int64), np.array(hosts, dtype=np.int64)))
        special = ((i, d) for i, d in enumerate(self.duties) if d.kind != "contention" or d.gain > 0)
        object.__setattr__(self, "_special", tuple(special))
        self._before.update((move.shard, (move.source, move.destination)) for move in self.previous)

    def done(self, state: State) -> Mask:
        """(n,) which duties are done after the moves."""
        out = np.zeros(len(self.duties), dtype=np.bool_)
        rows, hosts = self._hot
        if len(rows):
            out[rows] = ~state.hot(hosts)
        for index, duty in self._special:
            if duty.kind != "contention":
                out[index] = has_left(state, duty)
            elif duty.gain > 0 and out[index]:
                out[index] = bool(falls(self.problem, duty, state.upper(np.array([duty.host]))[0][None])[0])
        return out

    def rate(self, done: Mask, moves: Sequence[Move]) -> Rating:
        """How good a plan is; less is better."""
        levels: dict[int, list[bool]] = {}
        for duty, good in zip(self.duties, done.tolist(), strict=True):
            levels.setdefault(duty.level, []).append(not good)
        return tuple((sum(u), tuple(u)) for _, u in sorted(levels.items())), *self.cost(moves)

    def cost(self, moves: Sequence[Move]) -> tuple[float, float]:
        """Moves and bytes, the preferred one first; changes against the plan before counted in."""
        rows = [move.shard for move in moves]
        count = float(self.problem.count[rows].sum())
        size = float(self.problem.bytes[rows].sum())
        change = CHANGE * self.changes(moves) if self._before else 0.0
        if self.prefer == "moves":
            return round(count + change, 6), size
        mean = size / max(1.0, count)
        return size + change * mean, count

    def changes(self, moves: Sequence[Move]) -> int:
        """Actions that the plan shown before did not have."""
        return sum(self.before(move.shard) != (move.source, move.destination) for move in moves)

    def before(self, shard: int) -> tuple[int, int] | None:
        """Source and destination of a shard in the plan shown before."""
        return self._before.get(shard)


def has_left(state: State, duty: Duty) -> bool:
    """Whether enough of a duty's shards have left their domain or host."""
    rows = np.array(duty.shards, dtype=np.int64)
    problem = state.problem
    if duty.kind != "rule":
        return bool((state.at[rows] != problem.host[rows]).all())
    if duty.group < 0:
        return int((state.at[rows] != problem.host[rows]).sum()) >= duty.least
    domain = problem.constraints.domains[problem.constraints.kind[duty.group]]
    return int((domain[state.at[rows]] != domain[problem.host[rows]]).sum()) >= duty.least


def falls(problem: Problem, duty: Duty, upper: F64) -> Mask:
    """(S,) whether the peak of every dimension in contention falls by the duty's gain; ``upper`` is (S, D)."""
    before = problem.median[duty.host] + (-1.0 if problem.z < 0 else 1.0) * problem.away[duty.host]
    out = np.ones(len(upper), dtype=np.bool_)
    for columns in peaks(problem, duty):
        peak = columns[int(before[columns].argmax())]
        needed = duty.gain * problem.capacity[duty.host, peak]
        out &= before[peak] - upper[:, columns].max(axis=1) >= needed - 1e-9 * abs(needed)
    return out


def peaks(problem: Problem, duty: Duty) -> list[I64]:
    """The columns of each dimension that a duty of contention names one of."""
    steps = problem.steps
    timed = sorted({column // steps for column in duty.columns if column < problem.timed})
    found = [np.arange(dim * steps, (dim + 1) * steps, dtype=np.int64) for dim in timed]
    return found + [np.array([c], dtype=np.int64) for c in sorted(set(duty.columns)) if c >= problem.timed]
