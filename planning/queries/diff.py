"""Two plans side by side: which actions stayed, changed, came and went, and what changed in the world."""

from __future__ import annotations

from typing import Final

import msgspec

from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Action, Outlook, Plan
from sidestep.fleet.questions import ActionChange, PlanDifference
from sidestep.fleet.resources import show_seconds

#: a predicted peak, or a chance, that changed by less than this is the same
PEAK: Final = 0.02
CHANCE: Final = 0.05
#: seconds by which predicted contention may be told differently and be the same, as a share of its lead
TIME: Final = 0.1


def difference(old: Plan, new: Plan, *, names: tuple[str, str] = ("", "")) -> PlanDifference:
    """What became of the old plan's actions; the same shard, or host, in both is one action."""
    was, now = {_key(a): a for a in old.actions}, {_key(a): a for a in new.actions}
    rows = [_both(was[key], action) if key in was else _one("new", action) for key, action in now.items()]
    rows += [_one("dropped", action) for key, action in was.items() if key not in now]
    return PlanDifference(
        old=scrub(names[0] or f"#{old.number}"),
        new=scrub(names[1] or f"#{new.number}"),
        actions=tuple(rows),
        world=world(old, new),
    )


def _key(action: Action) -> tuple[str, str]:
    """What an action is about: its shard, or the host that it is done to."""
    return ("shard", action.shard) if action.shard else (action.kind, action.destination)


def _one(what: str, action: Action) -> ActionChange:
    return ActionChange(
        what=what,
        kind=action.kind,
        shard=action.shard,
        source=action.source,
        destination=action.destination,
        how=(scrub(f"{action.reason.code}: {action.reason.text}"),),
    )


def _both(old: Action, new: Action) -> ActionChange:
    """Kept if it does the same; why it is done may be told differently."""
    how = [
        f"{name} was {was or 'none'}, now {now or 'none'}"
        for name, was, now in (
            ("kind", old.kind, new.kind),
            ("source", old.source, new.source),
            ("destination", old.destination, new.destination),
            ("token", old.token, new.token),
            ("limits", _shown(old.limits), _shown(new.limits)),
            ("parts", _shown(old.parts), _shown(new.parts)),
        )
        if was != now
    ]
    said = [] if old.reason.code == new.reason.code else [f"reason was {old.reason.code}, now {new.reason.code}"]
    if old.priority != new.priority:
        said.append(f"priority was {old.priority}, now {new.priority}")
    return ActionChange(
        what="changed" if how else "kept",
        kind=new.kind,
        shard=new.shard,
        source=new.source,
        destination=new.destination,
        how=tuple(scrub(line) for line in (*how, *said)),
    )


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode() if value else ""


def world(old: Plan, new: Plan) -> tuple[Label, ...]:
    """What is different in what the two plans were decided on, a line each: facts, forecast, policy."""
    lines = [*_facts(old, new), *_forecast(old, new), *policy_lines(old.policy, new.policy)]
    return tuple(scrub(line) for line in lines)


def _facts(old: Plan, new: Plan) -> list[str]:
    """Placements and hosts that both plans rely on; a fact of one of them only is no change."""
    hosts = {fact.host for fact in old.basis.hosts} & {fact.host for fact in new.basis.hosts}
    parts = [
        msgspec.structs.replace(
            plan.basis,
            hosts=tuple(fact for fact in plan.basis.hosts if fact.host in hosts),
            placements=tuple(fact for fact in plan.basis.placements if fact.host in hosts),
        )
        for plan in (old, new)
    ]
    return list(parts[0].differences(parts[1]))


def _forecast(old: Plan, new: Plan) -> list[str]:
    was = {(o.host, o.dimension): o for o in old.outlook}
    lines = [
        f"{row.host} {row.dimension}: {text}"
        for row in new.outlook
        if (before := was.get((row.host, row.dimension))) is not None and (text := _outlook(before, row))
    ]
    began = {(a.evidence.host, a.evidence.dimension): a.evidence for a in old.actions if a.evidence}
    begins = {(a.evidence.host, a.evidence.dimension): a.evidence for a in new.actions if a.evidence}
    for key, evidence in begins.items():
        earlier = began.get(key)
        if earlier is None:
            lines.append(f"{key[0]} {key[1]}: contention is predicted now, from {show_seconds(evidence.lead)} on")
            continue
        moved = evidence.starts_at - earlier.starts_at
        if abs(moved) > max(1.0, TIME * abs(earlier.lead)):
            how = "later" if moved > 0 else "sooner"
            lines.append(f"{key[0]} {key[1]}: contention is predicted {show_seconds(abs(moved))} {how}")
    lines += [
        f"{host} {dimension}: contention is no longer acted on" for host, dimension in began.keys() - begins.keys()
    ]
    return lines


def _outlook(old: Outlook, new: Outlook) -> str:
    said: list[str] = []
    if abs(old.peak_before - new.peak_before) > PEAK:
        said.append(f"predicted peak was {old.peak_before:.0%}, now {new.peak_before:.0%}")
    if abs(old.probability_before - new.probability_before) > CHANCE:
        said.append(f"chance of contention was {old.probability_before:.2f}, now {new.probability_before:.2f}")
    if old.capacity != new.capacity:
        said.append(f"capacity was {old.capacity:g}, now {new.capacity:g}")
    return ", ".join(said)


def policy_lines(old: Policy, new: Policy) -> list[str]:
    """The fields of a policy that differ, a line each."""
    return [
        f"policy: {name} was {_value(was)}, now {_value(now)}"
        for name in old.__struct_fields__
        if (was := getattr(old, name)) != (now := getattr(new, name))
    ]


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"
