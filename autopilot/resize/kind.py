"""``resize`` as a kind of action: what has to hold before it begins, and what is said of it."""

from __future__ import annotations

from msgspec.structs import replace

from sidestep.autopilot.executor_kind import ActionHands, Kind, Work
from sidestep.autopilot.resize.hands import ResizeHands
from sidestep.autopilot.steps import Hands, move_of
from sidestep.autopilot.undo import back
from sidestep.backends.base import Resizer
from sidestep.fleet.labels import scrub
from sidestep.fleet.machines import StepName
from sidestep.fleet.plans import Action, Limits


class ResizeKind(Kind):
    """A shard may use more or less from now on, where it is, without being restarted."""

    #: it serves all the time
    holds: StepName | None = None
    keeps_token = True

    def hands(self, work: Work) -> ActionHands:
        """Hands that touch the shard's own host only. Raises KeyError for what is not declared."""
        here = replace(work.action, destination=work.action.source)
        token = work.old_token
        move = move_of(work.hands.fleet, work.plan, here, digest=work.digest, old_token=token, new_token=token)
        return ResizeHands(
            hands=work.hands, move=move, journal=work.journal, digest=work.digest, action=work.action.id,
            limits=work.action.limits or Limits(cpu=0.0, memory=0),
        )  # fmt: skip

    def lacks(self, hands: Hands, action: Action) -> str:
        """The shard's backend has to be able to."""
        shard = next((one for one in hands.fleet.shards if one.name == action.shard), None)
        if action.limits is None:
            return "the action does not say what the limits are to be"
        if shard is None:
            return f"{action.shard} is not declared any more"
        if not isinstance(hands.backend_for(shard), Resizer):
            return f"backend {shard.backend} cannot resize {action.shard}: do it by hand"
        return ""

    def way_back(self, action: Action, token: int, number: int) -> Action | None:
        """The limits of before; ``token`` is the owner's, which it keeps."""
        limits = action.limits or Limits(cpu=0.0, memory=0)
        return replace(
            back(action, token, number),
            kind="resize",
            limits=limits.back(),
            undo=scrub(f"resize {action.shard} again"),
        )

    def untouched(self, action: Action) -> str:
        """It keeps its limits."""
        return f"{action.shard} keeps its limits"

    def restored(self, action: Action) -> str:
        """It has them again."""
        return f"{action.shard} has its old limits"

    def committed(self, action: Action) -> str:
        """It has new ones."""
        return f"{action.shard} has its new limits"

    def half_way(self, action: Action, *, held: bool) -> str:
        """It serves, with whichever limits."""
        return f"{action.shard} serves on {action.source}, perhaps with the new limits. Look: sidestep instance"
