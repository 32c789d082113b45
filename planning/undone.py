"""What stays undone, by name: a coded reason for every duty that no plan could do."""

from __future__ import annotations

import numpy as np

from sidestep.fleet.labels import scrub
from sidestep.fleet.plans import Reason
from sidestep.fleet.resources import show_seconds
from sidestep.planning.build import Built
from sidestep.planning.model import Duty, Left
from sidestep.planning.rejected import lacking

HELD = {
    "BRAKE": "so many hosts are dead that it is likelier that we cannot see them; nothing is started elsewhere",
    "BUSY": "it takes part in a running move",
    "SETTLING": "it settles after a move; its forecast does not know the effect yet",
    "NOT_READY": "it cannot be reached or does not answer",
    "DISPUTED": "a shard of it is placed elsewhere than it was seen; the next snapshot will tell",
}


def waiting(built: Built) -> tuple[tuple[Duty, ...], tuple[Left, ...]]:
    """The duties that can be done now, and those that cannot: their host lets nothing go at present.

    While contention is predicted no more than half of the churn budget repairs rules.
    """
    todo: list[Duty] = []
    held: list[Left] = []
    share = max(1, built.policy.max_moves // 2) if built.contentions else len(built.duties)
    for duty in built.duties:
        code = "" if duty.kind in ("rule", "failover") else built.rules.gives(duty.host)
        if duty.kind == "failover" and built.brake:
            code = "BRAKE"
        if duty.kind == "rule":
            share -= 1
            code = "CHURN" if share < 0 else ""
        if code:
            held.append(Left(duty=duty, code=code))
        else:
            todo.append(duty)
    return tuple(todo), tuple(held)


def subject(built: Built, duty: Duty) -> str:
    """What a duty is about, for people: the host, or the shards of a broken rule."""
    if duty.kind == "rule":
        names = [built.rules.shard_names[built.rows.shards[row][0]] for row in duty.shards[:3]]
        return " and ".join(names)
    return built.rules.host_names[duty.host]


def reasons(built: Built, left: tuple[Left, ...], max_moves: int) -> dict[str, Reason]:
    """By what they are about, the reasons in words."""
    return {subject(built, one.duty): Reason(one.code, scrub(_text(built, one, max_moves))) for one in left}


def _text(built: Built, left: Left, max_moves: int) -> str:
    duty = left.duty
    return f"{_where(built, duty)}: {HELD.get(left.code) or _why(built, left, max_moves)}"


def _where(built: Built, duty: Duty) -> str:
    if duty.kind == "contention":
        contention = built.contentions[duty.host][0]
        lead = show_seconds(contention.lead)
        return f"{contention.host} {contention.dimension} {contention.probability:.0%} in {lead}"
    if duty.kind == "rule":
        forbids = built.judged.against(built.rows.shards[duty.shards[0]], duty.host) if len(duty.shards) == 1 else ()
        if forbids:
            return f"constraint {forbids[0]} forbids {subject(built, duty)} on {built.rules.host_names[duty.host]}"
        return f"the rule between {subject(built, duty)} is broken"
    state = built.rules.snapshot.hosts.states[duty.host]
    return f"{built.rules.host_names[duty.host]} is {state} and holds {len(built.problem.on(duty.host))} shards"


def _why(built: Built, left: Left, max_moves: int) -> str:
    if left.code == "CHURN":
        needs = f"needs {left.needs} moves; " if left.needs else ""
        return f"{needs}max_moves = {max_moves} serves what comes before it"
    if left.code == "IMMOVABLE":
        return _immovable(built, left.duty)
    return {
        "MIN_GAIN": f"no move lowers its peak by min_gain = {left.duty.gain:g} of capacity",
        "BUDGET": "the search ended before a plan for it was found; allow more iterations",
    }.get(left.code) or _no_room(built, left)


def _no_room(built: Built, left: Left) -> str:
    """What is missing, and where: or who may not take the shard that is hardest to place."""
    rules = built.rules
    if left.shard < 0:
        return "no host has room"
    name = rules.shard_names[built.rows.shards[left.shard][0]]
    if left.lacks:
        needs = " or ".join(lacking(built, *lack) for lack in left.lacks)
        if left.code == "NO_ORDER":
            return f"no order of moves exists for {name}: it needs {needs} first"
        return f"{name} needs {needs}"
    forbids = built.judged.nowhere(built.rows.shards[left.shard])
    if forbids:
        return f"no host may take {name}: constraint {forbids[0]} forbids all of them"
    codes = [f"{n} {c}" for n, c in zip(rules.host_names, rules.received, strict=True) if c][:4]
    return f"no host may take {name}" + (f" ({', '.join(codes)})" if codes else ": rules keep it from all others")


def _immovable(built: Built, duty: Duty) -> str:
    rules = built.rules
    rows = duty.shards or tuple(built.problem.on(duty.host).tolist())
    shards = [shard for row in rows for shard in built.rows.shards[row]]
    able = int(np.count_nonzero(built.problem.movable[list(rows)])) if rows else 0
    if able and duty.kind == "contention":
        return f"it stays in contention even without its {able} movable shards"
    codes = sorted({rules.kept[shard] or ("" if built.load.known[shard] else "UNKNOWN") for shard in shards} - {""})
    return f"none of its {len(shards)} shards can move: {', '.join(codes) or 'none'}"
