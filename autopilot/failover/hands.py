"""Doing the steps of a failover: a move whose source is lost, so that nothing is asked of it or waited for there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from sidestep.autopilot.capsules.base import CapsuleRef
from sidestep.autopilot.failover.base import Rescue
from sidestep.autopilot.fencing.base import Fencer
from sidestep.autopilot.steps import MoveHands
from sidestep.backends.base import StepResult
from sidestep.fleet.errors import HostError, SidestepError
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import FAILOVER_STEPS, StepName

#: steps that begin only while the host is still lost
_ASKS: Final = FAILOVER_STEPS[: FAILOVER_STEPS.index(StepName.COMMIT)]
#: what the notes of ``prepare`` call the capsule that comes
_CAPSULE: Final = "capsule"
#: what the notes of ``fence`` call the seconds from the host's last sample until its owner was surely gone
_GONE: Final = "gone"
#: seconds that requests under way may take to end; those to a dead host end by their connection
_DRAIN: Final = 2.0


def chosen(notes: dict[str, str]) -> CapsuleRef | None:
    """The capsule that ``prepare`` chose; None if the shard begins with nothing."""
    text = notes.get(_CAPSULE, "")
    return msgspec.json.decode(text, type=CapsuleRef) if text else None


def _gone(notes: dict[str, str]) -> float | None:
    return float(notes[_GONE]) if _GONE in notes else None


@dataclass(kw_only=True)
class FailoverHands(MoveHands):
    """The hands for one failover. ``move.source`` is "", ``lost`` the host that had the shard.

    Taking back leaves the shard where it was, on the lost host, and lets its requests go: they fail, as they
    did before, until that host is back or another failover succeeds. What the fence has stopped there
    stays stopped: it is started again by whoever settles that host when it is back.
    """

    lost: Label
    fencer: Fencer
    rescue: Rescue

    def allowance(self, step: StepName) -> float:
        """The rest of a lease may have to run out."""
        return self.fencer.remaining(self.lost) if step is StepName.FENCE else super().allowance(step)

    async def connect(self) -> None:
        """Connect the destination."""
        self._refused.clear()
        await self._connect(self.destination)

    async def connect_source(self) -> None:
        """Nobody has to serve first when a failover is taken back."""

    async def do(self, step: StepName, notes: dict[str, str], deadline: float) -> StepResult:
        """Do one step (all but commit). Raises SidestepError, also once the host is no longer lost."""
        if step in _ASKS:
            self._still_lost()
        match step:
            case StepName.PREPARE:
                return await self._prepare(notes, deadline)
            case StepName.FENCE:
                return await self._fence()
            case StepName.TRANSFER:
                return await self._transfer(notes)
            case StepName.RESUME:
                result = await super().do(step, notes, deadline)
                said = self.rescue.served(self.lost, self.move.shard, chosen(notes), _gone(notes))
                return msgspec.structs.replace(result, detail=scrub(f"{result.detail}; {said}", 400))
        return await super().do(step, notes, deadline)

    async def reach_destination(self) -> None:
        """Raise SidestepError unless the destination answers and the host is still lost."""
        await super().reach_destination()
        self._still_lost()

    async def undo(self, step: StepName, notes: dict[str, str]) -> None:
        """Take one step back."""
        if step is StepName.FENCE:
            self.fencer.release(self.lost)
            await self._release()
        else:
            await super().undo(step, notes)

    def _still_lost(self) -> None:
        if why := self.rescue.forbids(self.lost, self.move.shard.name):
            raise SidestepError(f"{self.lost}: {why}")

    async def _prepare(self, notes: dict[str, str], deadline: float) -> StepResult:
        """Choose the capsule, and make room for it."""
        shard, capsules, ref = self.move.shard, self.hands.capsules, chosen(notes)
        if shard.failover == "capsule" and ref is None:
            ref = capsules.newest(shard.name) if capsules is not None else None
            if ref is None:
                raise SidestepError(f"{shard.name} has no complete capsule: it waits for {self.lost}")
        made = await super().do(StepName.PREPARE, notes, deadline)
        known = {_CAPSULE: msgspec.json.encode(ref).decode()} if ref is not None else {}
        return msgspec.structs.replace(made, notes={**made.notes, **known})

    async def _fence(self) -> StepResult:
        """Hold the requests, and give up those the owner has; then wait for the proof that it is gone.

        From here on nothing an old owner says reaches anybody, even one that is started again by hand without a
        lease and would answer what it had queued.
        """
        held = ""
        self._hold_begins()
        if self._router is not None:
            try:
                await self._router.hold(self.move.shard.name, _DRAIN, firm=True)
            except SidestepError as error:  # it has no such shard, or does not answer
                held = f"; requests are not held: {error.args[0]}"
        how = await self.fencer.fence(self.lost, self.move.shard, self.move.old_token)
        gone = self.rescue.unheard(self.lost) - self.fencer.gone(self.lost, self.move.shard)
        return StepResult(detail=scrub(f"{how}{held}", 400), notes={_GONE: f"{max(0.0, gone):.3f}"})

    async def _transfer(self, notes: dict[str, str]) -> StepResult:
        """Bring the capsule that was chosen."""
        ref, capsules = chosen(notes), self.hands.capsules
        if ref is None:
            return StepResult(detail=Label("no capsule is to come"))
        if capsules is None:
            raise SidestepError("nobody here keeps capsules")
        try:
            path = notes["destination_capsule"]
        except KeyError:
            raise HostError(self.destination.host, step="transfer", message="prepare noted no place") from None
        way = await capsules.bring(ref, self.destination, path)
        said = f"capsule {ref.seq}, sha256 {ref.digest[:12]}, {way}"
        return StepResult(detail=scrub(said, 400), notes={"digest": ref.digest}, bytes=ref.bytes)
