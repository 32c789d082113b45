"""What is asked of automation levels and of trust on the daemon's socket, and the answers; part of ``protocol``."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Measured, Plan, PlanStatus, Reason
from sidestep.fleet.questions import PlanDifference


class GetAutopilot(Struct, frozen=True, tag="get-autopilot"):
    """How far the autopilot may go, and why. Answered by AutopilotView."""


class Promote(Struct, frozen=True, tag="promote"):
    """Take the level that trust offers, or a lower one. Answered by Done."""

    level: str
    reason: str = ""


class RefreshPlan(Struct, frozen=True, tag="refresh-plan"):
    """Propose anew what an old plan was about; that one stays as it is. Answered by Refreshed."""

    ref: str
    reason: str = ""


LevelRequest = GetAutopilot | Promote | RefreshPlan


class LevelRow(Struct, frozen=True, kw_only=True):
    """One level that was declared or set: ``scope`` is fleet, app, shard or host; ``actor`` "" is the fleet file."""

    scope: str
    name: Label
    level: str
    actor: Label = Label("")
    reason: Label = Label("")
    at: float = 0.0


class TrustEvidence(Struct, frozen=True, kw_only=True):
    """What trust rests on (``autopilot.trust.Evidence``); None is not known."""

    forecasts: float
    skill: float | None
    coverage80: float | None
    plans: int
    succeeded: int
    peak_over: float | None
    freeze_ratio: float | None
    bytes_ratio: float | None


class ShadowRow(Struct, frozen=True, kw_only=True):
    """A plan that level shadow looked at; ``against`` is why it would have been left to people, "" if it would not.

    ``end`` is measured, acted (people approved it), lost (the daemon ended first), or "" while it is watched;
    ``came`` whether the contention that it was made against came.
    """

    plan: int
    digest: str
    at: float
    actions: int
    against: Label
    end: str
    measured: tuple[Measured, ...]
    came: bool | None


class AutopilotView(Struct, frozen=True, tag="autopilot", kw_only=True):
    """The level that was set, the one that trust allows, and the lower of the two, which holds.

    ``reasons`` say why trust allows no more; ``offer`` is a higher level that a person may allow
    again, "" for none. ``judged`` is when trust last changed, 0 for never.
    """

    level: str
    allowed: str
    effective: str
    reasons: tuple[Reason, ...]
    offer: str
    steady: int
    steady_needed: int
    judged: float
    evidence: TrustEvidence
    levels: tuple[LevelRow, ...]
    #: newest first
    shadow: tuple[ShadowRow, ...] = ()


class Refreshed(Struct, frozen=True, tag="refreshed", kw_only=True):
    """The new proposal beside the old plan; ``stale`` is what is no longer so of what the old one relied on."""

    digest: str
    plan: Plan
    status: PlanStatus
    difference: PlanDifference
    stale: tuple[Label, ...] = ()


LevelReply = AutopilotView | Refreshed
