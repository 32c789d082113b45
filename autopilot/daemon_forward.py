"""Finishing an action that was committed and never brought its shard up: past the commit there is only forward."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.queue.hands import bring_up
from sidestep.autopilot.reshard.kinds import spare_part
from sidestep.autopilot.steps import move_of
from sidestep.backends.base import Backend
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import StepName
from sidestep.fleet.placement import Owner
from sidestep.fleet.plans import Action, Plan


async def finish(
    fleet: FleetSpec, journal: Journal, backend: Backend, transport: Callable[[str], Transport], owner: Owner,
    digest: str, number: int,
) -> tuple[Plan, Action]:  # fmt: skip
    """Let the shard serve from what the action carried, and journal that. May be repeated; raises SidestepError."""
    plan, _ = journal.plan(digest)
    action = next(a for a in plan.actions if a.id == number)
    move = move_of(fleet, plan, action, digest=digest, old_token=action.token, new_token=owner.token)
    if action.kind == "split" and (part := spare_part(action)) is not None:
        move = replace(move, shard=fleet.shard(part.shard), source=Label(""))
    notes, began = journal.notes(digest, number), time.monotonic()
    destination = transport(move.destination)
    source = transport(move.source) if move.source else destination
    if action.kind == "place":
        result = await bring_up(backend, move, destination, notes)
    else:
        result = await backend.step(StepName.RESUME, move, source, destination, notes)
    journal.begin_step(digest, number, StepName.RESUME)
    journal.end_step(digest, number, StepName.RESUME, result, ms=(time.monotonic() - began) * 1000.0)
    return plan, action
