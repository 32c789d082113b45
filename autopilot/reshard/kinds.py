"""``split`` and ``merge`` as kinds of actions: what has to hold before they begin, and what is said of them.

A split: ``source`` is the shard's host, ``parts`` are what it keeps and the spare with its new host (``destination``)
and keys. A merge: ``source`` is the host of the shard that takes keys, ``destination`` that of the spare in ``parts``.
"""

from __future__ import annotations

from msgspec.structs import replace

from sidestep.autopilot.approval import action_differences
from sidestep.autopilot.executor_kind import ActionHands, Kind, Work
from sidestep.autopilot.reshard.hands import Keys, MergeHands, SplitHands
from sidestep.autopilot.steps import Hands, move_of
from sidestep.autopilot.undo import back
from sidestep.backends.base import Move
from sidestep.fleet.labels import scrub
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Action, Basis, Part, Plan


class ReshardKind(Kind):
    """What split and merge share: two shards of one app, one of them a spare; the other one keeps its token."""

    keeps_token = True

    def lacks(self, hands: Hands, action: Action) -> str:
        """A backend that can, commands that know ranges, and parts that say what goes where."""
        shards = {str(shard.name): shard for shard in hands.fleet.shards}
        part = spare_part(action)
        shard, spare = shards.get(action.shard), shards.get(part.shard) if part is not None else None
        kept = kept_keys(action)
        if part is None or part.keys is None or kept is None or shard is None or spare is None:
            return f"{action.kind} of {action.shard} does not say which spare takes part, and with which keys"
        if part.keys[0] != kept[1] and part.keys[1] != kept[0]:
            return f"keys {part.keys[0]}..{part.keys[1] - 1} do not lie beside those that {shard.name} keeps"
        if not spare.spare or spare.app != shard.app:
            return f"{spare.name} is no spare of app {shard.app}: write spare = true"
        if not shard.drop or not spare.drop or shard.driver != "hook":
            return f'{shard.name} and {spare.name} need driver "hook" and a drop command that heeds LO and HI'
        if action.kind not in hands.backend_for(shard).capabilities or shard.backend != spare.backend:
            return f"backend {shard.backend} cannot {action.kind} {shard.name}: do it by hand"
        return ""

    def untouched(self, action: Action) -> str:
        """Everything as before."""
        return f"{action.shard} keeps its keys"

    def restored(self, action: Action) -> str:
        """Everything as before."""
        return f"{action.shard} goes on on {action.source}, with the keys that it had"


class SplitKind(ReshardKind):
    """A part of a shard's keys goes to a spare."""

    def hands(self, work: Work) -> ActionHands:
        """Hands for both. Raises KeyError for what is not declared."""
        part, keeps = spare_part(work.action), kept_keys(work.action)
        assert part is not None
        assert keeps is not None
        return SplitHands(
            hands=work.hands, move=_move(work), part=part, keeps=keeps, journal=work.journal, digest=work.digest,
            action=work.action.id,
        )  # fmt: skip

    def differences(
        self, plan: Plan, action: Action, token: int, placement: Placement, present: Basis
    ) -> tuple[str, ...]:
        """The shard as planned, and the spare idle."""
        found = action_differences(plan, action, token, placement, present)
        part = spare_part(action)
        if part is not None and part.shard in placement.owners:
            return (*found, f"shard {part.shard}: was idle, is on {placement.owners[part.shard].host}")
        return found

    def way_back(self, action: Action, token: int, number: int) -> Action | None:
        """The keys are merged again."""
        part = spare_part(action)
        return None if part is None else replace(
            back(action, token, number), kind="merge", source=action.source, destination=part.destination,
            parts=action.parts, undo=scrub(f"split {action.shard} again"),
        )  # fmt: skip

    def committed(self, action: Action) -> str:
        """Both serve."""
        part = spare_part(action)
        return f"{part.shard if part else ''} on {action.destination} has the keys that {action.shard} gave"


class MergeKind(ReshardKind):
    """A shard takes the keys of a spare beside it."""

    def hands(self, work: Work) -> ActionHands:
        """Hands for both. Raises KeyError for what is not declared or not placed."""
        part = spare_part(work.action)
        assert part is not None
        hands = MergeHands(
            hands=work.hands, move=_move(work), part=part, keeps=whole_keys(work.action), journal=work.journal,
            digest=work.digest, action=work.action.id,
        )  # fmt: skip
        owner = work.journal.placement().owners.get(part.shard)
        hands.spare_token = owner.token if owner is not None else 0
        return hands

    def differences(
        self, plan: Plan, action: Action, token: int, placement: Placement, present: Basis
    ) -> tuple[str, ...]:
        """The shard as planned, and the spare where it was."""
        found = action_differences(plan, action, token, placement, present)
        part = spare_part(action)
        owner = placement.owners.get(part.shard) if part is not None else None
        if part is not None and (owner is None or owner.host != part.destination):
            return (*found, f"shard {part.shard}: was on {part.destination}, is {owner.host if owner else 'idle'}")
        return found

    def way_back(self, action: Action, token: int, number: int) -> Action | None:
        """The keys are split off again."""
        part = spare_part(action)
        return None if part is None else replace(
            back(action, token, number), kind="split", source=action.source, destination=part.destination,
            parts=action.parts, undo=scrub(f"merge {action.shard} again"),
        )  # fmt: skip

    def committed(self, action: Action) -> str:
        """One serves."""
        return f"{action.shard} on {action.source} has all the keys"


def spare_part(action: Action) -> Part | None:
    """The part of the spare: the one that is not the shard itself."""
    return next((part for part in action.parts if part.shard != action.shard), None)


def kept_keys(action: Action) -> Keys | None:
    """What the shard keeps of its keys after a split, or had before a merge, as its own part says."""
    return next((part.keys for part in action.parts if part.shard == action.shard), None)


def whole_keys(action: Action) -> Keys:
    """What the shard has of keys while the spare has none."""
    ranges = [part.keys for part in action.parts if part.keys is not None]
    return min(lo for lo, _ in ranges), max(hi for _, hi in ranges)


def _move(work: Work) -> Move:
    return move_of(
        work.hands.fleet, work.plan, work.action, digest=work.digest, old_token=work.old_token, new_token=work.new_token
    )
