"""The way back of a plan: looked into before each commit, and proposed when somebody wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from sidestep.autopilot.planner import CONSTRAINTS
from sidestep.fleet.inventory import FleetSpec, HostSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import HostState
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Action, Basis, HostFact, PlacementFact, Plan, Reason
from sidestep.planning.constraints import ConstraintFault, refusal, refusals

#: a person asks for an undo by name, as for any other move
_CODE: Final = "OPERATOR"
#: kinds of actions that bring their shard to their destination
_BRINGS: Final = frozenset({"migrate", "failover", "place"})


def back(action: Action, token: int, number: int) -> Action:
    """What takes the action back; ``token`` is the one that it gave the shard, ``number`` that of its plan."""
    return replace(
        action,
        kind="migrate",
        source=action.destination,
        destination=action.source,
        token=token,
        reason=Reason(_CODE, scrub(f"undoes action {action.id} of plan {number}")),
        evidence=None,
        alternatives=(),
        after=(),
        latest_start=0.0,
        earliest=0.0,
        wave=0,
        parked=False,
        undo=scrub(f"move {action.shard} to {action.destination} again"),
    )


def problem(way: Action, fleet: FleetSpec, present: Basis, placement: Placement) -> str:
    """Why ``way.destination`` could not take the shard back as things are, or nothing.

    Looks at the host's state, the shard's rules, and the memory that shards there declare. The shard
    itself may still be there: then this is asked before the move that is to be taken back.
    """
    shard = _of(fleet, way.shard)
    if way.kind == "preempt" and shard is not None:
        return f"{way.shard} has keys, and does not go back to the queue" if shard.keys is not None else ""
    host = next((h for h in fleet.hosts if h.name == way.destination), None)
    fact = next((h for h in present.hosts if h.host == way.destination), None)
    if shard is None or host is None or fact is None:
        return f"{way.shard} or {way.destination} is not declared any more"
    if fact.state != HostState.READY:
        return f"{way.destination} is {fact.state}"
    if ruled_out := _ruled_out(fleet, shard, host):
        return ruled_out
    others = [
        other
        for other in fleet.shards
        if other.name != shard.name and (owner := placement.owners.get(other.name)) and owner.host == way.destination
    ]
    for other in others:
        if {other.name, other.app} & set(shard.avoid) or {shard.name, shard.app} & set(other.avoid):
            return f"{way.shard} must not be beside {other.name}, which is on {way.destination} now"
    wanted = sum(map(_memory, (shard, *others)))
    short = fact.memory and wanted > fact.memory
    there = f"{wanted} bytes of memory are declared for it, {fact.memory} are there"
    return f"{way.destination} has no room: {there}" if short else ""


def forbidden(plan: Plan, fleet: FleetSpec) -> tuple[str, ...]:
    """What the fleet's constraints have against a plan as things are declared now: where its actions bring shards."""
    ends = [
        end
        for action in plan.actions
        for end in (
            [(part.shard, part.destination) for part in action.parts[1:]]
            if action.kind == "split"
            else [(action.shard, action.destination)]
            if action.kind in _BRINGS
            else []
        )
    ]
    try:
        return refusals(fleet, CONSTRAINTS, ends)
    except ConstraintFault as fault:
        return (str(fault.args[0]),)


def reverse(
    plan: Plan,
    ways: Sequence[Action],
    *,
    hosts: Mapping[str, HostFact],
    placement: Placement,
    number: int,
    created: float,
    author: Label,
    reason: str,
) -> Plan:
    """The plan that takes these actions back, the last first, in the order that their ``after`` asks for."""
    order = [a.id for a in plan.actions]
    turned = sorted(ways, key=lambda way: -order.index(way.id))
    new = {way.id: at for at, way in enumerate(turned, 1)}
    before = {a.id: a.after for a in plan.actions}
    actions = tuple(
        replace(
            way,
            id=new[way.id],
            after=tuple(sorted(new[later] for later, earlier in before.items() if way.id in earlier and later in new)),
        )
        for way in turned
    )
    ends = {end for way in ways for end in (way.source, way.destination) if end}
    waiting = {way.shard for way in ways if not way.source}
    said = f": {reason}" if reason else ""
    return Plan(
        number=number,
        fleet=plan.fleet,
        created=created,
        expires=created + plan.policy.expire,
        author=author,
        snapshot=plan.snapshot,
        forecast=plan.forecast,
        policy=plan.policy,
        basis=Basis(
            (
                *(PlacementFact(s, o.host, o.token) for s, o in sorted(placement.owners.items()) if o.host in ends),
                *(PlacementFact(s, Label(""), t) for s, t in sorted(placement.queued.items()) if s in waiting),
            ),
            tuple(fact for name, fact in sorted(hosts.items()) if name in ends),
        ),
        actions=actions,
        summary=scrub(f"undo plan {plan.number}{said}"),
    )


def _ruled_out(fleet: FleetSpec, shard: ShardSpec, host: HostSpec) -> str:
    """Why the shard may not be on the host at all, or nothing."""
    lacking = [f"{key}={value}" for key, value in shard.requires if (key, value) not in host.labels]
    if lacking:
        return f"{host.name} lacks the label {lacking[0]} that {shard.name} needs"
    try:
        return refusal(fleet, CONSTRAINTS, shard.name, host.name)
    except ConstraintFault as fault:
        return str(fault.args[0])


def _of(fleet: FleetSpec, name: str) -> ShardSpec | None:
    return next((shard for shard in fleet.shards if shard.name == name), None)


def _memory(shard: ShardSpec) -> int:
    return max(shard.guarantee_memory, shard.limit_memory)
