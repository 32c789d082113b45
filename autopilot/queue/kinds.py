"""``preempt`` and ``place`` as kinds of actions: what has to hold before they begin, and what is said of them."""

from __future__ import annotations

from msgspec.structs import replace

from sidestep.autopilot.approval import action_differences
from sidestep.autopilot.executor_kind import ActionHands, Kind, Work
from sidestep.autopilot.queue.hands import PARKED, PARKED_ON, PlaceHands, PreemptHands
from sidestep.autopilot.steps import Hands, move_of
from sidestep.autopilot.undo import back
from sidestep.backends.base import Move
from sidestep.fleet.labels import scrub
from sidestep.fleet.machines import StepName
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Action, Basis, Plan


class PreemptKind(Kind):
    """A shard gives way: it stops, its capsule stays on its host, and it waits in the queue."""

    def hands(self, work: Work) -> ActionHands:
        """Hands that touch the source only. Raises KeyError for what is not declared."""
        here = replace(work.action, destination=work.action.source)
        return PreemptHands(
            hands=work.hands, move=_move(work, here), journal=work.journal, digest=work.digest, action=work.action.id
        )

    def lacks(self, hands: Hands, action: Action) -> str:
        """A shard that the router sends keys to does not give way: they would have nowhere to go."""
        keyed = any(shard.name == action.shard and shard.keys is not None for shard in hands.fleet.shards)
        return f"{action.shard} has keys, and the router must have somebody to send them to" if keyed else ""

    def way_back(self, action: Action, token: int, number: int) -> Action | None:
        """It is placed where it was."""
        return replace(
            back(action, token, number),
            kind="place",
            limits=None,
            undo=scrub(f"take {action.shard} off {action.source} again: it waits in the queue then"),
        )

    def committed(self, action: Action) -> str:
        """It waits."""
        return f"{action.shard} waits in the queue, its state is on {action.source},"


class PlaceKind(Kind):
    """A shard of the queue gets a host."""

    holds: StepName | None = None

    def hands(self, work: Work) -> ActionHands:
        """Hands that bring the capsule, if there is one. Raises KeyError for what is not declared."""
        one, first = work.journal.waiting(work.action.shard), dict[str, str]()
        if one is not None and one.path:
            first = {PARKED: one.path, PARKED_ON: str(one.host), "digest": one.digest, "files": one.files}
        return PlaceHands(
            hands=work.hands,
            move=_move(work, work.action),
            journal=work.journal,
            digest=work.digest,
            action=work.action.id,
            first=first,
        )

    def differences(
        self, plan: Plan, action: Action, token: int, placement: Placement, present: Basis
    ) -> tuple[str, ...]:
        """It has to wait still, under the same fence, and its host has to be as planned."""
        found = action_differences(plan, action, token, placement, present)[1:]
        if action.shard in placement.owners:
            return (f"shard {action.shard}: was in the queue, is on {placement.owners[action.shard].host}", *found)
        if placement.queued.get(action.shard) != token:
            return (f"shard {action.shard}: is not in the queue with token {token}", *found)
        return found

    def way_back(self, action: Action, token: int, number: int) -> Action | None:
        """It gives way again."""
        return replace(
            back(action, token, number),
            kind="preempt",
            undo=scrub(f"place {action.shard} again: it waits in the queue, with its state"),
        )

    def untouched(self, action: Action) -> str:
        """It waits on."""
        return f"{action.shard} stays in the queue"

    def restored(self, action: Action) -> str:
        """It waits on."""
        return f"{action.shard} stays in the queue, as before"

    def half_way(self, action: Action, *, held: bool) -> str:
        """Nobody serves it, as before."""
        return f"{action.shard} waits in the queue, as before. Put {action.destination} right: a copy may be left there"


def _move(work: Work, action: Action) -> Move:
    return move_of(
        work.hands.fleet, work.plan, action, digest=work.digest, old_token=work.old_token, new_token=work.new_token
    )
