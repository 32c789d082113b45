"""Preflight: whether a host can be emptied, what blocks it, and what would unblock it, tried out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from msgspec.structs import replace as with_fields

from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Plan, Reason
from sidestep.fleet.questions import PlanAnswer, Preflight
from sidestep.planning.planner import propose
from sidestep.planning.queries.ask import Propose, ask
from sidestep.planning.queries.verdict import Ground
from sidestep.planning.queries.whatif import Add, Drain, WhatIf, World

#: hosts that are added on paper to find out how many more would do
TRIED: Final = (1, 2, 4)
#: shards that are named
_NAMED: Final = 5

_REMEDY: Final = {
    "PINNED": "remove pinned from {} in the fleet file, or let the move that runs end",
    "NOT_RUNNING": "start {}, or remove it from the fleet file",
    "INCAPABLE": "let its host do what driver criu needs (sidestep doctor says what), or give {} another driver",
    "BUSY": "wait for the move of {} to end",
    "SETTLING": "wait until {} has settled after its move",
    "UNKNOWN": "wait for the first samples of {}",
    "DISPUTED": "wait for the next snapshot: {} was seen elsewhere than it is placed",
}


def preflight(
    world: World, host: int, *, others: Sequence[int] = (), planner: Propose = propose, **asked: Any
) -> Preflight:
    """The plan that would empty the host, without proposing it; and if there is none, why and what would help.

    ``others`` are emptied as well: all are closed first, and what is on them needs room, too. The policy's churn
    budget is raised by what they hold: the question is whether it can be done at all.
    """
    name = world.snapshot.hosts.names[host]
    rows = tuple(dict.fromkeys((host, *others)))
    closed = tuple(str(world.snapshot.hosts.names[row]) for row in rows)
    drain = Drain(f"drain={','.join(closed)}", closed)
    held = int((world.snapshot.shards.host == host).sum())
    moves = world.policy.max_moves + int(np.isin(world.snapshot.shards.host, rows).sum())
    policy = with_fields(world.policy, max_moves=moves)
    world = replace(world, policy=policy, fleet=with_fields(world.fleet, policy=policy))
    answer = ask(world, WhatIf((drain,)), planner=planner, **asked)
    stuck = _stuck(world, host, answer)
    if not stuck:
        return Preflight(host=name, shards=held, possible=True, answer=answer)
    ground = Ground.of(world, asked.get("busy", frozenset()), asked.get("settling", frozenset()))
    kept: dict[str, list[Label]] = {}
    reasons: list[Reason] = []
    for shard in stuck:
        why = ground.kept(shard)
        if why is not None:
            kept.setdefault(why.code, []).append(world.snapshot.shards.names[shard])
            reasons.append(Reason(why.code, scrub(f"{world.snapshot.shards.names[shard]}: {why.text}")))
    free = [shard for shard in stuck if ground.kept(shard) is None]
    reasons += [reason for reason in answer.blocks if free and reason.code != "NO_CONTENTION"]
    unblocks = [scrub(_REMEDY[code].format(_names(names))) for code, names in kept.items() if code in _REMEDY]
    if free and not kept:
        unblocks += _more_hosts(world, drain, host, planner, asked)
    return Preflight(
        host=name, shards=held, possible=False, answer=answer, blocks=tuple(reasons), unblocks=tuple(unblocks)
    )


def _stuck(world: World, host: int, answer: PlanAnswer) -> list[int]:
    """The shards of the host that no action takes away."""
    shards = world.snapshot.shards
    gone = {a.shard for a in answer.plan.actions if a.kind in ("migrate", "failover")} if answer.plan else set()
    return [row for row, at in enumerate(shards.host.tolist()) if at == host and shards.names[row] not in gone]


def _names(names: list[Label]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _more_hosts(world: World, drain: Drain, host: int, planner: Propose, asked: dict[str, Any]) -> list[Label]:
    """How many hosts more, like this one, would make it possible: the fewest of those tried."""
    like = str(world.snapshot.hosts.names[host])
    for count in TRIED:
        more = Add(f"add={count}:like:{like}", count, like)
        answer = ask(world, WhatIf((more, drain)), planner=planner, **asked)
        if isinstance(answer.plan, Plan) and not _stuck(world, host, answer):
            return [scrub(f"{count} more host{'s' if count > 1 else ''} like {like}; tried with --what-if {more.text}")]
    return [scrub(f"not even {TRIED[-1]} more hosts like {like} would do: see the reasons")]
