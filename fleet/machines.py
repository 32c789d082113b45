"""The state machines of plans, actions, steps, hosts and shards, each as one checked table.

Only ``advance`` changes a state, so an illegal transition cannot be written down.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeVar

from sidestep.fleet.errors import IllegalTransition


class PlanState(StrEnum):
    """A plan from draft to its outcome."""

    DRAFT = "DRAFT"
    PROPOSED = "PROPOSED"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    SUPERSEDED = "SUPERSEDED"
    STALE = "STALE"
    EXPIRED = "EXPIRED"
    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"


class ActionState(StrEnum):
    """One action of a plan; ABORTED means that the old owner runs."""

    PENDING = "PENDING"
    SKIPPED = "SKIPPED"
    BLOCKED = "BLOCKED"
    RUNNING = "RUNNING"
    COMMITTED = "COMMITTED"
    TIMED_OUT = "TIMED_OUT"
    ABORTING = "ABORTING"
    ABORTED = "ABORTED"
    DONE = "DONE"
    CANCELLED = "CANCELLED"
    FAILED_NEEDS_HUMAN = "FAILED_NEEDS_HUMAN"


class StepState(StrEnum):
    """One step of an action, as the journal records it."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    UNDONE = "UNDONE"


class StepName(StrEnum):
    """The steps of actions, in order; ``commit`` is the commit point (design 7)."""

    PREPARE = "prepare"
    PRECOPY = "precopy"
    FENCE = "fence"
    RESIZE = "resize"
    APPLY = "apply"
    FREEZE = "freeze"
    CAPTURE = "capture"
    TRANSFER = "transfer"
    RESTORE = "restore"
    VERIFY = "verify"
    COMMIT = "commit"
    ROUTE = "route"
    RESUME = "resume"
    OBSERVE = "observe"
    RELEASE = "release"


MOVE_STEPS: Final = tuple(step for step in StepName if step not in {StepName.FENCE, StepName.RESIZE, StepName.APPLY})
#: a shard whose host is lost: its last owner is fenced, then it comes back elsewhere from its newest capsule
FAILOVER_STEPS: Final = (
    StepName.PREPARE, StepName.FENCE, StepName.TRANSFER, StepName.RESTORE, StepName.VERIFY,
    StepName.COMMIT, StepName.ROUTE, StepName.RESUME, StepName.OBSERVE,
)  # fmt: skip
#: a shard gives way: it is stopped, and its capsule waits in the queue
PREEMPT_STEPS: Final = (StepName.FREEZE, StepName.CAPTURE, StepName.COMMIT, StepName.RELEASE)
#: a shard of the queue gets a host, and its capsule if it has one
PLACE_STEPS: Final = (
    StepName.PREPARE, StepName.TRANSFER, StepName.RESTORE, StepName.VERIFY,
    StepName.COMMIT, StepName.ROUTE, StepName.RESUME, StepName.OBSERVE,
)  # fmt: skip

#: a shard gets other limits where it is; it is watched with them before they count
RESIZE_STEPS: Final = (StepName.PREPARE, StepName.RESIZE, StepName.VERIFY, StepName.COMMIT)
#: what a plugin offers is done to a shard where it is, or taken back; it is watched with that before it counts
APPLY_STEPS: Final = (StepName.PREPARE, StepName.APPLY, StepName.VERIFY, StepName.COMMIT)
#: keys of a shard go to a spare, or back: whoever has them then serves before it is routed to
RESHARD_STEPS: Final = (
    StepName.PREPARE, StepName.FREEZE, StepName.CAPTURE, StepName.TRANSFER, StepName.RESTORE, StepName.VERIFY,
    StepName.COMMIT, StepName.RESUME, StepName.ROUTE, StepName.OBSERVE, StepName.RELEASE,
)  # fmt: skip


def steps_of(kind: str) -> tuple[StepName, ...]:
    """The steps of an action of that kind, in order; those of a move for whatever has none of its own."""
    if kind in {"split", "merge"}:
        return RESHARD_STEPS
    if kind in {"apply", "lift"}:
        return APPLY_STEPS
    own = {"failover": FAILOVER_STEPS, "preempt": PREEMPT_STEPS, "place": PLACE_STEPS, "resize": RESIZE_STEPS}
    return own.get(kind, MOVE_STEPS)


class HostState(StrEnum):
    """What we believe of a host; READY, SUSPECT and DEAD carry a reason beside them."""

    UNKNOWN = "UNKNOWN"
    READY = "READY"
    SUSPECT = "SUSPECT"
    CORDONED = "CORDONED"
    DRAINING = "DRAINING"
    DRAINED = "DRAINED"
    MAINTENANCE = "MAINTENANCE"
    DEAD = "DEAD"
    QUARANTINED = "QUARANTINED"


class ShardState(StrEnum):
    """What we believe of a shard."""

    PENDING = "PENDING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    FREEZING = "FREEZING"
    FROZEN = "FROZEN"
    MOVING = "MOVING"
    RESTORING = "RESTORING"
    DEGRADED = "DEGRADED"
    FAILED = "FAILED"
    POISONED = "POISONED"
    STOPPED = "STOPPED"


P, A, S, H, D = PlanState, ActionState, StepState, HostState, ShardState

PLAN: Final[dict[PlanState, frozenset[PlanState]]] = {
    P.DRAFT: frozenset({P.PROPOSED}),
    P.PROPOSED: frozenset({P.APPROVED, P.REJECTED, P.SUPERSEDED, P.STALE, P.EXPIRED}),
    P.APPROVED: frozenset({P.SCHEDULED, P.RUNNING, P.STALE, P.EXPIRED, P.CANCELLED}),
    P.SCHEDULED: frozenset({P.RUNNING}),
    P.RUNNING: frozenset({P.PAUSED, P.CANCELLING, P.SUCCEEDED, P.PARTIAL, P.FAILED}),
    P.PAUSED: frozenset({P.RUNNING, P.CANCELLING}),
    P.CANCELLING: frozenset({P.CANCELLED, P.PARTIAL, P.FAILED}),
    P.SUCCEEDED: frozenset({P.UNDOING}),
    P.PARTIAL: frozenset({P.UNDOING}),
    P.FAILED: frozenset({P.UNDOING}),
    P.CANCELLED: frozenset({P.UNDOING}),
    P.UNDOING: frozenset({P.UNDONE, P.PARTIAL}),
    P.REJECTED: frozenset(),
    P.SUPERSEDED: frozenset(),
    P.STALE: frozenset(),
    P.EXPIRED: frozenset(),
    P.UNDONE: frozenset(),
}

ACTION: Final[dict[ActionState, frozenset[ActionState]]] = {
    A.PENDING: frozenset({A.SKIPPED, A.BLOCKED, A.RUNNING, A.CANCELLED}),
    A.BLOCKED: frozenset({A.RUNNING, A.SKIPPED, A.CANCELLED}),
    A.RUNNING: frozenset({A.COMMITTED, A.DONE, A.ABORTING, A.TIMED_OUT}),
    A.TIMED_OUT: frozenset({A.ABORTING}),
    A.ABORTING: frozenset({A.ABORTED, A.FAILED_NEEDS_HUMAN}),
    A.COMMITTED: frozenset({A.DONE, A.FAILED_NEEDS_HUMAN}),
    A.SKIPPED: frozenset(),
    A.ABORTED: frozenset(),
    A.DONE: frozenset(),
    A.CANCELLED: frozenset(),
    A.FAILED_NEEDS_HUMAN: frozenset(),
}

STEP: Final[dict[StepState, frozenset[StepState]]] = {
    S.PENDING: frozenset({S.RUNNING}),
    S.RUNNING: frozenset({S.RUNNING, S.DONE, S.FAILED, S.UNDONE}),
    S.DONE: frozenset({S.UNDONE, S.RUNNING}),
    S.FAILED: frozenset({S.UNDONE, S.RUNNING}),
    S.UNDONE: frozenset(),
}

_OPERATED = frozenset({H.CORDONED, H.DRAINING, H.MAINTENANCE, H.QUARANTINED})
HOST: Final[dict[HostState, frozenset[HostState]]] = {
    H.UNKNOWN: frozenset({H.READY, H.SUSPECT, H.DEAD, H.CORDONED, H.QUARANTINED}),
    H.READY: frozenset({H.SUSPECT, H.DEAD}) | _OPERATED,
    H.SUSPECT: frozenset({H.READY, H.DEAD}) | _OPERATED,
    H.DEAD: frozenset({H.READY, H.SUSPECT, H.QUARANTINED, H.MAINTENANCE}),
    H.CORDONED: frozenset({H.READY, H.SUSPECT, H.DEAD, H.DRAINING, H.MAINTENANCE, H.QUARANTINED}),
    H.DRAINING: frozenset({H.DRAINED, H.CORDONED, H.READY, H.SUSPECT, H.DEAD, H.QUARANTINED}),
    H.DRAINED: frozenset({H.READY, H.SUSPECT, H.CORDONED, H.DRAINING, H.MAINTENANCE, H.DEAD, H.QUARANTINED}),
    H.MAINTENANCE: frozenset({H.READY, H.DEAD, H.UNKNOWN}),
    H.QUARANTINED: frozenset({H.READY, H.SUSPECT, H.DEAD, H.MAINTENANCE, H.CORDONED, H.DRAINING}),
}

_LOST = frozenset({D.DEGRADED, D.FAILED, D.STOPPED})
SHARD: Final[dict[ShardState, frozenset[ShardState]]] = {
    D.PENDING: frozenset({D.STARTING, D.RUNNING}) | _LOST,
    D.STARTING: frozenset({D.RUNNING}) | _LOST,
    D.RUNNING: frozenset({D.FREEZING, D.MOVING}) | _LOST,
    D.FREEZING: frozenset({D.FROZEN, D.RUNNING}) | _LOST,
    D.FROZEN: frozenset({D.MOVING, D.RUNNING}) | _LOST,
    D.MOVING: frozenset({D.RESTORING, D.RUNNING}) | _LOST,
    D.RESTORING: frozenset({D.RUNNING, D.FROZEN}) | _LOST,
    D.DEGRADED: frozenset({D.RUNNING, D.FREEZING, D.MOVING, D.FAILED, D.STOPPED}),
    D.FAILED: frozenset({D.STARTING, D.RUNNING, D.POISONED, D.STOPPED}),
    D.POISONED: frozenset({D.STOPPED}),
    D.STOPPED: frozenset({D.STARTING, D.RUNNING}),
}

State = TypeVar("State", PlanState, ActionState, StepState, HostState, ShardState)


def advance(table: dict[State, frozenset[State]], old: State, new: State) -> State:
    """Return ``new`` if the table allows it after ``old``. Raises IllegalTransition."""
    if new not in table[old]:
        allowed = ", ".join(sorted(table[old])) or "nothing: it is final"
        raise IllegalTransition(f"{old} -> {new} is not a transition of this machine; allowed: {allowed}")
    return new


def final(table: dict[State, frozenset[State]], state: State) -> bool:
    """Whether nothing can follow ``state``."""
    return not table[state]
