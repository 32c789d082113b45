"""Why a shard moves or stays, and why it does not go to a host: the planner's own reasons, looked up or made anew."""

from __future__ import annotations

from typing import Final

import numpy as np

from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Action, Alternative, NoPlan, Plan, Reason
from sidestep.fleet.questions import Obstacle, Why, WhyNot
from sidestep.fleet.resources import DIMENSIONS, show_seconds
from sidestep.planning.model import State
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.queries.verdict import Ground

#: hosts that an answer about a shard that stays names
HOSTS: Final = 5


def why(ground: Ground, shard: int, made: Plan | NoPlan, *, proposed: bool) -> Why:
    """Why a shard moves in a plan, or why it does not; ``proposed``: the plan waits for approval."""
    rules = ground.built.rules
    name, source = rules.shard_names[shard], int(rules.host[shard])
    host = rules.host_names[source] if source >= 0 else Label("")
    plan = made if isinstance(made, Plan) else None
    action = _action(plan, name)
    known = (plan.number, plan.digest()) if plan is not None and proposed else (0, "")
    if action is not None:
        return Why(
            shard=name,
            host=host,
            moves=True,
            reason=action.reason,
            plan=known[0],
            digest=known[1],
            action=action,
            evidence=action.evidence,
            alternatives=action.alternatives,
        )
    reason = _stays(ground, shard, made)
    return Why(
        shard=name,
        host=host,
        moves=False,
        reason=reason,
        plan=known[0],
        digest=known[1],
        hosts=_hosts(ground, shard, plan),
    )


def _action(plan: Plan | None, shard: Label) -> Action | None:
    return next((a for a in plan.actions if a.shard == shard), None) if plan is not None else None


def _stays(ground: Ground, shard: int, made: Plan | NoPlan) -> Reason:
    """Why a shard that no action moves stays where it is."""
    rules = ground.built.rules
    source = int(rules.host[shard])
    if source < 0:
        return Reason("NOT_RUNNING", Label("it is on no host"))
    kept = ground.kept(shard)
    if kept is not None:
        return kept
    host = rules.host_names[source]
    found = ground.built.contentions.get(source)
    if not found:
        return _calm(ground, source)
    hot = f"{host} is predicted in {found[0].dimension} contention in {show_seconds(found[0].lead)}"
    if isinstance(made, Plan):
        helps = [a for a in made.actions if a.source == host or (a.evidence is not None and a.evidence.host == host)]
        if helps:
            shown = ", ".join(f"{a.shard} to {a.destination}" for a in helps[:3])
            more = f" and {len(helps) - 3} more" if len(helps) > 3 else ""
            return Reason("NOT_NEEDED", scrub(f"{hot}, and that is relieved by moving {shown}{more}"))
    reasons = made.left if isinstance(made, Plan) else made.reasons
    about = [r for r in reasons if r.text == host or r.text.startswith((f"{host} ", f"{host}:"))]
    if about or reasons:
        first = (about or list(reasons))[0]
        return Reason(first.code, scrub(f"{hot}; {first.text}", 400))
    return Reason("NOT_NEEDED", scrub(f"{hot}, and the plan does without moving it"))


def _calm(ground: Ground, host: int) -> Reason:
    """Nothing asks for a move: how near the host comes to its limit."""
    built, p = ground.built, ground.built.problem
    name = built.rules.host_names[host]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (ground.start.upper(np.array([host]))[0] / p.capacity[host])[: p.timed]
    if not np.isfinite(share).any():
        return Reason("NO_CONTENTION", scrub(f"no contention is predicted on {name}"))
    worst = int(np.nan_to_num(share, nan=-np.inf).argmax())
    text = f"no contention is predicted on {name}: {DIMENSIONS[worst // p.steps]} reaches {share[worst]:.0%} of its "
    limit = p.limit[host, worst] / p.capacity[host, worst]
    return Reason("NO_CONTENTION", scrub(text + f"capacity at most, the limit is {limit:.0%}"))


def _hosts(ground: Ground, shard: int, plan: Plan | None) -> tuple[Alternative, ...]:
    """The hosts that come nearest to taking the shard, each with its first reason."""
    rules, row = ground.built.rules, ground.row(shard)
    peaks = ground.peaks(row)
    order = np.lexsort((rules.rank, peaks, ~ground.able(row)))
    chosen = [h for h in order.tolist() if h != rules.host[shard] and np.isfinite(peaks[h])][:HOSTS]
    return tuple(
        Alternative(
            rules.host_names[host], why_not(ground, shard, host, plan).obstacles[0].reason, round(float(peaks[host]), 4)
        )
        for host in chosen
    )


def why_not(ground: Ground, shard: int, host: int, plan: Plan | None) -> WhyNot:
    """Every reason why a shard does not go to a host; at least one unless it does go there."""
    rules = ground.built.rules
    name, source = rules.shard_names[shard], int(rules.host[shard])
    action = _action(plan, name)
    goes = action is not None and action.destination == rules.host_names[host]
    room = float(ground.start.spare(ground.row(shard), np.array([host]))[0])
    chosen, chosen_room = Label(""), None
    obstacles: list[Obstacle] = []
    if source == host:
        obstacles = [Obstacle(reason=Reason("HERE", scrub(f"it is on {rules.host_names[host]} already")))]
    elif not goes:
        obstacles = ground.obstacles(shard, host)
        if action is not None and plan is not None and action.destination in rules.host_row:
            chosen = action.destination
            to = rules.host_row[chosen]
            chosen_room = _number(float(ground.start.spare(ground.row(shard), np.array([to]))[0]))
            if not obstacles:
                obstacles = [Obstacle(reason=_preferred(ground, shard, host, plan))]
        elif not obstacles:
            obstacles = [Obstacle(reason=_unasked(ground, shard, plan))]
    return WhyNot(
        shard=name,
        source=rules.host_names[source] if source >= 0 else Label(""),
        host=rules.host_names[host],
        goes=goes,
        obstacles=tuple(obstacles),
        room=_number(room) if source != host else None,
        chosen=chosen,
        chosen_room=chosen_room,
    )


def _number(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None


def _preferred(ground: Ground, shard: int, host: int, plan: Plan) -> Reason:
    """Why the plan takes the shard elsewhere though this host could take it: what is true of the whole plan."""
    p, rules, row = ground.built.problem, ground.built.rules, ground.row(shard)
    moves = ground.moves(plan)
    at = next(i for i, move in enumerate(moves) if move.shard == row)
    to, policy = moves[at].destination, ground.built.policy
    others = State(p)
    for move in (*moves[:at], *moves[at + 1 :]):
        others.push(move)
    pair = np.array([host, to])
    if p.constraints.blocked(others.at, row)[host]:
        return Reason("RESERVED", Label("another move of the plan brings a shard there that must not meet it"))
    room = others.spare(row, pair)
    if room[0] < -TOLERANCE:
        return Reason("RESERVED", Label("its room is needed by other moves of the plan"))
    before = State(p, tuple(moves[:at])).spare(row, pair)
    for free in (room, before):
        if free[0] <= free[1]:
            text = f"would keep {free[0]:.0%} of its capacity free, {rules.host_names[to]} keeps {free[1]:.0%}"
            return Reason("HOTTER", scrub(text))
    if policy.goals[:1] == ("cost",) and p.cost[host] > p.cost[to]:
        return Reason("DEARER", scrub(f"costs {p.cost[host]:g} an hour, {rules.host_names[to]} {p.cost[to]:g}"))
    if policy.goals[:1] and policy.goals[:1] != ("headroom",):
        text = f"would keep more of its capacity free, but {policy.goals[0]} comes before headroom"
        return Reason("OTHER_GOAL", scrub(text))
    return Reason("AS_GOOD", scrub(f"would do as well: it would keep {room[0]:.0%} of its capacity free"))


def _unasked(ground: Ground, shard: int, plan: Plan | None) -> Reason:
    """Why a shard that could go there stays: nothing asks it to move."""
    source = int(ground.built.rules.host[shard])
    if source in ground.built.contentions and plan is not None:
        return Reason("NOT_NEEDED", Label("it could; the plan does without moving it"))
    if source in ground.built.contentions:
        return Reason("NOT_NEEDED", Label("it could, but no plan with this move does what is asked"))
    return Reason(
        "NO_CONTENTION", scrub(f"it could; {_calm(ground, source).text}" if source >= 0 else "it is on no host")
    )
