"""Doing the steps of ``preempt`` and ``place``: the two halves of a move, with the queue between them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from sidestep.autopilot.queue import parked
from sidestep.autopilot.steps import MoveHands
from sidestep.backends.base import Backend, Move, StepResult
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError, SidestepError
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import StepName

#: notes of ``capture`` and ``prepare``: where the capsule is kept, and on which host
PARKED: Final = "parked"
PARKED_ON: Final = "parked_on"
#: steps of a place that are about a capsule
_CARRIED: Final = frozenset({StepName.TRANSFER, StepName.RESTORE, StepName.VERIFY})


@dataclass(kw_only=True)
class PreemptHands(MoveHands):
    """A shard stops and leaves its capsule on its host. ``move.destination`` is the source: nothing goes elsewhere.

    The capsule is copied to where no later move removes it before the commit is asked for.
    """

    async def do(self, step: StepName, notes: dict[str, str], deadline: float) -> StepResult:
        """Do one step (all but commit). Raises SidestepError."""
        result = await super().do(step, notes, deadline)
        if step is not StepName.CAPTURE:
            return result
        capsule = result.notes.get("source_capsule", "")
        if not capsule:
            raise HostError(self.source.host, step, f"backend {self.backend.name} has not said where the capsule is")
        kept = parked.name_of(capsule, self.move.new_token)
        await parked.keep(self.source, capsule, kept)
        return replace(result, notes={**result.notes, PARKED: kept})

    def commit(self) -> None:
        """The shard waits in the queue from now on. Raises PlacementConflict, JournalError."""
        self.journal.commit_preempt(
            digest=self.digest,
            action=self.action,
            shard=self.move.shard.name,
            source=self.move.source,
            expected_token=self.move.old_token,
        )

    async def undo(self, step: StepName, notes: dict[str, str]) -> None:
        """Take one step back: the shard serves again, and nothing is kept."""
        await super().undo(step, notes)
        if step is StepName.CAPTURE and notes.get(PARKED):
            await parked.drop(self.source, notes[PARKED])


@dataclass(kw_only=True)
class PlaceHands(MoveHands):
    """A shard of the queue gets a host, and its capsule if it has one. ``move.source`` is "".

    ``first`` is what the queue knows of its capsule; once ``prepare`` is journaled its notes say it. Requests are
    never held: whoever waits is not in the routing table.
    """

    first: dict[str, str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._held = False
        known = {**self.first, **self.journal.notes(self.digest, self.action)}
        self._capsule_host = known.get(PARKED_ON, "")
        if self._capsule_host:
            with suppress(SidestepError, KeyError):  # past the commit it is not needed any more
                self.source = self.hands.transport_for(self._capsule_host)

    async def connect_source(self) -> None:
        """Nobody has to serve first when a place is taken back."""

    async def do(self, step: StepName, notes: dict[str, str], deadline: float) -> StepResult:
        """Do one step (all but commit). Raises SidestepError."""
        if step is StepName.PREPARE:
            made = await super().do(step, notes, deadline)
            return replace(made, notes={**made.notes, **self.first})
        if step in _CARRIED and not notes.get(PARKED):
            return StepResult(detail=Label("it never ran: nothing is to come"))
        if step is StepName.TRANSFER:
            notes = {**notes, "source_capsule": notes[PARKED]}
        if step is StepName.RESUME:
            return await bring_up(self.backend, self.move, self.destination, notes)
        if step is StepName.TRANSFER:
            return await self._transfer(notes, deadline)
        result = await super().do(step, notes, deadline)
        if step is StepName.OBSERVE:
            left = await self._tidy(notes)
            return replace(result, detail=scrub("; ".join(filter(None, (str(result.detail), left))), 400))
        return result

    def commit(self) -> None:
        """The shard belongs to the destination from now on. Raises PlacementConflict, JournalError."""
        self.journal.commit_place(
            digest=self.digest,
            action=self.action,
            shard=self.move.shard.name,
            to=self.move.destination,
            expected_token=self.move.old_token,
        )

    async def _transfer(self, notes: dict[str, str], deadline: float) -> StepResult:
        """From the host that it was left on, or, if that cannot give it, from a copy of the same capsule."""
        capsules, shard = self.hands.capsules, self.move.shard
        ref = capsules.newest(shard.name) if capsules is not None and shard.replicas else None
        if capsules is None or ref is None or ref.digest != notes.get("digest"):
            return await super().do(StepName.TRANSFER, notes, deadline)
        trouble = "is not connected"
        if getattr(self.source, "connected", False):
            try:
                return await super().do(StepName.TRANSFER, notes, deadline)
            except HostError as error:
                trouble = str(error.args[0])
        path = notes.get("destination_capsule", "")
        if not path:
            raise HostError(self.destination.host, StepName.TRANSFER, "prepare noted no place")
        way = await capsules.bring(ref, self.destination, path)
        said = f"sha256 {ref.digest[:12]}, capsule {ref.seq}, {way}, since {self._capsule_host}: {trouble}"
        return StepResult(detail=scrub(said, 400), bytes=ref.bytes)

    async def _tidy(self, notes: dict[str, str]) -> str:
        """Remove what is of no use any more, and fence the host that the shard left; why not, if that is away.

        On the new owner itself a release ends nothing: it has the newest token.
        """
        left = replace(self.move, source=Label(self._capsule_host) or self.move.destination)
        try:
            await self.backend.step(StepName.RELEASE, left, self.source, self.destination, notes)
            if notes.get(PARKED):
                await parked.drop(self.source, notes[PARKED])
        except HostError as error:
            return f"something of it stays on {left.source}: {error.args[0]}"
        return ""

    async def _release(self) -> None:
        """Nothing was held."""


async def bring_up(backend: Backend, move: Move, destination: Transport, notes: dict[str, str]) -> StepResult:
    """Let a shard serve that was placed: from its capsule, or with an empty state at the port that was found free."""
    if notes.get(PARKED):
        return await backend.step(StepName.RESUME, move, destination, destination, notes)
    shard = replace(move.shard, port=int(notes.get("port", move.shard.port)))
    seen = await backend.start(destination, shard, move.new_token, move.destination_address)
    said = {"pid": str(seen.pid), "started": str(seen.started), "port": str(seen.port), "address": seen.address}
    return StepResult(detail=scrub(f"pid {seen.pid} serves on port {seen.port}"), notes=said)
