"""Moving shards between hosts, in the steps of the backend contract, by shell operations over SSH.

Three drivers. ``hook``: the app saves and loads its own state; its process at the destination
is started by restore, filled, compared, and held stopped until resume. ``restart``: the
state is the folder ``STATE``; the process at the destination is started by resume, and must
be able to start from files as a crash would leave them (``quiesce``, if given, may flush). ``criu``: the processes
themselves go, with their memory and the folder; restore brings them back stopped, and resume lets them go on.
From capture on the source is stopped, so no shard is served twice. What holds a shard's processes together
is the backend's: a process group, which a process may leave, or a systemd unit, which none leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from sidestep.backends.base import Capability, Move, ShardObservation, StepResult
from sidestep.backends.process.handing import ahead, hand_over
from sidestep.backends.process.operations import Notes, ShellOperations
from sidestep.backends.process.revive import started
from sidestep.backends.process.scripts import perform
from sidestep.backends.process.words import check_names, observed
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.direct import transfer
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import MOVE_STEPS, StepName

_UNDOABLE: Final = MOVE_STEPS[: MOVE_STEPS.index(StepName.COMMIT)]
#: steps after which the source may not serve
_FREEZING: Final = MOVE_STEPS[MOVE_STEPS.index(StepName.FREEZE) : MOVE_STEPS.index(StepName.COMMIT)]
#: steps that leave something at the destination
_CARRYING: Final = frozenset({StepName.PREPARE, StepName.TRANSFER, StepName.RESTORE, StepName.VERIFY})
#: steps after which a copy may run at the destination
_COPYING: Final = frozenset({StepName.RESTORE, StepName.VERIFY})

#: bytes of state from which on files are carried before the shard stands still
SEEDED: Final = 1 << 20

Step = Callable[[Move, Transport, Transport, Notes], Awaitable[StepResult]]


class ShellMoves(ShellOperations):
    """Implements ``Backend``, ``Replicator`` and ``Reviver`` for the shards of one fleet, but for their name.

    ``patience`` is how long (s) a starting shard may take until its commands succeed;
    ``timeout`` bounds one operation on a host (s), ``carry`` the transfer of a capsule (s).
    """

    name: str
    capabilities: frozenset[Capability]

    def __init__(self, fleet: str, *, patience: float = 10.0, timeout: float = 60.0, carry: float = 3600.0) -> None:
        super().__init__(fleet, patience=patience, timeout=timeout, carry=carry)
        self._steps: dict[StepName, Step] = {
            StepName.PREPARE: self._prepare,
            StepName.PRECOPY: self._precopy,
            StepName.FREEZE: self._freeze,
            StepName.CAPTURE: self._capture,
            StepName.TRANSFER: self._transfer,
            StepName.RESTORE: self._restore,
            StepName.VERIFY: self._verify,
            StepName.RESUME: self._resume,
            StepName.OBSERVE: self._observe,
            StepName.RELEASE: self._release,
        }

    async def discover(self, transport: Transport) -> tuple[ShardObservation, ...]:
        """Every shard of this fleet on that host, running, frozen or dead."""
        check_names(transport, "discover", self._fleet)
        values: dict[str, str | int] = {"fleet": self._fleet, "shard": "", **self._holder(None)}
        said = await perform(transport, "discover", "discover", values, timeout=self._timeout)
        return tuple(observed(transport, value) for key, value in said if key == "shard")

    async def start(self, transport: Transport, shard: ShardSpec, token: int, address: str) -> ShardObservation:
        """Start a shard that runs nowhere, and serve. Refused if the host was fenced with a newer token."""
        lease = await self._lease(transport, shard)
        values = self._values(transport, "start", shard, token=token, port=shard.port, address=address, **lease)
        said = dict(await perform(transport, "start", "start", values, timeout=self._timeout))
        return started(transport, shard, said)

    async def stop(self, transport: Transport, shard: ShardSpec, token: int) -> None:
        """Stop the shard if it holds ``token`` or an older one; fence the host at ``token``."""
        await self._stop(transport, shard, token, bar=0)

    async def bar(self, transport: Transport, shard: ShardSpec, token: int) -> None:
        """The same, and whatever was sent there before to start the shard comes too late."""
        await self._stop(transport, shard, token, bar=1)

    async def step(
        self, name: StepName, move: Move, source: Transport, destination: Transport, notes: dict[str, str]
    ) -> StepResult:
        """Do one step. ``notes`` holds what earlier steps of this move noted. Raises HostError."""
        doing = self._steps.get(StepName(name))
        if doing is None:
            raise HostError(destination.host, name, "is the executor's step, not a backend's")
        return await doing(move, source, destination, notes)

    async def abort(
        self, name: StepName, move: Move, source: Transport, destination: Transport, notes: dict[str, str]
    ) -> None:
        """Take one step back, before the commit point; harmless if the step never ran.

        Leaves the source serving, before anything else and even if its process has died: the destination
        is waited for afterwards, and for half a step's deadline. One that does not answer is HostUnreachable:
        the same is done when it does.
        """
        if name not in _UNDOABLE:
            raise HostError(source.host, name, "is behind the commit point: there is only forward")
        trouble: HostError | None = None
        self._stands.end(move.key)
        try:
            if name in _FREEZING and move.source:
                await self._thaw(name, move, source, notes)
        except HostError as error:
            trouble = error
        try:
            if name == StepName.PRECOPY:
                await self._clean(source, name, "tidy", move)
            if name in _CARRYING:
                await self._clean(destination, name, "discard", move, token=move.new_token)
        except HostUnreachable as error:
            waits = name in _COPYING or (move.source != move.destination and error.host == destination.host)
            trouble = trouble or (error if waits else None)
        except HostError as error:
            trouble = trouble or error
        if trouble is not None:
            raise trouble

    # -- steps

    async def _prepare(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        found, wanted = {"port": str(move.shard.port)}, ""
        if move.source:
            values = self._of_move(source, "prepare", move, token=move.old_token)
            told = await perform(source, "prepare", "source_prepare", values, timeout=self._timeout)
            found, wanted = dict(told), "\n".join(value for key, value in told if key == "want")
        made = await self._at(
            destination,
            "prepare",
            "prepare",
            move,
            token=move.new_token,
            port=int(found["port"]),
            address=move.destination_address,
            wanted=wanted,
        )
        changed = "" if made["port"] == found["port"] else f" instead of {found['port']}, which is taken there"
        facts = {
            "port": made["port"],
            "address": move.destination_address,
            "destination_capsule": made["capsule"],
        }
        return StepResult(detail=scrub(f"port {made['port']}{changed}"), notes=facts)

    async def _precopy(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        found = await self._at(source, "precopy", "precopy", move, token=move.old_token)
        # Before users wait for what could not be carried in time.
        if self.pace is not None and (refusal := self.pace.refusal(int(found["bytes"]), move.deadline)):
            raise HostError(source.host, "precopy", refusal)
        seeded = await self._seed(move, source, destination, notes, int(found["bytes"]))
        if move.source != move.destination and self._holder(move.shard)["units"]:
            with suppress(HostError):  # its unit is started by resume, then
                await self._at(destination, "precopy", "warm", move, token=move.new_token)
        await self._stand("precopy", move, source, destination)
        facts = {"expected": found["bytes"], **({"seeded": "yes"} if seeded.endswith("before") else {})}
        return StepResult(detail=scrub(f"{found['bytes']} bytes of state{seeded}"), notes=facts, bytes=0)

    async def _seed(self, move: Move, source: Transport, destination: Transport, notes: Notes, size: int) -> str:
        """Carry the files of a shard while it serves, so that only what changes has to wait; what was done, in words.

        Nothing depends on it: where it cannot be done, or not in time, everything is carried later.
        """
        if move.shard.driver != "restart" or size < SEEDED or not move.source or move.source == move.destination:
            return ""
        try:
            async with asyncio.timeout(move.deadline * 0.8):
                made = await self._at(source, "precopy", "seed", move, token=move.old_token)
                if "capsule" not in made:
                    return ""
                there = f"{_need(destination, 'precopy', notes, 'destination_capsule')}.seed"
                carried = await transfer(
                    source, made["capsule"], destination, there, timeout=self._carry, size=int(made["bytes"]),
                    pace=self.pace, within=move.deadline,
                )  # fmt: skip
                if carried.digest != made["digest"]:
                    return "; not carried before: other bytes arrived"
                planted = await self._at(
                    destination, "precopy", "plant", move, token=move.new_token, digest=carried.digest
                )
        except (TimeoutError, HostError) as error:
            return f"; not carried before: {str(error) or 'not in time'}"
        return f"; {made['bytes']} bytes carried before" if planted.get("planted") == "yes" else ""

    async def _freeze(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        if seeded := notes.get("seeded", ""):  # else capturing takes its time, or is not ours
            shell = self._stands.of(move.key, source.host)
            values = self._of_move(source, "freeze", move, token=move.old_token, seeded=seeded)
            names = ("freeze", "capture") if self._paced else ("freeze", "capture", "lift")
            await ahead(source, shell, "freeze", dict.fromkeys(names, values), self._timeout)
        found = await self._at(source, "freeze", "freeze", move, token=move.old_token)
        return StepResult(detail=scrub(found["how"] or "no quiesce command: relies on the router holding requests"))

    async def _capture(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        seeded = notes.get("seeded", "")
        found = await self._at(source, "capture", "capture", move, token=move.old_token, seeded=seeded)
        facts = {"digest": found["digest"], "source_capsule": found["capsule"], "bytes": found["bytes"]}
        facts |= {key: found[key] for key in ("files", "grows") if key in found}
        return StepResult(
            detail=scrub(f"{found['bytes']} bytes, sha256 {found['digest'][:12]}"),
            notes=facts,
            bytes=int(found["bytes"]),
        )

    async def _transfer(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        here = _need(source, "transfer", notes, "source_capsule")
        there = _need(destination, "transfer", notes, "destination_capsule")
        expected = _need(source, "transfer", notes, "digest")
        size = int(notes["bytes"]) if "bytes" in notes else None
        if await self._hand_over(move, source, destination, notes, size):
            return StepResult(detail=scrub(f"sha256 {expected[:12]} arrived through the controller"))
        carried = await transfer(
            source, here, destination, there, timeout=self._carry, size=size, pace=self.pace, within=move.deadline
        )
        if carried.digest != expected:
            raise HostError(
                destination.host, "transfer", f"carried bytes have sha256 {carried.digest}, captured were {expected}"
            )
        way = "from host to host" if carried.way == "direct" else "through the controller"
        why = f" ({carried.reason})" if carried.reason else ""
        return StepResult(detail=scrub(f"sha256 {carried.digest[:12]} arrived {way}{why}"))

    async def _hand_over(
        self, move: Move, source: Transport, destination: Transport, notes: Notes, size: int | None
    ) -> bool:
        """Whether the capsule, if it is small, went between the shells that stand ready.

        No process runs at the destination before the commit where the state is files, so those are put in place and
        looked at as soon as they are there.
        """
        if not move.source or self._paced:
            return False
        ends = [self._stands.of(move.key, end.host) for end in (source, destination)]
        here = self._of_move(source, "transfer", move, token=move.old_token)
        there = self._of_move(destination, "transfer", move, token=move.new_token)
        stages = {"land": there}
        if notes.get("grows"):
            stages |= {"restore": {**there, **_restoring(move, notes)}, "verify": {**there, "files": notes["files"]}}
        return await hand_over(
            source, ends[0], destination, ends[1], (here, stages), size, notes["digest"], timeout=self._timeout
        )

    async def _restore(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        if _anew(move, notes):
            await self._at(destination, "restore", "empty", move, token=move.new_token)
            return StepResult(detail=Label("no capsule: begins with nothing"))
        _need(destination, "restore", notes, "digest")
        how = {**_restoring(move, notes), **await self._lease(destination, move.shard)}
        found = await self._at(destination, "restore", "restore", move, token=move.new_token, **how)
        if move.shard.driver != "restart":
            return StepResult(detail=scrub(f"pid {found['pid']}, not serving"), notes=_process(found))
        return StepResult(detail=Label("state in place, not started"))

    async def _verify(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        kind = "digest" if move.shard.driver == "hook" else "files"
        if not move.source and kind not in notes:
            return StepResult(detail=Label("nothing to compare with but the capsule's digest, which restore did"))
        expected = _need(destination, "verify", notes, kind)
        await self._at(destination, "verify", "verify", move, token=move.new_token, **{kind: expected})
        return StepResult(detail=scrub(f"sha256 {expected[:12]} on both hosts"))

    async def _resume(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        lease = await self._lease(destination, move.shard)
        if _anew(move, notes):
            lease = {**lease, "port": int(notes.get("port", "0")), "address": move.destination_address}
        how = "start" if _anew(move, notes) else "resume"
        found = await self._at(destination, "resume", how, move, token=move.new_token, **lease)
        self._stands.end(move.key)
        return StepResult(detail=scrub(f"pid {found['pid']} serves on port {found['port']}"), notes=_process(found))

    async def _observe(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        seconds = max(0, round(move.observe))
        await self._at(destination, "observe", "observe", move, token=move.new_token, seconds=seconds)
        if not move.source:  # whose release would do it
            await self._at(destination, "observe", "tidy", move)
        return StepResult(detail=scrub(f"alive and ready for {seconds} s"))

    async def _release(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        await self._at(source, "release", "release", move, token=move.new_token)
        await self._at(destination, "release", "tidy", move)
        return StepResult(detail=scrub(f"{source.host} fenced at {move.new_token}"))


def _anew(move: Move, notes: Notes) -> bool:
    """Whether the shard comes from nowhere and brings nothing."""
    return not move.source and "digest" not in notes


def _restoring(move: Move, notes: Notes) -> dict[str, str | int]:
    """What restoring is told; where files are compared afterwards, that brings them to the disk, too."""
    return {
        "digest": notes["digest"],
        "grows": notes.get("grows", ""),
        "stays": "yes" if move.source == move.destination else "",
        "compared": notes.get("files", ""),
    }


def _need(transport: Transport, step: str, notes: Notes, key: str) -> str:
    try:
        return notes[key]
    except KeyError:
        raise HostError(transport.host, step, f"an earlier step has not noted {key}") from None


def _process(said: Notes) -> Notes:
    return {key: said[key] for key in ("pid", "started", "port", "address")}
