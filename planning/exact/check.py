"""What is true of a placement, in the exact arithmetic of trials: the judge of every answer of a linear program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sidestep.planning.model import Duty, Move, Problem, State
from sidestep.planning.model.problem import F64, I64
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.uncertainty import arriving, combined, share_left


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """A host that a placement does not suit: RECEIVES more than its room, or the duty ``duty`` is not DONE there."""

    host: int
    code: str
    duty: Duty | None = None


def demand(problem: Problem, host: int, gone: I64, come: I64) -> F64:
    """(D,) demand at the strict quantile of a host that these shards left and those came to."""
    p = problem
    mean, sd = p.mean[gone].astype(np.float64), p.sd[gone].astype(np.float64)
    new_mean, new_sd = p.mean[come].astype(np.float64).sum(axis=0), p.sd[come].astype(np.float64)
    left_sd = np.maximum(p.deviation[host] - sd.sum(axis=0), 0.0)
    left_var = np.maximum(p.variance[host] - (sd**2).sum(axis=0), 0.0)
    share = share_left(combined(left_var, left_sd, p.rho), p.spread[host])
    added = arriving((new_sd**2).sum(axis=0), new_sd.sum(axis=0), left_sd, p.rho)
    median = np.maximum(p.median[host] - mean.sum(axis=0), 0.0) + new_mean
    sign = -1.0 if p.z < 0 else 1.0
    return np.asarray(median + sign * np.sqrt(np.square(p.away[host]) * share + p.z**2 * added), dtype=np.float64)


def overfull(problem: Problem, host: int, gone: I64, come: I64) -> bool:
    """Whether a host cannot receive ``come``: a column in which they demand anything has no room for it."""
    if not len(come):
        return False
    with np.errstate(invalid="ignore", divide="ignore"):
        free = (problem.room[host] - demand(problem, host, gone, come)) / problem.capacity[host]
    free = np.where(np.isnan(free), -np.inf, free)
    asks = ((problem.mean[come] > 0) | (problem.sd[come] > 0)).any(axis=0)
    return bool((free[asks] < -TOLERANCE).any())


def peaks(problem: Problem, duty: Duty) -> tuple[I64, F64]:
    """Columns whose demand must fall, and to what, so that the peak of every hot dimension falls by the gain."""
    if duty.gain <= 0 or not duty.columns:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    at = np.asarray(duty.columns, dtype=np.int64)
    # a column that does not change with time is a dimension of its own
    part = np.where(at < problem.timed, at // max(problem.steps, 1), problem.dimensions + at - problem.timed)
    every = np.arange(problem.limit.shape[1])
    owner = np.where(every < problem.timed, every // max(problem.steps, 1), problem.dimensions + every - problem.timed)
    columns = every[np.isin(owner, part)]
    now = problem.median[duty.host] + problem.away[duty.host]
    target = np.zeros(len(columns))
    for one in np.unique(part).tolist():
        span = columns[owner[columns] == one]
        peak = span[int(now[span].argmax())]
        target[owner[columns] == one] = now[peak] - duty.gain * problem.capacity[duty.host, peak]
    return columns, target


def relieved(problem: Problem, duty: Duty, gone: I64, come: I64) -> bool:
    """Whether a duty of kind ``contention`` is done when these shards left its host and those came."""
    upper = demand(problem, duty.host, gone, come)
    if problem.held(upper, problem.limit[duty.host]):
        return False
    columns, target = peaks(problem, duty)
    return bool((upper[columns] <= target + TOLERANCE * problem.capacity[duty.host, columns]).all())


def done(problem: Problem, duty: Duty, moves: tuple[Move, ...]) -> bool:
    """Whether a duty is done after the moves."""
    at = {m.shard: m.destination for m in moves}
    if duty.kind == "contention":
        gone = np.array([m.shard for m in moves if m.source == duty.host], dtype=np.int64)
        come = np.array([m.shard for m in moves if m.destination == duty.host], dtype=np.int64)
        return relieved(problem, duty, gone, come)
    left = [away_from(problem, duty, shard, at.get(shard, int(problem.host[shard]))) for shard in duty.shards]
    return sum(left) >= duty.least if duty.kind == "rule" else all(left)


def away_from(problem: Problem, duty: Duty, shard: int, host: int) -> bool:
    """Whether a shard that is now at ``host`` has left what the duty asks it to leave."""
    before = int(problem.host[shard])
    if duty.kind != "rule" or duty.group < 0 or before < 0:
        return host != before
    domain = problem.constraints.domains[problem.constraints.kind[duty.group]]
    return bool(domain[host] != domain[before])


def flaws(problem: Problem, duties: tuple[Duty, ...], moves: tuple[Move, ...], *, together: bool) -> list[Flaw]:
    """All that is wrong with a placement on single hosts; rules are exact in the program itself."""
    found: list[Flaw] = []
    for host in sorted({m.destination for m in moves}):
        come = np.array([m.shard for m in moves if m.destination == host], dtype=np.int64)
        gone = np.array([m.shard for m in moves if m.source == host and not together], dtype=np.int64)
        if overfull(problem, host, gone, come):
            found.append(Flaw(host=host, code="RECEIVES"))
    found += [Flaw(host=d.host, code="DONE", duty=d) for d in duties if not done(problem, d, moves)]
    return found


def sequence(problem: Problem, moves: tuple[Move, ...], nodes: int = 4000) -> tuple[tuple[Move, ...] | None, bool]:
    """The moves in an order in which each finds room and breaks no rule when its turn comes, or None; and if sure.

    A shard is held at both ends while it moves, so it fits beside all that is still there. Looks back
    when stuck; after ``nodes`` tries there is no order either, and nobody is sure.
    """
    state, todo = State(problem), sorted(moves, key=lambda m: (-float(problem.bytes[m.shard]), m.shard))
    seen: set[frozenset[int]] = set()
    left = [nodes]

    def step() -> bool:
        if not todo:
            return True
        key = frozenset(m.shard for m in todo)
        if key in seen or left[0] <= 0:
            return False
        seen.add(key)
        left[0] -= 1
        for at, move in enumerate(list(todo)):
            row = np.array([move.destination])
            if not state.open(move.shard)[move.destination]:
                continue
            if state.spare(move.shard, row, during=False)[0] < -TOLERANCE:
                continue
            state.push(move)
            del todo[at]
            if step():
                return True
            todo.insert(at, move)
            state.pop()
        return False

    found = step()
    return (tuple(state.moves) if found else None), found or left[0] > 0
