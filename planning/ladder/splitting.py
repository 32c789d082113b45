"""The document's decision: keep watching, a better host, or a split whose parts are placed like any shard.

S1.18, S1.27-S1.30: only a shard that is over its threshold in m of the last n windows is acted
on; first a better host for it is looked for; only if there is none it is split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.exact.changes import split
from sidestep.planning.ladder.remedy import Remedy
from sidestep.planning.model import Move, Problem, State
from sidestep.planning.model.problem import F64, Mask
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.relief import DEFAULT, Place
from sidestep.planning.relief.goals import best_place


@dataclass(frozen=True, kw_only=True)
class Breach:
    """When a shard is consistently over: in ``least`` of the last ``windows`` windows."""

    cpu: float
    latency: float
    least: int = 3
    windows: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.windows:
            raise ValueError(f"{self.least} of {self.windows} windows is no rule")

    def over(self, cpu: NDArray[np.floating], latency: NDArray[np.floating]) -> Mask:
        """(N,) from windows (N, n), the newest last; NaN is a window that is not valid and counts for nothing.

        The two thresholds are apart: cpu in some windows and latency in others is no breach of either.
        """
        hot = np.stack([cpu[:, -self.windows :] > self.cpu, latency[:, -self.windows :] > self.latency])
        return np.asarray((hot.sum(axis=2) >= self.least).any(axis=0), dtype=np.bool_)


@dataclass(frozen=True, eq=False, kw_only=True)
class Decision:
    """MONITOR, MIGRATE with one move, SPLIT with the split and its moves, or NO_HOST: not even parts fit."""

    code: Literal["MONITOR", "MIGRATE", "SPLIT", "NO_HOST"]
    problem: Problem
    remedies: tuple[Remedy, ...] = ()
    moves: tuple[Move, ...] = ()


def decide(
    problem: Problem,
    shard: int,
    over: bool,
    *,
    places: Sequence[Place] = DEFAULT,
    parts: int = 2,
    moves: Sequence[Move] = (),
    splittable: bool = True,
) -> Decision:
    """What to do about one shard, on top of the ``moves`` already planned.

    A host is better if the shard has more room there than it leaves itself where it is. A split comes
    before the moves of its parts; the first part stays, every other goes where the scorer says.
    """
    if not over:
        return Decision(code="MONITOR", problem=problem)
    state, here = State(problem, tuple(moves)), int(problem.host[shard])
    better = _better(state, shard, places)
    if better == here:
        return Decision(code="MONITOR", problem=problem)
    if better >= 0:
        return Decision(code="MIGRATE", problem=problem, moves=(Move(shard, here, better, here),))
    if not splittable or not problem.movable[shard] or here < 0:
        return Decision(code="NO_HOST", problem=problem)
    halved = split(problem, shard, [1.0 / parts] * parts)
    rows = (shard, *range(problem.shards, halved.shards))
    state = State(halved, tuple(moves))
    for part in rows[1:]:
        host = _roomiest(state, part, places)
        if host < 0:
            return Decision(code="NO_HOST", problem=problem)
        state.push(Move(part, here, host, here))
    remedy = Remedy(kind="split", shard=shard, host=here, parts=rows, amounts=(1.0 / parts,) * parts, code="HOT_SHARD")
    return Decision(code="SPLIT", problem=halved, remedies=(remedy,), moves=tuple(state.moves[len(moves) :]))


def _roomiest(state: State, shard: int, places: Sequence[Place]) -> int:
    p = state.problem
    if not p.movable[shard] or (p.host[shard] >= 0 and not p.gives[p.host[shard]]):
        return -1
    rows = np.flatnonzero(state.open(shard))
    rows = rows[state.spare(shard, rows) >= -TOLERANCE]
    return best_place(places, state, shard, rows) if len(rows) else -1


def _better(state: State, shard: int, places: Sequence[Place]) -> int:
    """The best host if it leaves more room than the shard's own does; the own one if that is enough; else -1."""
    p, here = state.problem, int(state.problem.host[shard])
    found = _roomiest(state, shard, places)
    own = _own(state, here) if here >= 0 else -np.inf
    if found >= 0 and float(state.spare(shard, np.array([found]))[0]) > own + TOLERANCE:
        return found
    return here if here >= 0 and own >= -TOLERANCE and not state.hot(np.array([here]))[0] and p.accepts[here] else -1


def _own(state: State, host: int) -> float:
    p = state.problem
    with np.errstate(invalid="ignore", divide="ignore"):
        free = (p.limit[host] - state.upper(np.array([host]))[0]) / p.capacity[host]
    return float(np.nan_to_num(free, nan=-np.inf).min(initial=np.inf))


def dominant(problem: Problem, host: int, columns: Sequence[int], may: Mask) -> int:
    """The shard of a host, of those that ``may``, with most of the demand above its limit; -1 if there is none."""
    p = problem
    rows = p.on(host)
    rows = rows[may[rows]]
    if not len(rows):
        return -1
    at = np.array(columns, dtype=np.int64) if columns else np.arange(p.limit.shape[1])
    weight: F64 = (p.mean[rows][:, at] / np.maximum(p.limit[host, at], 1e-12)).max(axis=1).astype(np.float64)
    return int(rows[np.lexsort((rows, -weight))[0]])
