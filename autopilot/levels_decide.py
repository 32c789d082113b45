"""What becomes of a proposal by itself: approved, left to people, or only noted. Pure.

Whatever the level, the policy approves nothing on chances that are not proven, in quiet hours, or
outside change windows. Level semi asks for more (the policy's ``semi_*``); level shadow decides as
full would, and does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sidestep.autopilot.approval_rules import quiet
from sidestep.autopilot.levels import Held
from sidestep.autopilot.loop_words import unproven
from sidestep.autopilot.trust.gate import LEVELS, lower
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import Policy
from sidestep.fleet.plans import Action, Plan
from sidestep.fleet.resources import show_seconds, show_size


class Decision(NamedTuple):
    """``does`` is what happens; ``why`` is why a person is waited for, or would be: "" for no reason."""

    does: Literal["approve", "wait", "shadow"]
    level: str
    why: str


def decide(
    plan: Plan,
    held: Held,
    allowed: str,
    rules: Sequence[Policy],
    *,
    contention: tuple[Contention, ...],
    now: float,
) -> Decision:
    """What becomes of ``plan``; ``held`` is the most cautious level that people set of what it touches."""
    level = lower(held.level, allowed)
    if level == "shadow":
        return Decision("shadow", level, _against("full", plan, rules, contention, now))
    if LEVELS.index(level) < LEVELS.index("semi"):
        own = held.level == level and held.whose != "fleet"
        return Decision("wait", level, f"level {level} of {held.whose}" if own else "")
    why = _against(level, plan, rules, contention, now)
    return Decision("wait" if why else "approve", level, why)


def _against(level: str, plan: Plan, rules: Sequence[Policy], contention: tuple[Contention, ...], now: float) -> str:
    """Why the policy does not approve at this level, or ""."""
    if doubtful := unproven(plan, contention):
        return f"the chances of {', '.join(doubtful)} are not proven yet"
    if any(policy.two_person for policy in rules):
        return "the policy asks for a person who reviews it"
    if why := quiet(rules, now):
        return why
    if level == "semi":
        return "; ".join(dict.fromkeys(line for policy in rules for line in criteria(plan, policy)))
    return ""


def criteria(plan: Plan, policy: Policy) -> list[str]:
    """What of the policy's criteria for level semi the plan does not meet, a line each."""
    lines = []
    size = sum(action.bytes for action in plan.actions if action.kind != "failover")  # it is no choice of ours
    if policy.semi_bytes and size > policy.semi_bytes:
        lines.append(f"it carries {show_size(size)}, level semi at most {show_size(policy.semi_bytes)}")
    for action in plan.actions:
        lines += [f"action {action.id} ({action.shard or action.destination}): {text}" for text in _of(action, policy)]
    return lines


def _of(action: Action, policy: Policy) -> list[str]:
    lines = []
    if action.priority > policy.semi_priority:
        lines.append(f"priority {action.priority}, level semi up to {policy.semi_priority}")
    if action.kind == "failover":  # nothing is predicted, and nobody is frozen who is not served anyhow
        return lines
    if action.kind == "apply" and action.applied is not None and action.applied.loss > 0:
        lines.append(f"users lose {action.applied.loss:.0%} of {action.shard} meanwhile, level semi nothing")
    if policy.semi_freeze and action.freeze_ms > policy.semi_freeze * 1000:
        lines.append(f"freezes {action.freeze_ms:.0f} ms, level semi at most {policy.semi_freeze * 1000:.0f} ms")
    seen = action.evidence
    if seen is None:
        return lines
    if seen.probability < policy.semi_probability:
        lines.append(f"p={seen.probability:.2f}, level semi from {policy.semi_probability:.2f}")
    if seen.lead < policy.semi_lead_least:
        lines.append(f"{show_seconds(seen.lead)} ahead, level semi from {show_seconds(policy.semi_lead_least)}")
    if seen.lead > policy.semi_lead_most:
        lines.append(f"{show_seconds(seen.lead)} ahead, level semi up to {show_seconds(policy.semi_lead_most)}")
    return lines
