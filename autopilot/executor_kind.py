"""What the executor needs to know of a kind of action: the hands that act, and how it differs from a move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sidestep.autopilot.approval import action_differences
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.steps import Hands, MoveHands, move_of
from sidestep.autopilot.undo import back
from sidestep.backends.base import StepResult
from sidestep.fleet.machines import StepName
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Action, Basis, Plan


class ActionHands(Protocol):
    """Does the steps of one action, and takes them back. Decides nothing."""

    @property
    def requests_held(self) -> bool:
        """Whether the router may be holding this shard's requests."""
        ...

    @property
    def freeze_ms(self) -> float | None:
        """How long requests were held, once they were let go; None if that is not known here."""
        ...

    def allowance(self, step: StepName) -> float:
        """Seconds that the step may take beyond the policy's deadline."""
        ...

    async def connect(self) -> None:
        """Connect the hosts that the action needs; one that refuses is reported by the step that needs it."""
        ...

    async def connect_source(self) -> None:
        """Connect the host that has to serve first when the action is taken back."""
        ...

    async def reach_destination(self) -> None:
        """Raise HostError unless whoever becomes the owner answers; asked last before the commit."""
        ...

    async def do(self, step: StepName, notes: dict[str, str], deadline: float) -> StepResult:
        """Do one step (all but commit). Idempotent. Raises SidestepError."""
        ...

    def commit(self) -> None:
        """The commit point: one transaction of the journal. Raises PlacementConflict, JournalError."""
        ...

    async def undo(self, step: StepName, notes: dict[str, str]) -> None:
        """Take back one step before the commit. Idempotent. Raises SidestepError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Work:
    """One action that has begun: what it is, and the tokens of its shard before and after it."""

    hands: Hands
    journal: Journal
    plan: Plan
    digest: str
    action: Action
    old_token: int
    new_token: int


class Kind:
    """A kind of action; as it stands here it is ``migrate``."""

    #: the step that takes the shard out of service and holds its requests, which is taken back before any other
    holds: StepName | None = StepName.FREEZE

    #: whether the owner keeps its token: the one that the action was promised is not given to anybody
    keeps_token = False

    def hands(self, work: Work) -> ActionHands:
        """What does the action's steps. Raises KeyError for a shard or host that is not declared."""
        move = move_of(
            work.hands.fleet, work.plan, work.action,
            digest=work.digest, old_token=work.old_token, new_token=work.new_token,
        )  # fmt: skip
        return MoveHands(hands=work.hands, move=move, journal=work.journal, digest=work.digest, action=work.action.id)

    def differences(
        self, plan: Plan, action: Action, token: int, placement: Placement, present: Basis
    ) -> tuple[str, ...]:
        """What is no longer as planned; empty if it may begin."""
        return action_differences(plan, action, token, placement, present)

    def lacks(self, hands: Hands, action: Action) -> str:
        """What is missing here to run it at all, or nothing."""
        return ""

    def way_back(self, action: Action, token: int, number: int) -> Action | None:
        """The action that undoes it, of plan ``number``; ``token`` is what it gave the shard. None if nothing can."""
        return back(action, token, number)

    def untouched(self, action: Action) -> str:
        """Where its shard is if the action does not begin."""
        return f"{action.shard} stays on {action.source}"

    def restored(self, action: Action) -> str:
        """Where its shard is once the action is taken back."""
        return f"{action.shard} goes on on {action.source}"

    def committed(self, action: Action) -> str:
        """Where its shard is once the action is past its commit."""
        return f"{action.shard} belongs to {action.destination}"

    def half_way(self, action: Action, *, held: bool) -> str:
        """What is so, and to be done, when taking back failed; ``held``: its requests are, and it may be frozen."""
        users = (
            f"requests to {action.shard} are held and {action.source} may be frozen"
            if held
            else f"{action.source} owns {action.shard} and its requests flow"
        )
        return f"{users}. Put the host right, and the shard is brought up on {action.source}"
