"""A new plan for an old one that no longer fits: what would be done about it now. The old one stays as it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from sidestep.autopilot.daemon_planning import PlanDesk
from sidestep.autopilot.frames import Picture
from sidestep.autopilot.planner import plan_move
from sidestep.autopilot.protocol_levels import Refreshed
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import PLANNER, NoPlan, Plan, PlanStatus
from sidestep.planning import basis_now
from sidestep.planning.queries.ask import propose_on
from sidestep.planning.queries.diff import difference
from sidestep.planning.queries.whatif import World

#: states in which a plan still is, or will be, something that happens
_ALIVE: Final = frozenset(
    {
        PlanState.APPROVED,
        PlanState.SCHEDULED,
        PlanState.RUNNING,
        PlanState.PAUSED,
        PlanState.CANCELLING,
        PlanState.UNDOING,
    }
)


async def refresh(
    desk: PlanDesk, picture: Picture, old: Plan, status: PlanStatus, *, actor: Label, reason: str
) -> tuple[Plan, PlanStatus]:
    """The new proposal: an operator's own move once more, or what the planner says now.

    A plan of the planner's stays one of the planner's; anything else becomes ``actor``'s. Raises
    SidestepError for a plan that runs, or if there is nothing to do now, with the reasons.
    """
    if status.state in _ALIVE:
        raise SidestepError(f"plan {old.number} is {status.state}: it is not refreshed", hint="cancel it, or wait")
    if picture.forecast is None:
        raise SidestepError("there is no forecast yet", hint="try again in a moment")
    made = await asyncio.to_thread(_work(desk, picture, old, actor, reason))
    if isinstance(made, NoPlan):
        why = "; ".join(each.text for each in made.reasons)
        raise SidestepError(
            f"there is nothing to do about plan {old.number} now: {why}", hint="see: sidestep plan list"
        )
    plan = replace(made, number=desk.journal.next_number(), summary=scrub(f"{made.summary} (again, for #{old.number})"))
    found = desk.journal.add(plan)
    desk.log.mirror()
    return plan, found


def _work(desk: PlanDesk, picture: Picture, old: Plan, actor: Label, reason: str) -> Callable[[], Plan | NoPlan]:
    """What makes the new plan, beside the loop; everything that it needs of the journal is read here."""
    snapshot, forecast, fleet = picture.snapshot, picture.forecast, desk.fleet
    placement, number, created = desk.journal.placement(), desk.journal.next_number(), desk.clock.wall()
    assert forecast is not None
    own = old.author != PLANNER
    author = actor if own else PLANNER
    policy = old.policy if own else fleet.policy
    first = old.actions[0] if old.actions else None
    if own and first is not None and len(old.actions) == 1 and first.kind == "migrate":
        return lambda: plan_move(
            snapshot,
            forecast,
            fleet.policy,
            placement,
            fleet=fleet,
            shard=first.shard,
            destination=first.destination,
            number=number,
            created=created,
            author=author,
            reason=reason or str(first.reason.text),
        )
    world = World(
        snapshot=snapshot, forecast=forecast, fleet=replace(fleet, policy=policy), placement=placement, policy=policy
    )
    busy, settling = desk.busy(), desk.settling()
    return lambda: propose_on(
        world, desk.planner, number=number, created=created, busy=busy, settling=settling, previous=None, author=author
    )


async def refreshed(
    desk: PlanDesk, picture: Picture, old: Plan, status: PlanStatus, *, actor: Label, reason: str
) -> Refreshed:
    """The same, as it is answered: with what is different."""
    now = basis_now(old, picture.snapshot, desk.journal.placement())
    plan, found = await refresh(desk, picture, old, status, actor=actor, reason=reason)
    return Refreshed(
        digest=found.digest,
        plan=plan,
        status=found,
        difference=difference(old, plan),
        stale=tuple(scrub(line) for line in old.basis.differences(now)),
    )
