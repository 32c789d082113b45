"""Which actions of a plan may begin now: a graph, under caps. Pure; the executor looks at the world besides.

An action begins when all that it comes after are DONE, when no earlier action of the same shard
is open, and when the caps per host, app, zone and fleet leave room for it. A plan's order is
kept among actions that compete for the same room.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ACTION, ActionState, final
from sidestep.fleet.plans import Action, Plan

#: actions that have not begun
OPEN: Final = frozenset({ActionState.PENDING, ActionState.BLOCKED})
#: the code of a move that a person asked for by name: how late it is, is up to that person
_ASKED: Final = "OPERATOR"


def shards_of(action: Action) -> frozenset[Label]:
    """The shards that an action has in hand: nobody else starts, stops or judges one of them meanwhile."""
    return frozenset({action.shard, *(part.shard for part in action.parts)})


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to begin now, in this order; what can no longer begin, and why; and when to look again (unix time)."""

    begin: tuple[Action, ...] = ()
    cancel: tuple[tuple[Action, str], ...] = ()
    wake: float = math.inf


@dataclass(frozen=True)
class Places:
    """What counts against which cap: the app of every shard, and the zone of every host that has one."""

    apps: Mapping[str, str]
    zones: Mapping[str, str]

    @staticmethod
    def of(fleet: FleetSpec) -> Places:
        """As the fleet is declared."""
        return Places(
            {str(s.name): str(s.app) for s in fleet.shards}, {str(h.name): str(h.zone) for h in fleet.hosts if h.zone}
        )

    def slots(self, action: Action) -> tuple[tuple[str, str], ...]:
        """The hosts, app and zones that an action keeps busy; each counts once."""
        source = "" if action.kind == "failover" else action.source  # a lost host does nothing
        ends = [end for end in dict.fromkeys((source, action.destination)) if end]
        app = self.apps.get(action.shard)
        zones = dict.fromkeys(self.zones[end] for end in ends if end in self.zones)
        return (
            *(("host", str(end)) for end in ends),
            *((("app", app),) if app else ()),
            *(("zone", zone) for zone in zones),
        )


def choose(
    plan: Plan,
    states: Mapping[int, ActionState],
    *,
    places: Places,
    limit: int,
    now: float,
    busy: Iterable[Action] = (),
) -> Choice:
    """What follows from the states of the plan's actions at unix time ``now``.

    ``limit``: actions that may run at a time, 0 for any number. ``busy``: what runs besides this plan.
    """
    running = [a for a in plan.actions if states[a.id] not in OPEN and not final(ACTION, states[a.id])]
    used = Counter(slot for action in (*running, *busy) for slot in places.slots(action))
    count, begin, cancel, wake = len(running), list[Action](), list[tuple[Action, str]](), math.inf
    dead: dict[int, ActionState] = {}
    for at, action in enumerate(plan.actions):
        if states[action.id] not in OPEN:
            continue
        if why := _hopeless(plan, action, {**states, **dead}, now):
            cancel.append((action, why))
            dead[action.id] = ActionState.CANCELLED
            continue
        if _waits(plan.actions[:at], action, {**states, **dead}):
            continue
        if action.earliest > now:
            wake = min(wake, action.earliest)
            continue
        if _late(plan, action):
            wake = min(wake, action.latest_start)
        slots = places.slots(action)
        if (limit and count >= limit) or _full(plan.policy, slots, used):
            continue
        begin.append(action)
        used.update(slots)
        count += 1
    return Choice(begin=tuple(begin), cancel=tuple(cancel), wake=wake)


def too_late(plan: Plan, action: Action, now: float) -> str:
    """Why the action would begin too late, or nothing.

    A move that was late already when it was planned was approved as such, and one that a person asked
    for by name helps that person.
    """
    if not _late(plan, action) or now <= action.latest_start:
        return ""
    return (
        f"too late: to end in time it had to begin {now - action.latest_start:.0f} s ago;"
        " a new plan says what helps now"
    )


def _late(plan: Plan, action: Action) -> bool:
    """Whether there is a time after which the action must not begin."""
    known = plan.created < action.latest_start < math.inf
    return known and action.reason.code != _ASKED


def _hopeless(plan: Plan, action: Action, states: Mapping[int, ActionState], now: float) -> str:
    for other in action.after:
        state = states.get(other)
        if state is None or (final(ACTION, state) and state is not ActionState.DONE):
            return f"it may only follow action {other}, which is {state or 'not in this plan'}"
    return too_late(plan, action, now)


def _waits(before: Collection[Action], action: Action, states: Mapping[int, ActionState]) -> bool:
    if any(states[other] is not ActionState.DONE for other in action.after):
        return True
    return any(earlier.shard == action.shard and not final(ACTION, states[earlier.id]) for earlier in before)


def _full(policy: Policy, slots: Iterable[tuple[str, str]], used: Mapping[tuple[str, str], int]) -> bool:
    caps = {
        "host": policy.concurrent_per_host,
        "app": policy.concurrent_per_app,
        "zone": policy.concurrent_per_zone,
    }
    return any(caps[slot[0]] and used[slot] >= caps[slot[0]] for slot in slots)
