"""Why not there: the destinations that an action did not take, with coded reasons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Alternative, Reason
from sidestep.fleet.resources import DIMENSIONS, show_size
from sidestep.planning.build import Built
from sidestep.planning.model import Move, State
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.rules import WHY_HOST_NOT

F64 = NDArray[np.float64]

#: rejected destinations that an action carries
ALTERNATIVES = 3


def alternatives(built: Built, state: State, move: Move, final: State) -> tuple[Alternative, ...]:
    """The best destinations that were not taken, as things stood when the move was chosen.

    ``state`` is before the move, ``final`` after the whole plan.
    """
    problem, rules = built.problem, built.rules
    rows = np.arange(problem.hosts)
    upper = state.arrivals(move.shard)
    room = state.spare(move.shard)
    with np.errstate(invalid="ignore", divide="ignore"):
        peak = (upper[:, : problem.timed] / problem.capacity[:, : problem.timed]).max(axis=1, initial=-np.inf)
    blocked = problem.constraints.blocked(state.at, move.shard)
    closed = np.isin(rows, list(built.contentions))
    # who is judged at a lower quantile takes nothing because it is hot itself
    shut = ~problem.accepts & ~(closed & rules.accepts)
    grade = np.select([shut, closed, blocked, room < -TOLERANCE], [4, 3, 2, 1], 0)
    usable = np.isfinite(peak) & (rows != move.source) & (rows != move.destination)
    order = np.lexsort((problem.rank, peak, grade))
    made: list[Alternative] = []
    for row in [r for r in order.tolist() if usable[r]][:ALTERNATIVES]:
        reason = _why_not(built, state, final, move, row, int(grade[row]), room)
        made.append(Alternative(rules.host_names[row], reason, round(float(peak[row]), 4)))
    return tuple(made)


def _why_not(built: Built, state: State, final: State, move: Move, row: int, grade: int, room: F64) -> Reason:
    """The coded reason against one host."""
    if grade == 4:
        code = built.rules.received[row] or "STANDBY"
        return Reason(code, Label(WHY_HOST_NOT[code]))
    if grade == 3:
        return Reason("HOT", Label("is in predicted contention itself"))
    if grade == 2:
        return Reason(*why_blocked(built, state, move.shard, row))
    if grade == 1:
        return Reason("NO_ROOM", scrub(f"would lack {-room[row]:.0%} of its capacity"))
    return _worse(built, final, move, row, room)


def _worse(built: Built, final: State, move: Move, row: int, room: F64) -> Reason:
    """Why a host that could have taken the shard was not the best one."""
    taken, cost, first = room[move.destination], built.problem.cost, built.policy.goals[:1]
    if room[row] <= taken:
        return Reason("HOTTER", scrub(f"would keep {room[row]:.0%} of its capacity free, not {taken:.0%}"))
    if first == ("cost",) and cost[row] > cost[move.destination]:
        return Reason("DEARER", scrub(f"costs {cost[row]:g} an hour, not {cost[move.destination]:g}"))
    only = np.array([row])
    filled = final.spare(move.shard, only)[0] < -TOLERANCE
    if filled or built.problem.constraints.blocked(final.at, move.shard)[row]:
        return Reason("RESERVED", Label("its room is needed by other moves of this plan"))
    if first and first != ("headroom",):
        return Reason(
            "OTHER_GOAL", scrub(f"would keep more of its capacity free, but {first[0]} comes before headroom")
        )
    return Reason("AS_GOOD", scrub(f"would do as well: it would keep {room[row]:.0%} of its capacity free"))


def why_blocked(built: Built, state: State, row: int, host: int) -> tuple[str, Label]:
    """The rule that keeps a row from a host: its code, and the rule in words."""
    problem, rules = built.problem, built.rules
    forbids = built.judged.against(built.rows.shards[row], host)
    if forbids:
        return "FORBIDDEN", forbidden(forbids)
    for shard in built.rows.shards[row]:
        if why := rules.unable(rules.shard_names[int(shard)], host):
            return "INCAPABLE", why
    if not problem.constraints.masks[problem.constraints.mask[row]][host]:
        return "NOT_ALLOWED", Label("lacks a label that the shard requires, or what it must be near is elsewhere")
    avoided = problem.constraints.avoided(row)
    there = avoided[state.at[avoided] == host]
    if len(there):
        names = ", ".join(rules.shard_names[built.rows.shards[int(o)][0]] for o in there[:3])
        return "AVOID", scrub(f"holds {names}, which must not meet this one")
    return "AVOID", Label("its failure domain holds as many shards of the app as it may")


def forbidden(names: Sequence[Label]) -> Label:
    """What a host is that constraints of plugins keep a shard from, in words."""
    verb = "forbids" if len(names) == 1 else "forbid"
    return scrub(f"is no host for it: constraint {' and '.join(names[:3])} {verb}")


def lacking(built: Built, host: int, column: int, amount: float) -> str:
    """What a host lacks in words: so much more of a dimension."""
    problem = built.problem
    if column >= problem.timed:
        return f"{show_size(amount)} more disk on {built.rules.host_names[host]}"
    dimension = DIMENSIONS[column // problem.steps]
    shown = f"{amount:.2f} cores" if dimension == "cpu" else show_size(amount)
    return f"{shown} more {dimension} on {built.rules.host_names[host]}"
