"""What steers plans that run, on the daemon's socket; part of ``protocol``. Needs msgspec only."""

from __future__ import annotations

from msgspec import Struct

from sidestep.autopilot.protocol_capsules import CapsuleReply, CapsuleRequest
from sidestep.autopilot.protocol_failover import FailoverReply, FailoverRequest
from sidestep.autopilot.protocol_functions import FunctionsView, ListFunctions
from sidestep.autopilot.protocol_hosts import HostReply, HostRequest
from sidestep.autopilot.protocol_pools import PoolReply, PoolRequest
from sidestep.fleet.labels import Label


class PausePlan(Struct, frozen=True, tag="pause-plan"):
    """Begin nothing more of a running plan; what runs goes on to its end. Answered by PlanView."""

    ref: str
    reason: str = ""


class ResumePlan(Struct, frozen=True, tag="resume-plan"):
    """Go on with a paused plan. Answered by PlanView."""

    ref: str
    reason: str = ""


class CancelPlan(Struct, frozen=True, tag="cancel-plan"):
    """End a plan that is approved, runs or is paused; ``dry``: only say what that would do. Answered by CancelView."""

    ref: str
    reason: str = ""
    dry: bool = False


class UndoPlan(Struct, frozen=True, tag="undo-plan"):
    """Propose the way back of a plan that ran; it is approved like any other. Answered by PlanView."""

    ref: str
    reason: str = ""


class HoldAll(Struct, frozen=True, tag="hold"):
    """Begin nothing new, at once and until it is released. Answered by Done."""

    reason: str = ""


class ReleaseHold(Struct, frozen=True, tag="release"):
    """Let new things begin again. Answered by Done."""

    reason: str = ""


class DeclareOff(Struct, frozen=True, tag="declare-off"):
    """A host is off, says a person who made sure of it; until it is heard again. Answered by Done."""

    host: str
    reason: str = ""


ControlRequest = (
    PausePlan
    | ResumePlan
    | CancelPlan
    | UndoPlan
    | HoldAll
    | ReleaseHold
    | DeclareOff
    | FailoverRequest
    | HostRequest
    | CapsuleRequest
    | PoolRequest
    | ListFunctions
)


class Effect(Struct, frozen=True, kw_only=True):
    """What cancelling does to one action. ``will``: cancelled, back, finished, or "" if it has ended."""

    id: int
    shard: Label
    state: str
    will: str
    text: Label


class CancelView(Struct, frozen=True, tag="cancel", kw_only=True):
    """What cancelling does, or did; action by action, as of the answer."""

    number: int
    digest: str
    #: the plan's state
    state: str
    done: bool
    effects: tuple[Effect, ...]


ControlReply = CancelView | FailoverReply | HostReply | CapsuleReply | PoolReply | FunctionsView
