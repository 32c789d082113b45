"""What is asked of the planner on the daemon's socket, and its answers; part of ``protocol``.

A plan may take longer than a call may wait, so it is a job: ``NewPlan`` starts it and every
``GetPlanning`` tells how far it is, until it carries the answer. Needs msgspec only.
"""

from __future__ import annotations

from msgspec import Struct

from sidestep.autopilot.protocol_actions import ActionList, ActionRequest
from sidestep.fleet.labels import Label
from sidestep.fleet.questions import BestHost, PlanDifference, PolicyList, Preflight, RightSizes, Why, WhyNot
from sidestep.fleet.questions import PlanAnswer as Answered


class NewPlan(Struct, frozen=True, tag="new-plan", kw_only=True):
    """Plan now, on the newest picture. Answered by Planning, at once.

    ``policy`` is a name; ``policy_text`` the TOML of a file instead, which ``policy`` then names.
    Without ``what_if`` the plan is proposed as the peer's own; with it, it is only shown.
    ``compare``: also what present load alone would ask for.
    """

    policy: str = ""
    policy_text: str = ""
    what_if: tuple[str, ...] = ()
    time_limit: float = 0.0
    compare: bool = False


class GetPlanning(Struct, frozen=True, tag="get-planning"):
    """How far a job is; waits up to ``wait`` seconds for its end. Answered by Planning."""

    job: int
    wait: float = 0.0


class CancelPlanning(Struct, frozen=True, tag="cancel-planning"):
    """End a job; what it has found so far is its answer. Answered by Planning."""

    job: int


class AskWhy(Struct, frozen=True, tag="why"):
    """Why a shard moves, or why not. Answered by WhyView."""

    shard: str


class AskWhyNot(Struct, frozen=True, tag="why-not"):
    """Why a shard does not go to a host. Answered by WhyNotView."""

    shard: str
    host: str


class ComparePlans(Struct, frozen=True, tag="compare-plans"):
    """Two plans side by side. Answered by DifferenceView.

    Each by number or digest; "" is the newest, and for ``old`` the one before ``new``.
    """

    old: str = ""
    new: str = ""


class FindHost(Struct, frozen=True, tag="find-host", kw_only=True):
    """The best next host for new work of that size (cores, bytes). Answered by HostView.

    ``near`` is a shard, app or host that it had better be beside; ``app`` whose rules count.
    """

    cpu: float
    memory: int
    app: str = ""
    near: str = ""
    limit: int = 5


class GetRightSizes(Struct, frozen=True, tag="get-right-sizes"):
    """Shards that are given too much or too little. Answered by SizesView."""

    limit: int = 100


class ListPolicies(Struct, frozen=True, tag="list-policies"):
    """The policies that can be named. Answered by PolicyList."""


class TryDrain(Struct, frozen=True, tag="try-drain"):
    """Whether a host can be emptied; nothing is proposed. Answered by DrainView.

    ``others`` are hosts that are to be emptied as well: nothing goes there.
    """

    host: str
    others: tuple[str, ...] = ()


PlanRequest = (
    NewPlan
    | GetPlanning
    | CancelPlanning
    | AskWhy
    | AskWhyNot
    | ComparePlans
    | FindHost
    | GetRightSizes
    | ListPolicies
    | TryDrain
    | ActionRequest
)


class Planning(Struct, frozen=True, tag="planning", kw_only=True):
    """A job: ``state`` is queued, running, done, cancelled or failed.

    ``done`` and ``total`` count iterations of the search (0 of 0 where nobody counts them); ``moves``
    is the best plan so far (-1 for none yet), ``bound`` what no plan can go below (-1: not known).
    """

    job: int
    state: str
    elapsed: float
    done: int = 0
    total: int = 0
    moves: int = -1
    bound: int = -1
    #: what it does now, or why it failed
    text: Label = Label("")
    hint: Label = Label("")
    answer: Answered | None = None


class WhyView(Struct, frozen=True, tag="why"):
    """Why."""

    why: Why


class WhyNotView(Struct, frozen=True, tag="why-not"):
    """Why not."""

    why_not: WhyNot


class DifferenceView(Struct, frozen=True, tag="difference"):
    """Two plans side by side."""

    difference: PlanDifference


class HostView(Struct, frozen=True, tag="best-host"):
    """Hosts for new work."""

    best: BestHost


class SizesView(Struct, frozen=True, tag="right-sizes"):
    """Sizes that would be right."""

    sizes: RightSizes


class DrainView(Struct, frozen=True, tag="drain"):
    """Whether a host can be emptied."""

    preflight: Preflight


PlanReply = (
    Planning | WhyView | WhyNotView | DifferenceView | HostView | SizesView | PolicyList | DrainView | ActionList
)
