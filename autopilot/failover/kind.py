"""Failover as a kind of action: what has to hold before it begins, and what is said of it."""

from __future__ import annotations

from msgspec.structs import replace

from sidestep.autopilot.executor_kind import ActionHands, Kind, Work
from sidestep.autopilot.failover.hands import FailoverHands
from sidestep.autopilot.steps import Hands, move_of
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.machines import StepName
from sidestep.fleet.plans import Action


class FailoverKind(Kind):
    """A shard comes back elsewhere because its host is lost.

    As with a move the basis has to hold, and so the host has to be DEAD still.
    """

    #: nothing is frozen; requests are held from here on
    holds = StepName.FENCE

    def hands(self, work: Work) -> ActionHands:
        """Hands that ask nothing of the lost host. Raises KeyError for what is not declared, SidestepError."""
        hands, action = work.hands, work.action
        if hands.fencer is None or hands.rescue is None:
            raise SidestepError("nobody here can fence a lost host")
        move = move_of(
            hands.fleet, work.plan, action, digest=work.digest, old_token=work.old_token, new_token=work.new_token
        )
        found = work.journal.endpoint(action.shard)
        port = found[1] if found else move.shard.port
        return FailoverHands(
            hands=hands,
            move=replace(move, shard=replace(move.shard, port=port)),
            journal=work.journal,
            digest=work.digest,
            action=action.id,
            lost=action.source,
            fencer=hands.fencer,
            rescue=hands.rescue,
        )

    def lacks(self, hands: Hands, action: Action) -> str:
        """Why it may not begin: nobody can fence, the host is back, or too many are gone."""
        if hands.fencer is None or hands.rescue is None:
            return "nobody here can fence a lost host: start the shard by hand once it is surely off"
        return hands.rescue.forbids(action.source, action.shard)

    def untouched(self, action: Action) -> str:
        """It waits for its host."""
        return f"{action.shard} waits for {action.source}"

    def restored(self, action: Action) -> str:
        """It waits for its host, as before."""
        return f"{action.shard} waits for {action.source}, as before"

    def half_way(self, action: Action, *, held: bool) -> str:
        """Nobody serves it."""
        requests = "its requests wait at the router" if held else "its requests fail"
        return (
            f"{action.shard} still belongs to {action.source}, which is lost; {requests}."
            f" Put {action.destination} right, or bring {action.source} back"
        )
