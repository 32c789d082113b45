"""``apply`` and ``lift`` as kinds of actions: what has to hold before they begin, and what is said of them."""

from __future__ import annotations

from msgspec.structs import replace

from sidestep.autopilot.actions.hands import ApplyHands
from sidestep.autopilot.executor_kind import ActionHands, Kind, Work
from sidestep.autopilot.steps import Hands, move_of
from sidestep.autopilot.undo import back
from sidestep.backends.base import Actor
from sidestep.fleet.extensions import ACTIONS, names
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import scrub
from sidestep.fleet.machines import StepName
from sidestep.fleet.plans import Action


def unknown(fleet: FleetSpec, action: Action) -> str:
    """Why an action of a plugin may not be begun as the fleet is declared now, or nothing.

    What takes one back needs neither its plugin nor its declaration.
    """
    one = action.applied
    if one is None:
        return f"action {action.id} does not say what is to be done to {action.shard}"
    if action.kind == "lift":
        return ""
    said = ""
    spec = next((spec for spec in fleet.actions if spec.name == one.name), None)
    apps = {shard.name: shard.app for shard in fleet.shards}
    if spec is None:
        said = f"no action {one.name} is declared in {fleet.source}"
    elif (spec.plugin, spec.params) != (one.plugin, one.params):
        said = f"action {one.name} is declared otherwise in {fleet.source} now: its plugin or its params have changed"
    elif not spec.covers(action.shard, apps.get(action.shard, "")):
        said = f"action {one.name} is not declared for {action.shard}"
    elif one.plugin not in names(ACTIONS):
        said = f"no plugin for actions is called {one.plugin} here any more"
    return said


class ApplyKind(Kind):
    """What a plugin offers is done to a shard where it is."""

    #: it serves all the time
    holds: StepName | None = None
    keeps_token = True
    lift = False

    def hands(self, work: Work) -> ActionHands:
        """Hands that touch the shard's own host only. Raises KeyError for what is not declared."""
        one = work.action.applied
        if one is None:
            raise KeyError(f"action {work.action.id}")
        here, token = replace(work.action, destination=work.action.source), work.old_token
        move = move_of(work.hands.fleet, work.plan, here, digest=work.digest, old_token=token, new_token=token)
        return ApplyHands(
            hands=work.hands, move=move, journal=work.journal, digest=work.digest, action=work.action.id,
            applied=one, lift=self.lift,
        )  # fmt: skip

    def lacks(self, hands: Hands, action: Action) -> str:
        """It has to be known here, and the shard's backend has to be able to."""
        if why := unknown(hands.fleet, action):
            return why
        shard = next((one for one in hands.fleet.shards if one.name == action.shard), None)
        if shard is None:
            return f"{action.shard} is not declared any more"
        if not isinstance(hands.backend_for(shard), Actor):
            return f"backend {shard.backend} runs no actions of plugins: do it to {action.shard} by hand"
        return ""

    def way_back(self, action: Action, token: int, number: int) -> Action | None:
        """The other of the two; ``token`` is the owner's, which it keeps."""
        name = action.applied.name if action.applied is not None else ""
        again = f"take {name} back from {action.shard}" if self.lift else f"do {name} to {action.shard} again"
        return replace(back(action, token, number), kind="apply" if self.lift else "lift", undo=scrub(again))

    def untouched(self, action: Action) -> str:
        """Nothing was done."""
        return f"{action.shard} is as it was"

    def restored(self, action: Action) -> str:
        """All was taken back."""
        return f"{action.shard} is as it was before"

    def committed(self, action: Action) -> str:
        """It is done."""
        return f"{_name(action)} is {'no longer ' if self.lift else ''}in force on {action.shard}"

    def half_way(self, action: Action, *, held: bool) -> str:
        """It serves; what was done to it has to be looked at."""
        one = action.applied
        by_hand = "" if one is None else f": its {'execute' if self.lift else 'revert'} is in the plan"
        return f"{action.shard} serves on {action.source}, perhaps with {_name(action)} in force. Look there{by_hand}"


class LiftKind(ApplyKind):
    """What was done to a shard is taken back."""

    lift = True


def _name(action: Action) -> str:
    return str(action.applied.name) if action.applied is not None else "an action"
