"""An order of the moves of which every prefix is feasible, and what can be left out of a plan."""

from __future__ import annotations

import numpy as np

from sidestep.planning.model import Move, Problem, State
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.ordering.keys import keys_of
from sidestep.planning.relief.desk import Desk


def sequence(problem: Problem, made: State) -> tuple[tuple[Move, ...], tuple[Move, ...]]:
    """The moves ``made``, each where all before it leave it room and no rule is broken; and those that never find that.
    """  # fmt: skip
    moves = made.moves
    if _anyhow(made):
        return tuple(moves), ()
    state = State(problem)
    pending = list(moves)
    while pending:
        waiting = []
        for move in pending:
            if fits(state, move):
                state.push(move)
            else:
                waiting.append(move)
        if len(waiting) == len(pending):
            break
        pending = waiting
    return tuple(state.moves), tuple(pending)


def _anyhow(made: State) -> bool:
    """Whether any order of the moves does: all have room and keep every rule though nothing has left yet."""
    p = made.problem
    if not p.certain or not made.moves:
        return False
    table = np.array([(m.shard, m.source, m.destination) for m in made.moves], dtype=np.int64)
    shard, source, to = table.T
    if not (p.accepts[to] & p.constraints.masks[p.constraints.mask[shard], to]).all():
        return False
    rows, place = np.unique(to, return_inverse=True)
    asks = np.zeros((len(rows), p.limit.shape[1]), dtype=np.bool_)
    np.logical_or.at(asks, place.ravel(), p.mean[shard] > 0)
    fits = made.upper(rows, during=True) <= p.room[rows] + TOLERANCE * p.capacity[rows]
    return bool((fits | ~asks).all()) and not keys_of(p.constraints, p.host, shard, source, to).adds


def fits(state: State, move: Move) -> bool:
    """Whether a move can be made now: rules kept, and room with all earlier ones done."""
    to = move.destination
    if not state.problem.accepts[to] or state.at[move.shard] == to:
        return False
    if state.spare(move.shard, np.array([to]), during=False)[0] < -TOLERANCE:
        return False
    return not bool(state.problem.constraints.blocked(state.at, move.shard)[to])


def trim(desk: Desk) -> None:
    """Take back what is not needed: no duty is undone by it and nothing that stays loses its room."""
    state, problem, tasks = desk.state, desk.problem, desk.tasks
    done = tasks.done(state)
    order = sorted(
        state.moves,
        key=lambda m: (
            tasks.before(m.shard) == (m.source, m.destination),
            -int(problem.count[m.shard]),
            -float(problem.bytes[m.shard]),
            m.shard,
        ),
    )
    hosts = {duty.host for duty, good in zip(tasks.duties, done, strict=True) if good and duty.kind == "contention"}
    wanted = {
        shard for duty, good in zip(tasks.duties, done, strict=True) if good or duty.kind == "failover"
        for shard in duty.shards
    }  # fmt: skip
    for move in order:
        if state.came[move.source] and not _roomy(state, move.source, move.shard):
            continue
        if move.shard in wanted or move.source in hosts:
            saved = tuple(state.moves)
            desk.take(move.shard)
            if (done & ~tasks.done(state)).any() or _failing(desk, move.shard):
                desk.back(saved)
        else:
            desk.take(move.shard)


def _failing(desk: Desk, shard: int) -> bool:
    return any(duty.kind == "failover" and shard in duty.shards for duty in desk.tasks.duties)


def _roomy(state: State, host: int, shard: int) -> bool:
    """Whether a host that receives has room for the shard to stay as well."""
    problem = state.problem
    came = [m.shard for m in state.moves if m.destination == host]
    columns = ((problem.mean[came] > 0) | (problem.sd[came] > 0)).any(axis=0)
    without = state.upper(slice(host, host + 1))[0] + problem.mean[shard] + abs(problem.z) * problem.sd[shard]
    return bool((without[columns] <= (problem.room[host] + TOLERANCE * problem.capacity[host])[columns]).all())
