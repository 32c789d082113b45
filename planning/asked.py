"""An operator's own action of a plugin: done to one shard, or taken back, refused if it cannot be. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from sidestep.fleet.actions import Applied
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Action, Plan
from sidestep.fleet.snapshot import Snapshot
from sidestep.planning.applying import ActionMakers, OfferFault, below_guarantee, needs, offered, target_of
from sidestep.planning.build import Built, build
from sidestep.planning.load import persistence
from sidestep.planning.operators import Asking
from sidestep.planning.planner import usable
from sidestep.planning.rules import WHY_SHARD_NOT

#: why a shard may not be touched now, of the reasons for which it does not move
_HANDS_OFF = ("BUSY", "SETTLING", "DISPUTED")


def plan_action(
    name: str,
    snapshot: Snapshot,
    forecast: Forecast | None,
    policy: Policy,
    placement: Placement,
    *,
    fleet: FleetSpec,
    shard: str,
    lift: bool,
    number: int,
    created: float,
    author: Label,
    reason: str,
    busy: frozenset[str] = frozenset(),
    actions: ActionMakers | None = None,
) -> Plan:
    """A plan that does the action ``name`` to a shard, or with ``lift`` takes back what is in force of it.

    That it is worth it is the operator's business: no contention is needed. Raises UsageError for what does
    not exist, SidestepError for what cannot be.
    """
    if forecast is None or usable(snapshot, forecast) is not None:
        forecast = persistence(snapshot, policy)
    plain = replace(policy, constraints=())  # where the shard may be is no question here: it stays
    built = build(snapshot, forecast, plain, placement, fleet, busy=busy)
    row = built.rules.shard_row.get(shard)
    owner = placement.owners.get(Label(shard))
    if row is None:
        raise UsageError(f"there is no shard {shard}", hint="sidestep status --json lists all shards")
    if owner is None:
        raise SidestepError(f"shard {shard} runs on no host", hint="start it first")
    if (code := built.rules.kept[row]) in _HANDS_OFF:
        raise SidestepError(f"nothing is done to shard {shard}: {code}: it {WHY_SHARD_NOT[code]}")
    found = _standing(fleet, name, shard) if lift else _offered(built, name, shard, row, actions)
    asking = Asking(
        fleet=fleet.name, snapshot=snapshot, policy=policy, placement=placement, number=number, created=created,
        author=author, reason=reason,
    )  # fmt: skip
    what = f"takes {name} back from {shard}" if lift else f"applies {name} to {shard}: {found.says}"
    again = f"do {name} to {shard} again" if lift else f"take {name} back from {shard} on {owner.host}"
    action = Action(
        id=1, kind="lift" if lift else "apply", shard=Label(shard), source=owner.host, destination=owner.host,
        token=owner.token, priority=3, reason=asking.why,
        transfer_s=found.seconds, undo=scrub(again), applied=found,
    )  # fmt: skip
    held = "" if lift else f", and holds it to {needs(found)}"
    return asking.plan(action, f"{what}{held}", forecast=forecast.id)


def _standing(fleet: FleetSpec, name: str, shard: str) -> Applied:
    for one in fleet.standing:
        if (one.shard, one.applied.name) == (shard, name):
            return one.applied
    there = ", ".join(f"{one.applied.name} of {one.shard}" for one in fleet.standing[:8]) or "nothing"
    raise SidestepError(f"{name} is not in force on {shard}", hint=f"in force is {there}")


def _offered(built: Built, name: str, shard: str, row: int, makers: ActionMakers | None) -> Applied:
    fleet = built.rules.fleet
    spec, one = next((a for a in fleet.actions if a.name == name), None), fleet.shard(shard)
    if spec is None:
        known = ", ".join(str(action.name) for action in fleet.actions) or "none"
        raise UsageError(f"there is no action {name}", hint=f"declared are {known} (docs/plugins.md)")
    if not spec.covers(one.name, one.app):
        hint = f"name the shard, or its app {one.app}, under [action.{name}]"
        raise SidestepError(f"action {name} is not declared for {shard}", hint=hint)
    if any((each.shard, each.applied.name) == (shard, name) for each in fleet.standing):
        raise SidestepError(f"{name} is in force on {shard} already", hint=f"sidestep plan lift {name} {shard}")
    try:
        found = offered(spec, target_of(built, row, one), makers)
    except OfferFault as fault:
        raise SidestepError(f"action {name} cannot be done: {fault}", hint="mend its plugin or its params") from fault
    if found is None:
        raise SidestepError(f"action {name} has nothing to offer for {shard}")
    if below_guarantee(found, one):
        raise SidestepError(f"{name} would hold {shard} to less than it is guaranteed: {needs(found)}")
    return found
