"""An operator's own split or merge: which spare, where, and which keys. Pure.

A split gives a part of a shard's keys to a spare of its app that is idle; a merge gives a spare's keys back to the
shard beside it. Both are refused with what is lacking, before anybody approves anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Action, Part, Plan
from sidestep.fleet.snapshot import Snapshot
from sidestep.planning.constraints import ConstraintMaker, refusal
from sidestep.planning.operators import Asking

Keys = tuple[int, int]
Kind = Literal["split", "merge"]


def plan_reshard(
    kind: Kind,
    snapshot: Snapshot,
    policy: Policy,
    placement: Placement,
    keys: Mapping[Label, Keys],
    *,
    fleet: FleetSpec,
    shard: str,
    spare: str = "",
    destination: str = "",
    at: int | None = None,
    number: int,
    created: float,
    author: Label,
    reason: str,
    constraints: Mapping[str, ConstraintMaker] | None = None,
) -> Plan:
    """A plan of one split or merge. ``keys`` are those that every shard has now.

    Without ``spare`` the first that fits is taken, without ``destination`` the spare's own host, and without ``at``
    (the first key that goes) the upper half of the keys. Raises UsageError for what does not exist, SidestepError
    for what cannot be.
    """
    by_name = {str(one.name): one for one in fleet.shards}
    if shard not in by_name:
        raise UsageError(f"there is no shard {shard}", hint="sidestep status --json lists all shards")
    if destination and destination not in {str(host.name) for host in fleet.hosts}:
        raise UsageError(f"there is no host {destination}", hint="sidestep status --json lists all hosts")
    giver, owner = by_name[shard], placement.owners.get(Label(shard))
    if owner is None or giver.name not in keys:
        raise SidestepError(f"shard {shard} serves no keys now", hint="wait until it runs, or name another")
    if not giver.drop:
        raise SidestepError(f"shard {shard} cannot be split", hint="give it a drop command (docs/routing.md)")
    chosen = _spare(kind, fleet, placement, keys, giver, spare)
    if kind == "split":
        mine, given = _cut(giver, keys[giver.name], at)
        host = Label(destination) or chosen.host
        if why := refusal(fleet, constraints or {}, chosen.name, host):
            raise SidestepError(why, hint="name another host: --to HOST")
    else:
        mine, given = keys[giver.name], keys[chosen.name]
        host = placement.owners[chosen.name].host
    parts = (Part(giver.name, owner.host, mine), Part(chosen.name, host, given))
    asking = Asking(
        fleet=fleet.name, snapshot=snapshot, policy=policy, placement=placement, number=number, created=created,
        author=author, reason=reason,
    )  # fmt: skip
    what = f"keys {given[0]}..{given[1] - 1} of {shard} to {chosen.name} on {host}"
    if kind == "merge":
        what = f"keys {given[0]}..{given[1] - 1} of {chosen.name} back to {shard}"
    action = Action(
        id=1, kind=kind, shard=giver.name, source=owner.host, destination=host, token=owner.token, priority=3,
        reason=asking.why, parts=parts,
        undo=scrub(f"{'merge' if kind == 'split' else 'split'} them again"),
    )  # fmt: skip
    return asking.plan(action, f"{kind}: {what}")


def _spare(
    kind: Kind, fleet: FleetSpec, placement: Placement, keys: Mapping[Label, Keys], giver: ShardSpec, wanted: str
) -> ShardSpec:
    """The spare that takes part. Raises SidestepError if none can."""
    spares = [one for one in fleet.shards if one.spare and one.app == giver.app and wanted in ("", one.name)]
    if kind == "split":
        fit = [one for one in spares if one.name not in placement.owners]
        if not fit:
            hint = f'declare one: [shards.NAME] with app = "{giver.app}" and spare = true'
            raise SidestepError(f"no spare {wanted or f'of app {giver.app}'} is idle", hint=hint)
        return fit[0]
    lo, hi = keys[giver.name]
    fit = [one for one in spares if one.name in keys and (keys[one.name][0] == hi or keys[one.name][1] == lo)]
    if not fit:
        hint = "only a spare whose keys lie beside the shard's can be merged with it"
        which = f"spare {wanted} has no" if wanted else "no spare has"
        raise SidestepError(f"{which} keys beside those of {giver.name}", hint=hint)
    return fit[0]


def _cut(giver: ShardSpec, keys: Keys, at: int | None) -> tuple[Keys, Keys]:
    """What the shard keeps, and what it gives. Raises SidestepError."""
    lo, hi = keys
    if hi - lo < 2:
        raise SidestepError(f"shard {giver.name} has one key only: it cannot be split")
    middle = (lo + hi) // 2 if at is None else at
    if not lo < middle < hi:
        raise SidestepError(f"shard {giver.name} has keys {lo}..{hi - 1}: {middle} does not divide them")
    return (lo, middle), (middle, hi)
