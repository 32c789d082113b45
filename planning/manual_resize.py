"""An operator's own resize: other limits for one shard, in place. Pure."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Final

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Action, Limits, Plan
from sidestep.fleet.resources import show_size
from sidestep.fleet.snapshot import Snapshot
from sidestep.planning.operators import Asking
from sidestep.planning.resizing import limits_from

#: cores that a limit may have at most
MOST: Final = 4096


def plan_resize(
    snapshot: Snapshot,
    policy: Policy,
    placement: Placement,
    *,
    fleet: FleetSpec,
    backends: Container[str],
    shard: str,
    cpu: float | None = None,
    memory: int | None = None,
    read: int | None = None,
    write: int | None = None,
    number: int,
    created: float,
    author: Label,
    reason: str,
) -> Plan:
    """A plan of one resize; ``fleet`` has the limits of now, and what is None stays as it is. 0 is no limit.

    Raises UsageError for a shard that does not exist, SidestepError for what cannot be.
    """
    spec = next((one for one in fleet.shards if one.name == shard), None)
    if spec is None:
        raise UsageError(f"there is no shard {shard}", hint="sidestep status --json lists all shards")
    if cpu is not None and not (math.isfinite(cpu) and 0 <= cpu <= MOST):
        raise UsageError(f"a limit of {cpu:g} cores is not between 0 and {MOST}", hint="0 is no limit")
    owner = placement.owners.get(spec.name)
    if owner is None:
        raise SidestepError(f"shard {shard} runs on no host", hint="start it before it is resized")
    if spec.backend not in backends:
        raise SidestepError(f"backend {spec.backend} cannot resize {shard}", hint="see: sidestep plugins list")
    limits = limits_from(
        spec,
        cpu=spec.limit_cpu if cpu is None else cpu,
        memory=spec.limit_memory if memory is None else memory,
        read=read,
        write=write,
    )
    if limits == limits.back():
        raise SidestepError(f"shard {shard} has these limits already", hint="give --cpu, --memory, --read or --write")
    _check_guarantees(spec, limits)
    asking = Asking(
        fleet=fleet.name, snapshot=snapshot, policy=policy, placement=placement, number=number, created=created,
        author=author, reason=reason,
    )  # fmt: skip
    action = Action(
        id=1, kind="resize", shard=spec.name, source=owner.host, destination=owner.host, token=owner.token, priority=3,
        reason=asking.why, limits=limits,
        undo=scrub(f"give {shard} its old limits on {owner.host} again"),
    )  # fmt: skip
    return asking.plan(action, f"resizes {shard} on {owner.host}")


def _check_guarantees(spec: ShardSpec, limits: Limits) -> None:
    if limits.cpu and limits.cpu < spec.guarantee_cpu:
        raise SidestepError(f"shard {spec.name} is guaranteed {spec.guarantee_cpu:g} cores, more than {limits.cpu:g}")
    if limits.memory and limits.memory < spec.guarantee_memory:
        raise SidestepError(
            f"shard {spec.name} is guaranteed {show_size(spec.guarantee_memory)} of memory,"
            f" more than {show_size(limits.memory)}"
        )
