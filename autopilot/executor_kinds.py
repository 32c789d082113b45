"""Which kinds of actions are run; ``ActionRun`` is the same for all of them.

A kind brings its hands, which act, and says what has to hold before it begins, what takes it back
afterwards, and where its shard is when it did not come through. Whatever is not in ``KINDS`` is left to people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidestep.autopilot.actions.kind import ApplyKind, LiftKind
from sidestep.autopilot.executor_kind import ActionHands, Kind, Work
from sidestep.autopilot.failover.kind import FailoverKind
from sidestep.autopilot.queue.kinds import PlaceKind, PreemptKind
from sidestep.autopilot.reshard.kinds import MergeKind, SplitKind
from sidestep.autopilot.resize.kind import ResizeKind
from sidestep.fleet.plans import Action

__all__ = ["KINDS", "PLUGGED", "RUNNABLE", "ActionHands", "Kind", "Work", "hands_of", "kind_of"]

_MOVE: Final = Kind()
#: what is run, by ``Action.kind``
KINDS: Final[Mapping[str, Kind]] = {
    "migrate": _MOVE,
    "failover": FailoverKind(),
    "preempt": PreemptKind(),
    "place": PlaceKind(),
    "split": SplitKind(),
    "merge": MergeKind(),
    "resize": ResizeKind(),
    "apply": ApplyKind(),
    "lift": LiftKind(),
}
#: what plugins offer, and taking it back
PLUGGED: Final = frozenset({"apply", "lift"})
#: whatever else a plan may hold is left to people
RUNNABLE: Final = frozenset(KINDS)


def kind_of(action: Action) -> Kind:
    """Its kind; what is not run is spoken of as a move is."""
    return KINDS.get(action.kind, _MOVE)


def hands_of(kind: str, work: Work) -> ActionHands:
    """The hands for an action of that kind. Raises KeyError for one that is not run, or what is not declared."""
    return KINDS[kind].hands(work)
