"""What the planner answers when it is asked: plans on demand, why and why not, differences, hosts for new work.

Needs no numpy, so that a front end can read it. Every answer is published as JSON with a schema
(``fleet/NAME.schema.json``); numbers that nobody knows are null. Keys are only ever added; ``schema``
changes when one changes its meaning.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Action, Alternative, Evidence, NoPlan, Plan, Reason


class HostOutlook(Struct, frozen=True, kw_only=True):
    """One host in one dimension over the horizon: as it is, as asked, and after the plan.

    Peaks are at the policy's quantile, fractions of allocatable capacity; chances are of contention.
    ``now`` is null for a host that is only added on paper.
    """

    host: Label
    dimension: str
    peak_now: float | None
    peak_before: float | None
    peak_after: float | None
    chance_now: float | None
    chance_before: float | None
    chance_after: float | None


class ActionChange(Struct, frozen=True, kw_only=True):
    """One action of two plans: ``what`` is kept, changed, new or dropped, and ``how`` says what differs."""

    what: str
    kind: str
    shard: Label
    source: Label
    destination: Label
    how: tuple[Label, ...] = ()


class PlanDifference(Struct, frozen=True, kw_only=True):
    """What became of the actions of one plan in another, and what changed in the world between them."""

    schema: str = "sidestep.plan-diff/1"
    old: Label
    new: Label
    actions: tuple[ActionChange, ...] = ()
    world: tuple[Label, ...] = ()

    def count(self, what: str) -> int:
        """How many actions are that."""
        return sum(action.what == what for action in self.actions)


class PlanAnswer(Struct, frozen=True, kw_only=True):
    """A plan that was asked for, or the reasons why there is none.

    ``before`` is contention that is predicted as asked (with the what-if), ``after`` what the plan
    leaves of it. ``state`` is the plan's state in the journal, "" for one that is only shown.
    """

    schema: str = "sidestep.plan/1"
    what_if: tuple[Label, ...] = ()
    policy: Label
    digest: str = ""
    state: str = ""
    plan: Plan | None = None
    no_plan: NoPlan | None = None
    now: tuple[Contention, ...] = ()
    before: tuple[Contention, ...] = ()
    after: tuple[Contention, ...] = ()
    #: coded reasons why what stays undone stays so
    blocks: tuple[Reason, ...] = ()
    hosts: tuple[HostOutlook, ...] = ()
    #: against the plan from present load alone, where that was asked for
    without_forecast: PlanDifference | None = None
    seconds: float = 0.0


class Obstacle(Struct, frozen=True, kw_only=True):
    """One coded reason why a shard does not go to a host; amounts are in the dimension's unit.

    ``lacks`` is missing at most, ``at`` seconds from the forecast's beginning; null where no amount is meant.
    """

    reason: Reason
    dimension: str = ""
    lacks: float | None = None
    at: float | None = None
    #: from when on it lacks
    since: float | None = None


class WhyNot(Struct, frozen=True, kw_only=True):
    """Every reason why a shard does not go to a host, the first one first; ``goes`` if it does."""

    schema: str = "sidestep.why-not/1"
    shard: Label
    source: Label
    host: Label
    goes: bool
    obstacles: tuple[Obstacle, ...]
    #: least room that would stay there, fraction of allocatable, and at the chosen destination
    room: float | None = None
    chosen: Label = Label("")
    chosen_room: float | None = None


class Why(Struct, frozen=True, kw_only=True):
    """Why a shard moves, or why it does not."""

    schema: str = "sidestep.why/1"
    shard: Label
    host: Label
    moves: bool
    reason: Reason
    #: the proposal that it is about, "" and 0 if none waits
    plan: int = 0
    digest: str = ""
    action: Action | None = None
    evidence: Evidence | None = None
    alternatives: tuple[Alternative, ...] = ()
    #: why no host takes it now, or what the best ones would be
    hosts: tuple[Alternative, ...] = ()


class HostOffer(Struct, frozen=True, kw_only=True):
    """A host that has room, best first; room is a fraction of allocatable capacity at the worst instant."""

    host: Label
    room: float
    room_cpu: float
    room_memory: float
    zone: Label = Label("")
    cost: float = 0.0
    near: bool = False


class HostRefusal(Struct, frozen=True, kw_only=True):
    """A host that has none, and why."""

    host: Label
    reason: Reason


class BestHost(Struct, frozen=True, kw_only=True):
    """Where new work of that size goes next; no ``offers`` is an answer with reasons."""

    schema: str = "sidestep.best-host/1"
    cpu: float
    memory: int
    app: Label = Label("")
    near: Label = Label("")
    offers: tuple[HostOffer, ...] = ()
    refusals: tuple[HostRefusal, ...] = ()
    #: refusals that were left out
    more: int = 0


class Size(Struct, frozen=True, kw_only=True):
    """What a shard is given and what it needs; null is no limit or not known. cores and bytes."""

    shard: Label
    app: Label
    cpu: float | None
    memory: int | None
    cpu_before: float | None
    memory_before: int | None
    reason: Reason


class RightSizes(Struct, frozen=True, kw_only=True):
    """Shards that are given too much or too little, the largest difference first."""

    schema: str = "sidestep.right-size/1"
    quantile: float
    sizes: tuple[Size, ...] = ()


class Preflight(Struct, frozen=True, kw_only=True):
    """Whether a host can be emptied: what would move, what blocks, and what would unblock it."""

    schema: str = "sidestep.drain/1"
    host: Label
    shards: int
    possible: bool
    answer: PlanAnswer
    blocks: tuple[Reason, ...] = ()
    unblocks: tuple[Label, ...] = ()


class PolicyRow(Struct, frozen=True, kw_only=True):
    """A policy that can be named; ``used`` is the fleet's own."""

    name: Label
    used: bool
    summary: Label
    differs: tuple[Label, ...] = ()


class PolicyList(Struct, frozen=True, tag="policies"):
    """The policies that ``--policy`` knows."""

    policies: tuple[PolicyRow, ...]


#: the answers that are published, by the name of their schema
PUBLISHED: Final[dict[str, Any]] = {
    "plan": PlanAnswer,
    "plan-diff": PlanDifference,
    "why": Why,
    "why-not": WhyNot,
    "best-host": BestHost,
    "right-size": RightSizes,
    "drain": Preflight,
}


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one answer."""
    kind = PUBLISHED[name]
    identity = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": kind.__struct_defaults__[0]}
    found: dict[str, Any] = nullable(msgspec.json.schema(kind))
    return {**identity, **found}


def nullable(tree: Any) -> Any:
    """A schema in which every number may be null: what is not known travels as NaN, which JSON has not."""
    if isinstance(tree, dict):
        found = {key: nullable(value) for key, value in tree.items() if key != "default"}
        return found | {"type": ["number", "null"]} if tree.get("type") == "number" else found
    return [nullable(value) for value in tree] if isinstance(tree, list) else tree
