"""Doing the steps of ``resize``: note what is so, change it, look whether it is so, and that the shard lives on."""

from __future__ import annotations

from dataclasses import dataclass

from sidestep.autopilot.resize.ledger import in_words, sizes_of
from sidestep.autopilot.steps import MoveHands
from sidestep.backends.base import Resizer, Sizes, StepResult
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.labels import scrub
from sidestep.fleet.machines import ShardState, StepName
from sidestep.fleet.plans import Limits

#: notes of ``prepare``: what the host said before anything was changed
_CPU, _MEMORY = "cpu_before", "memory_before"
_READ, _WRITE = "read_before", "write_before"


@dataclass(kw_only=True)
class ResizeHands(MoveHands):
    """The shard stays where it is, under its token: ``move`` goes from its host to its host."""

    limits: Limits

    def __post_init__(self) -> None:
        super().__post_init__()
        self._held = False

    @property
    def _resizer(self) -> Resizer:
        if not isinstance(self.backend, Resizer):
            raise HostError(self.source.host, "resize", f"backend {self.backend.name} cannot resize")
        return self.backend

    def allowance(self, step: StepName) -> float:
        """Seconds that the step may take beyond the policy's deadline."""
        return self.move.observe if step is StepName.VERIFY else 0.0

    async def do(self, step: StepName, notes: dict[str, str], deadline: float) -> StepResult:
        """Do one step (all but commit). Idempotent: what was so before is noted once. Raises SidestepError."""
        shard, token, wanted = self.move.shard, self.move.old_token, sizes_of(self.limits)
        try:
            if step is StepName.PREPARE:
                found = await self._resizer.sizes(self.source, shard, token)
                noted = {_CPU: repr(found.cpu), _MEMORY: str(found.memory)}
                noted |= {key: str(n) for key, n in ((_READ, found.read), (_WRITE, found.write)) if n is not None}
                return StepResult(detail=scrub(f"has {in_words(found)}"), notes=noted)
            if step is StepName.RESIZE:
                found = await self._resizer.resize(self.source, shard, token, wanted)
                return StepResult(detail=scrub(f"{in_words(found)}, says the host"))
            if step is StepName.VERIFY:
                return await self._verify(wanted)
        except HostError as error:
            raise self._why(error) from error
        raise HostError(self.source.host, step, "is no step of a resize")

    async def _verify(self, wanted: Sizes) -> StepResult:
        """The kernel has the new limits still, and the shard has been alive and ready with them for a while."""
        await self.backend.step(StepName.OBSERVE, self.move, self.source, self.source, {})
        found = await self._resizer.sizes(self.source, self.move.shard, self.move.old_token)
        same = wanted.read in (None, found.read) and wanted.write in (None, found.write)
        if not same or abs(found.cpu - wanted.cpu) > 0.002 or not -65536 < found.memory - wanted.memory <= 0:
            raise HostError(self.source.host, "verify", f"has {in_words(found)} instead of {in_words(wanted)}")
        return StepResult(detail=scrub(f"alive and ready with {in_words(found)}"))

    def commit(self) -> None:
        """It starts with these limits from now on. Raises PlacementConflict, JournalError."""
        self.journal.commit_resize(
            digest=self.digest,
            action=self.action,
            shard=self.move.shard,
            sizes=sizes_of(self.limits),
            expected_token=self.move.old_token,
        )
        self.freeze_ms = 0.0

    async def undo(self, step: StepName, notes: dict[str, str]) -> None:
        """Put the old limits back; a shard that runs no more starts with them anyhow."""
        if step is not StepName.RESIZE or _CPU not in notes:
            return
        read, write = (
            int(notes[key]) if touched is not None and key in notes else None
            for key, touched in ((_READ, sizes_of(self.limits).read), (_WRITE, sizes_of(self.limits).write))
        )
        before = Sizes(cpu=float(notes[_CPU]), memory=int(notes[_MEMORY]), read=read, write=write)
        try:
            await self._resizer.resize(self.source, self.move.shard, self.move.old_token, before)
        except HostUnreachable as error:
            raise self._why(error) from error
        except HostError:
            found = await self.backend.discover(self.source)
            if any(s.shard == self.move.shard.name and s.state is not ShardState.FAILED for s in found):
                raise
