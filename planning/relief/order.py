"""An order of the moves of which every prefix is feasible, and what can be left out of a plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sidestep.planning.model import Move, Problem, State
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.relief.desk import Desk


def sequence(problem: Problem, moves: Sequence[Move]) -> tuple[tuple[Move, ...], tuple[Move, ...]]:
    """The moves, each where all before it leave it room and no rule is broken; and those that never find that."""
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
