"""Doing the steps of ``apply`` and ``lift``: the commands of the plan itself, on the shard's own host.

No code of the plugin runs here, and it is not asked: it may be gone by now. ``lift`` is ``apply`` the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from sidestep.autopilot.steps import MoveHands
from sidestep.backends.base import Actor, Order, StepResult
from sidestep.fleet.actions import Applied
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.labels import scrub
from sidestep.fleet.machines import StepName

#: what ``verify`` ends with
IN_FORCE, NOT_IN_FORCE = 0, 1
_SAID: Final = {IN_FORCE: "it is in force", NOT_IN_FORCE: "it is not in force"}


@dataclass(kw_only=True)
class ApplyHands(MoveHands):
    """The shard stays where it is, under its token: ``move`` goes from its host to its host."""

    applied: Applied
    lift: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        self._held = False

    def allowance(self, step: StepName) -> float:
        """Seconds that the step may take beyond the policy's deadline."""
        return self.applied.seconds + (self.move.observe if step is StepName.VERIFY else 0.0)

    async def do(self, step: StepName, notes: dict[str, str], deadline: float) -> StepResult:
        """Do one step (all but commit). Idempotent where the commands are. Raises SidestepError."""
        try:
            if step is StepName.PREPARE:
                return await self._prepare()
            if step is StepName.APPLY:
                return await self._apply()
            if step is StepName.VERIFY:
                return await self._verify()
        except HostError as error:
            raise self._why(error) from error
        raise HostError(self.source.host, step, "is no step of an action of a plugin")

    async def _prepare(self) -> StepResult:
        """It can be done, and is not: what is in force already is somebody else's, and would be taken back with ours.

        What was in force may have ended by itself; then there is nothing to take back, which is no trouble.
        """
        status = await self._act("verify" if self.lift else "validate")
        if not self.lift and status != NOT_IN_FORCE:
            foreign = f"{self.applied.name} cannot be begun: it is in force, and nobody here did it"
            raise HostError(self.source.host, "prepare", foreign if status == IN_FORCE else _say(status))
        return StepResult(detail=scrub(_say(status) if self.lift else f"{self.applied.name} can be done"))

    async def _apply(self) -> StepResult:
        status = await self._act("do")
        if status != self._wanted:
            raise HostError(self.source.host, "apply", f"{self._did}, but {_say(status)}")
        return StepResult(detail=scrub(self._did))

    async def _verify(self) -> StepResult:
        """It is in force still, or still not, and the shard has been alive and ready with that for a while."""
        await self.backend.step(StepName.OBSERVE, self.move, self.source, self.source, {})
        status = await self._act("verify")
        if status != self._wanted:
            raise HostError(self.source.host, "verify", _say(status))
        return StepResult(detail=scrub(f"alive and ready, {_say(status)}"))

    def commit(self) -> None:
        """It is in force from now on, or no longer. Raises PlacementConflict, JournalError."""
        self.journal.commit_applied(
            digest=self.digest, action=self.action, shard=self.move.shard.name, applied=self.applied, lift=self.lift,
            expected_token=self.move.old_token,
        )  # fmt: skip
        self.freeze_ms = 0.0

    async def undo(self, step: StepName, notes: dict[str, str]) -> None:
        """Make it as it was; what comes too late of it does nothing any more. A dead shard has nothing in force."""
        if step is not StepName.APPLY:
            return
        try:
            status = await self._act("undo")
        except HostUnreachable as error:
            raise self._why(error) from error
        if status == self._wanted:
            raise HostError(self.source.host, "abort apply", f"it was undone, but {_say(status)}")

    @property
    def _wanted(self) -> int:
        return NOT_IN_FORCE if self.lift else IN_FORCE

    @property
    def _did(self) -> str:
        return f"{self.applied.name} was taken back" if self.lift else str(self.applied.says)

    async def _act(self, what: Literal["validate", "do", "verify", "undo"]) -> int | None:
        if not isinstance(self.backend, Actor):
            raise HostError(self.source.host, what, f"backend {self.backend.name} runs no actions of plugins")
        one = self.applied
        there, back = (one.revert, one.execute) if self.lift else (one.execute, one.revert)
        order = Order(
            key=self.move.key, name=one.name, what=what, verify=one.verify, seconds=one.seconds, lift=self.lift,
            command={"validate": one.validate, "do": there, "undo": back}.get(what, one.verify),
        )  # fmt: skip
        return await self.backend.act(self.source, self.move.shard, self.move.old_token, order)


def _say(status: int | None) -> str:
    unsure = f"its verify ended with status {status}: neither 0, in force, nor 1, not in force"
    return unsure if status is None else _SAID.get(status, unsure)
