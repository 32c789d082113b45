"""Why a duty stays undone, in a code that can be checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sidestep.planning.model import Duty, Left
from sidestep.planning.relief.covers import Need, Shedding
from sidestep.planning.relief.desk import Desk, shards_of
from sidestep.planning.relief.goals import has_left
from sidestep.planning.relief.serve import Server

#: hosts that are named where room is missing
NAMED = 3


def reason(server: Server, duty: Duty, *, ended: bool = False) -> Left:
    """Why this duty is undone after the desk's moves; ``ended`` says that the search for it was cut short."""
    desk = server.desk
    if duty.kind == "contention":
        code = _nothing_helps(server, duty)
        if code:
            return Left(duty=duty, code=code)
        shards = _cheapest(server, duty)
    else:
        rows = shards_of(desk, duty)
        if duty.kind != "rule":
            held = rows[~desk.free[rows]]
            if len(held):
                return Left(duty=duty, code="IMMOVABLE", shard=int(held[0]))
            shards = rows.tolist()
        else:
            missing = _missing(desk, duty)
            if len(rows) < missing:
                return Left(duty=duty, code="IMMOVABLE")
            shards = rows[:missing].tolist()
    count = int(desk.problem.count[shards].sum())
    if desk.count + count > desk.max_moves:
        return Left(duty=duty, code="CHURN", needs=count)
    hard = max(shards, key=lambda s: (_blocked(desk, s), float(desk.hardness(np.array([s]))[0]), -s))
    if _blocked(desk, hard):
        return Left(duty=duty, code="NO_ROOM", shard=hard, lacks=lacks(desk, hard), needs=count)
    code = "BUDGET" if ended else "NO_ROOM"
    return Left(duty=duty, code=code, shard=hard, lacks=lacks(desk, hard), needs=count)


def _cheapest(server: Server, duty: Duty) -> list[int]:
    found = next(server.covers(duty), None)
    return found if found is not None else server.shedding(duty).shards.tolist()


def _missing(desk: Desk, duty: Duty) -> int:
    left = 0
    for shard in duty.shards:
        left += has_left(desk.state, Duty(kind="rule", host=duty.host, shards=(shard,), group=duty.group))
    return duty.least - left


def _nothing_helps(server: Server, duty: Duty) -> str:
    """IMMOVABLE or MIN_GAIN if no departures at all would do the duty, from the start."""
    fresh = server.fresh(duty)
    if not len(fresh.shards):
        return "IMMOVABLE"
    if fresh.possible():
        return ""
    if duty.gain > 0 and Shedding(fresh.state, Need(duty.host, replace(duty, gain=0.0)), fresh.shards).possible():
        return "MIN_GAIN"
    return "IMMOVABLE"


def _blocked(desk: Desk, shard: int) -> bool:
    return len(desk.rows(shard)) == 0


def lacks(desk: Desk, shard: int) -> tuple[tuple[int, int, float], ...]:
    """(host, column, amount) where least is missing for a shard, the least part of capacity first."""
    p, state = desk.problem, desk.state
    rows = np.flatnonzero(state.open(shard) & ~desk.closed)
    if not len(rows):
        return ()
    asks = (p.mean[shard] > 0) | (p.sd[shard] > 0)
    lack = state.arrivals(shard, rows) - p.room[rows]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(asks & np.isfinite(lack), lack / p.capacity[rows], -np.inf)
    worst = part.argmax(axis=1)
    value = part[np.arange(len(rows)), worst]
    order = [at for at in np.lexsort([p.rank[rows], value]).tolist() if value[at] > 0]
    return tuple((int(rows[at]), int(worst[at]), float(lack[at, worst[at]])) for at in order[:NAMED])
