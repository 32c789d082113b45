"""Whether a plan may be approved, and whether an approved plan may run: pure decisions."""

from __future__ import annotations

from typing import Final

from sidestep.fleet.errors import SidestepError, StalePlan, UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Action, Basis, Plan, PlanStatus

LONGEST_REASON: Final = 500
_NEWEST: Final = "look at the newest proposal: sidestep plan list"


def check_approval(
    plan: Plan, status: PlanStatus, *, digest: str, now: float, present: Basis, actor: Label, reason: str
) -> None:
    """Return if ``actor`` may approve this plan now; ``digest`` is the one that the actor looked at.

    Raises UsageError for another digest, no actor or an endless reason, SidestepError for a plan
    that is not PROPOSED or has expired, and StalePlan, with the differences, if the world moved on.
    """
    real = plan.digest()
    if not digest == real == status.digest:
        raise UsageError(
            f"plan {plan.number} has the digest {real[:12]}, not {digest[:12] or '(none)'}: what runs is what was read",
            hint="look at the plan again and approve the digest that it shows",
        )
    if not actor.strip():
        raise UsageError("an approval needs an actor")
    if len(reason) > LONGEST_REASON:
        raise UsageError(f"a reason of {len(reason)} characters; at most {LONGEST_REASON} are kept")
    if status.state is PlanState.STALE:
        raise StalePlan(
            plan.number, plan.basis.differences(present) or (status.note or "the world was different for a while",)
        )
    if status.state is not PlanState.PROPOSED:
        raise SidestepError(f"plan {plan.number} is {status.state} and cannot be approved", hint=_NEWEST)
    if late := expired(plan, now):
        raise SidestepError(late, hint=_NEWEST)
    if differences := plan.basis.differences(present):
        raise StalePlan(plan.number, differences)


def expired(plan: Plan, now: float) -> str:
    """Why the plan is too old, or nothing."""
    return f"plan {plan.number} expired {now - plan.expires:.0f} s ago" if now > plan.expires else ""


def action_differences(plan: Plan, action: Action, token: int, placement: Placement, present: Basis) -> tuple[str, ...]:
    """What is no longer as planned for one action: its shard's owner, its two hosts.

    ``token`` is the one the shard must have: the planned one, or the one that an earlier action
    of the same plan gave it. Other shards may have moved: the plan's own actions move them.
    """
    lines: list[str] = []
    owner = placement.owners.get(action.shard)
    if owner is None:
        lines.append(f"shard {action.shard}: is not placed")
    elif (owner.host, owner.token) != (action.source, token):
        lines.append(
            f"shard {action.shard}: was on {action.source} (token {token}), now on {owner.host} (token {owner.token})"
        )
    elsewhere = next((p.host for p in present.placements if p.shard == action.shard), action.source)
    if not lines and owner is not None and elsewhere != owner.host:
        lines.append(f"shard {action.shard}: was on {action.source}, now on {elsewhere}")
    ends = (action.source, action.destination)
    planned = Basis((), tuple(h for h in plan.basis.hosts if h.host in ends))
    found = Basis((), tuple(h for h in present.hosts if h.host in {p.host for p in planned.hosts}))
    return (*lines, *planned.differences(found))
