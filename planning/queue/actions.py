"""What becomes of the queue, as actions of a plan: with reasons, what they wait for, and the way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec.structs import replace

from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Action, Limits, Reason
from sidestep.fleet.resources import CPU, MEMORY, show_seconds
from sidestep.planning.curves import evidence
from sidestep.planning.explain import Context, priority
from sidestep.planning.model import Move, State
from sidestep.planning.queue.demand import Needs
from sidestep.planning.queue.fill import Filled, Gone, Placed
from sidestep.planning.rejected import alternatives

#: cores that a shard needs at least: nothing would mean that it is not known
LEAST_CPU: Final = 0.001


@dataclass(frozen=True)
class Made:
    """The actions, and the whole plan tried: its moves, who gives way and who is placed."""

    actions: tuple[Action, ...]
    after: State
    hosts: frozenset[str]
    #: the plan's part of the queue in words
    said: str


def actions(context: Context, filled: Filled, needs: Needs, before: Sequence[Action], ends: Sequence[Move]) -> Made:
    """Shards that give way, then places, numbered after the actions ``before`` them; ``ends`` are their moves."""
    built = context.built
    state = State(built.problem, tuple(ends))
    for gone in filled.gone:
        state.push(Move(gone.row, gone.host, -1, gone.host))
    start = State(built.problem, tuple(state.moves))
    for place in filled.places:
        state.push(Move(place.row, -1, place.host, -1))
    if not filled:
        return Made((), state, frozenset(), "")
    made: list[Action] = []
    names, number = built.rules.shard_names, {a.shard: a.id for a in before if a.shard}
    for gone in filled.gone:
        made.append(_preempt(context, gone, state, len(before) + len(made) + 1))
        number[made[-1].shard] = made[-1].id
    for place in filled.places:
        waits = sorted(number[names[shard]] for row in place.after for shard in built.rows.shards[row])
        made.append(_place(context, place, needs, start, state, tuple(waits), len(before) + len(made) + 1))
    waved = _waves(built.policy, {str(s.name): str(s.app) for s in built.rules.fleet.shards}, before, made)
    hosts = {end for a in made for end in (a.source, a.destination) if end}
    hosts |= {one.host for row, one in needs.waiting.items() if one.host and _placed(context, filled, row)}
    return Made(waved, state, frozenset(map(str, hosts)), _said(made))


def facts(context: Context, filled: Filled, needs: Needs) -> frozenset[str]:
    """The shards whose place in the queue the plan relies on."""
    return frozenset(str(one.shard) for row, one in needs.waiting.items() if _placed(context, filled, row))


def _placed(context: Context, filled: Filled, shard: int) -> bool:
    return any(shard in context.built.rows.shards[place.row] for place in filled.places)


def _name(context: Context, row: int) -> Label:
    return context.built.rules.shard_names[context.built.rows.shards[row][0]]


def _preempt(context: Context, gone: Gone, after: State, number: int) -> Action:
    built = context.built
    problem, rules, shard = built.problem, built.rules, built.rows.shards[gone.row][0]
    name, host = rules.shard_names[shard], rules.host_names[gone.host]
    contention = next(iter(built.contentions.get(gone.host, ())), None) if gone.duty else None
    size = float(built.load.bytes[shard])
    seconds, freeze = context.transfer.estimate(size)
    own = f"{name} (priority {int(problem.priority[gone.row])})"
    sake = f"{_name(context, gone.sake)} (priority {int(problem.priority[gone.sake])})" if gone.sake >= 0 else "others"
    if contention is not None:
        lead = show_seconds(contention.lead)
        text = f"{own} gives way to {sake}: {host} {contention.dimension} contention in {lead}, and no move helps"
    else:
        text = f"{own} gives way to {sake}, which has no other host than {host}"
    peak = problem.mean[gone.row, : problem.timed].reshape(problem.dimensions, problem.steps).astype(np.float64)
    need = (peak + problem.z * problem.sd[gone.row, : problem.timed].reshape(peak.shape)).max(axis=1)
    latest = contention.starts_at - built.policy.margin - seconds if contention is not None else 0.0
    return Action(
        id=number,
        kind="preempt",
        shard=name,
        source=host,
        destination=Label(""),
        token=rules.placement.owners[name].token,
        priority=priority(contention, built.policy) if contention is not None else int(problem.priority[gone.sake]),
        reason=Reason("PREEMPTS", scrub(text)),
        evidence=evidence(built, after, contention, context.created) if contention is not None else None,
        bytes=int(size),
        transfer_s=seconds,
        freeze_ms=freeze,
        latest_start=latest,
        undo=scrub(f"place {name} again: it waits in the queue, with its state on {host}"),
        limits=Limits(cpu=float(max(need[CPU], LEAST_CPU)), memory=int(max(need[MEMORY], 1.0))),
    )


def _place(
    context: Context, place: Placed, needs: Needs, start: State, after: State, waits: tuple[int, ...], number: int
) -> Action:
    built = context.built
    shard = built.rows.shards[place.row][0]
    one, name, host = needs.waiting[shard], built.rules.shard_names[shard], built.rules.host_names[place.host]
    waited = show_seconds(max(0.0, context.created - one.since))
    back = one.cause == "preempted"
    text = f"there is room again for {name}, which gave way {waited} ago" if back else f"{name} has waited for {waited}"
    seconds, _ = context.transfer.estimate(float(one.bytes))
    return Action(
        id=number,
        kind="place",
        shard=name,
        source=Label(""),
        destination=host,
        token=one.token,
        priority=int(built.problem.priority[place.row]),
        reason=Reason("COMES_BACK" if back else "PLACES", scrub(text)),
        alternatives=alternatives(built, start, Move(place.row, -1, place.host, -1), after),
        bytes=one.bytes,
        transfer_s=seconds,
        after=waits,
        undo=scrub(f"take {name} off {host} again: it waits in the queue then, with its state"),
    )


def _waves(
    policy: Policy, apps: dict[str, str], before: Sequence[Action], made: Sequence[Action]
) -> tuple[Action, ...]:
    """The actions with waves after those that they wait for; one wave keeps within the caps."""
    used: dict[int, Counter[tuple[str, str]]] = {}
    last = max((a.wave for a in before), default=-1)
    wave_of = {a.id: a.wave for a in before}
    caps = {"host": policy.concurrent_per_host, "app": policy.concurrent_per_app, "all": policy.concurrent}
    out: list[Action] = []
    for action in made:
        slots = [("all", ""), ("app", apps.get(action.shard, ""))]
        slots += [("host", str(end)) for end in (action.source, action.destination) if end]
        wave = max([last, *(wave_of[other] for other in action.after)]) + 1
        while any(caps[s[0]] and used.get(wave, Counter())[s] >= caps[s[0]] for s in slots):
            wave += 1
        used.setdefault(wave, Counter()).update(slots)
        wave_of[action.id] = wave
        out.append(replace(action, wave=wave))
    return tuple(out)


def _said(made: Sequence[Action]) -> str:
    away = [str(a.shard) for a in made if a.kind == "preempt"]
    there = [f"{a.shard} on {a.destination}" for a in made if a.kind == "place"]
    parts = [f"{word} {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
             for word, names in (("preempts", away), ("places", there)) if names]  # fmt: skip
    return ", ".join(parts)
