"""What a policy asks of an approval besides a fitting plan: a reason, a second person, the right time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Plan
from sidestep.fleet.windows import frozen, inside, opens, shown


def check_rules(
    plan: Plan,
    rules: Sequence[Policy],
    *,
    now: float,
    actor: Label,
    reason: str,
    outside: str = "",
    person: bool = True,
) -> None:
    """Return if the policies let ``actor`` approve this plan now; every one of them must.

    ``outside`` is why a person approves though it is not the time for it; ``person`` is False for the
    policy itself, which never may. Raises UsageError for a missing reason, SidestepError otherwise.
    """
    if any(policy.reason_required for policy in rules) and not reason.strip():
        raise UsageError("the policy asks for a reason", hint="say why: --reason TEXT")
    if any(policy.two_person for policy in rules):
        if not person:
            raise SidestepError(f"plan {plan.number} waits: the policy asks for a person who reviews it")
        if same_person(actor, plan.author):
            raise SidestepError(
                f"plan {plan.number} is {plan.author}'s own: the policy asks for two people",
                hint="somebody else approves it, here or with a signed approval (docs/approval.md)",
            )
    if (why := shut(rules, now)) and not (person and outside.strip()):
        hint = "wait for it, or say why it cannot: --outside-window TEXT" if person else ""
        raise SidestepError(f"plan {plan.number} is not approved: {why}", hint=hint)


def same_person(one: str, other: str) -> bool:
    """Whether two actors may be one person: the same user name, whatever stands after an "@"."""
    return one.partition("@")[0].casefold() == other.partition("@")[0].casefold()


def shut(rules: Sequence[Policy], now: float) -> str:
    """Why nothing may be approved at this time, or ""."""
    for policy in rules:
        if found := frozen(policy.freezes, policy.zone, now):
            return f"a freeze is on, {found} ({policy.zone})"
        if policy.windows and not inside(policy.windows, policy.zone, now):
            at = opens(policy.windows, policy.zone, now)
            then = f"the next one opens {shown(at, policy.zone)}" if at is not None else "none opens within a week"
            return f"it is outside the change windows ({', '.join(policy.windows)}); {then}"
    return ""


def quiet(rules: Sequence[Policy], now: float) -> str:
    """Why nothing is approved by itself at this time, or ""."""
    for policy in rules:
        if found := inside(policy.quiet, policy.zone, now):
            return f"quiet hours, {found} ({policy.zone})"
    return shut(rules, now)


def check_skip(plan: Plan, skip: Sequence[int]) -> None:
    """Return if the plan still holds together without these actions.

    Raises UsageError for ids that it has not, or if nothing is left, SidestepError if an action that
    stays waits for one that is skipped.
    """
    if not skip:
        return
    known = {action.id: action for action in plan.actions}
    if strange := sorted(set(skip) - known.keys()):
        shown_ids = ", ".join(map(str, known))
        raise UsageError(f"plan {plan.number} has no action {strange[0]}", hint=f"its actions are {shown_ids}")
    if known.keys() <= set(skip):
        raise UsageError("that skips everything", hint=f"reject it: sidestep plan reject {plan.number}")
    if broken := dependents(plan, skip):
        lines = "; ".join(f"action {a} ({known[a].shard}) waits for {b} ({known[b].shard})" for a, b in broken)
        more = ",".join(map(str, sorted({*skip, *(a for a, _ in broken)})))
        raise SidestepError(
            f"plan {plan.number} does not hold together: {lines}", hint=f"skip these too: --skip {more}"
        )


def dependents(plan: Plan, skip: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Actions that stay though they wait for one that is skipped, directly or by way of others, each with that one.

    A later action of the same shard waits too: it goes on from where the earlier one leaves it.
    """
    gone, found = set(skip), list[tuple[int, int]]()
    for at, action in enumerate(plan.actions):
        if action.id in gone:
            continue
        before = [a for a in plan.actions[:at] if a.shard and a.shard == action.shard]
        waits = [i for i in (*action.after, *(a.id for a in before)) if i in gone]
        if waits:
            found.append((action.id, waits[0]))
            gone.add(action.id)
    return tuple(found)
