"""Moving process groups between hosts, in the steps of the backend contract.

Two drivers. ``hook``: the app saves and loads its own state; its process at the destination
is started by restore, filled, compared, and held stopped until resume. ``restart``: the
state is the folder ``STATE``; the process at the destination is started by resume, and must
be able to start from files as a crash would leave them (``quiesce``, if given, may flush).
From capture on the source is stopped, so no shard is served twice. A shard is its process group:
a process that leaves the group is not stopped, moved or killed with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Final

from sidestep.backends.base import Capability, Move, ShardObservation, StepResult
from sidestep.backends.process.scripts import is_name, perform
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.direct import transfer
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import MOVE_STEPS, ShardState, StepName

_STATES: Final = {
    "running": ShardState.RUNNING,
    "frozen": ShardState.FROZEN,
    "dead": ShardState.FAILED,
    "damaged": ShardState.FAILED,
}
_UNDOABLE: Final = MOVE_STEPS[: MOVE_STEPS.index(StepName.COMMIT)]
#: steps after which the source may not serve
_FREEZING: Final = MOVE_STEPS[MOVE_STEPS.index(StepName.FREEZE) : MOVE_STEPS.index(StepName.COMMIT)]
#: steps that leave something at the destination
_CARRYING: Final = frozenset({StepName.PREPARE, StepName.TRANSFER, StepName.RESTORE, StepName.VERIFY})
#: steps after which a copy may run at the destination
_COPYING: Final = frozenset({StepName.RESTORE, StepName.VERIFY})
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.:%_-]{0,253}")

Notes = dict[str, str]
Step = Callable[[Move, Transport, Transport, Notes], Awaitable[StepResult]]


class ProcessBackend:
    """Implements ``Backend`` for the shards of one fleet.

    ``patience`` is how long (s) a starting shard may take until its commands succeed;
    ``timeout`` bounds one operation on a host (s), ``carry`` the transfer of a capsule (s).
    """

    name = "process"
    capabilities: frozenset[Capability] = frozenset({"discover", "observe", "migrate", "freeze"})

    def __init__(self, fleet: str, *, patience: float = 10.0, timeout: float = 60.0, carry: float = 3600.0) -> None:
        self._fleet, self._patience = fleet, max(1, round(patience))
        self._timeout, self._carry = timeout, carry
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
        self._check_names(transport, "discover", self._fleet)
        values: dict[str, str | int] = {"fleet": self._fleet, "shard": ""}
        said = await perform(transport, "discover", "discover", values, timeout=self._timeout)
        return tuple(self._observed(transport, value) for key, value in said if key == "shard")

    async def start(self, transport: Transport, shard: ShardSpec, token: int, address: str) -> ShardObservation:
        """Start a shard that runs nowhere, and serve. Refused if the host was fenced with a newer token."""
        values = self._values(transport, "start", shard, token=token, port=shard.port, address=address)
        said = dict(await perform(transport, "start", "start", values, timeout=self._timeout))
        return ShardObservation(
            shard=shard.name,
            host=scrub(transport.host),
            state=ShardState.RUNNING,
            token=int(said["token"]),
            pid=int(said["pid"]),
            started=int(said["started"]),
            address=said["address"],
            port=int(said["port"]),
        )

    async def stop(self, transport: Transport, shard: ShardSpec, token: int) -> None:
        """Stop the shard if it holds ``token`` or an older one; fence the host at ``token``."""
        values = self._values(transport, "stop", shard, token=token)
        await perform(transport, "stop", "stop", values, timeout=self._timeout)

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

        Leaves the source serving, before anything else: the destination is waited for afterwards,
        and for half a step's deadline. One that may hold a started copy and does not answer is
        HostUnreachable; scratch files there are no error: the next move to it removes them.
        """
        if name not in _UNDOABLE:
            raise HostError(source.host, name, "is behind the commit point: there is only forward")
        trouble: HostError | None = None
        try:
            if name in _FREEZING:
                await self._at(source, name, "thaw", move, token=move.old_token)
        except HostError as error:
            trouble = error
        try:
            if name == StepName.PRECOPY:
                await self._clean(source, name, "tidy", move)
            if name in _CARRYING:
                await self._clean(destination, name, "discard", move, token=move.new_token)
        except HostUnreachable as error:
            trouble = trouble or (error if name in _COPYING else None)
        except HostError as error:
            trouble = trouble or error
        if trouble is not None:
            raise trouble

    # -- steps

    async def _prepare(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        found = await self._at(source, "prepare", "source_prepare", move, token=move.old_token)
        made = await self._at(
            destination,
            "prepare",
            "prepare",
            move,
            token=move.new_token,
            port=int(found["port"]),
            address=move.destination_address,
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
        return StepResult(detail=scrub(f"{found['bytes']} bytes of state"), notes={"expected": found["bytes"]}, bytes=0)

    async def _freeze(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        found = await self._at(source, "freeze", "freeze", move, token=move.old_token)
        return StepResult(detail=scrub(found["how"] or "no quiesce command: relies on the router holding requests"))

    async def _capture(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        found = await self._at(source, "capture", "capture", move, token=move.old_token)
        facts = {"digest": found["digest"], "source_capsule": found["capsule"]}
        if "files" in found:
            facts["files"] = found["files"]
        return StepResult(
            detail=scrub(f"{found['bytes']} bytes, sha256 {found['digest'][:12]}"),
            notes=facts,
            bytes=int(found["bytes"]),
        )

    async def _transfer(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        here = _need(source, "transfer", notes, "source_capsule")
        there = _need(destination, "transfer", notes, "destination_capsule")
        expected = _need(source, "transfer", notes, "digest")
        carried = await transfer(source, here, destination, there, timeout=self._carry)
        if carried.digest != expected:
            raise HostError(
                destination.host, "transfer", f"carried bytes have sha256 {carried.digest}, captured were {expected}"
            )
        way = "from host to host" if carried.way == "direct" else "through the controller"
        why = f" ({carried.reason})" if carried.reason else ""
        return StepResult(detail=scrub(f"sha256 {carried.digest[:12]} arrived {way}{why}"))

    async def _restore(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        found = await self._at(
            destination,
            "restore",
            "restore",
            move,
            token=move.new_token,
            digest=_need(destination, "restore", notes, "digest"),
        )
        if move.shard.driver == "hook":
            return StepResult(detail=scrub(f"pid {found['pid']}, not serving"), notes=_process(found))
        return StepResult(detail=Label("state in place, not started"))

    async def _verify(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        kind = "digest" if move.shard.driver == "hook" else "files"
        expected = _need(destination, "verify", notes, kind)
        await self._at(destination, "verify", "verify", move, token=move.new_token, **{kind: expected})
        return StepResult(detail=scrub(f"sha256 {expected[:12]} on both hosts"))

    async def _resume(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        found = await self._at(destination, "resume", "resume", move, token=move.new_token)
        return StepResult(detail=scrub(f"pid {found['pid']} serves on port {found['port']}"), notes=_process(found))

    async def _observe(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        seconds = max(0, round(move.observe))
        await self._at(destination, "observe", "observe", move, token=move.new_token, seconds=seconds)
        return StepResult(detail=scrub(f"alive and ready for {seconds} s"))

    async def _release(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        await self._at(source, "release", "release", move, token=move.new_token)
        await self._at(destination, "release", "tidy", move)
        return StepResult(detail=scrub(f"{source.host} fenced at {move.new_token}"))

    # -- inside

    async def _clean(self, transport: Transport, step: str, operation: str, move: Move, **more: str | int) -> None:
        """An operation that nobody waits for. Raises HostUnreachable when it has not ended in time."""
        patience = move.deadline / 2
        try:
            async with asyncio.timeout(patience):
                await self._at(transport, step, operation, move, **more)
        except TimeoutError as error:
            raise HostUnreachable(
                transport.host, step, f"was not cleaned up within {patience:g} s", command=f"process/{operation}"
            ) from error

    async def _at(
        self, transport: Transport, step: str, operation: str, move: Move, **more: str | int
    ) -> dict[str, str]:
        key = move.key if is_name(move.key) else hashlib.sha256(move.key.encode()).hexdigest()
        values = self._values(transport, step, move.shard, key=key, **more)
        extra = int(more.get("seconds", 0))
        return dict(await perform(transport, step, operation, values, timeout=self._timeout + extra))

    def _values(self, transport: Transport, step: str, shard: ShardSpec, **more: str | int) -> dict[str, str | int]:
        self._check_names(transport, step, self._fleet, shard.name)
        if not _ADDRESS.fullmatch(str(more.get("address", ""))):
            raise HostError(transport.host, step, f"{more['address']!r} cannot be an address")
        if shard.driver == "hook" and not (shard.save and shard.load):
            raise HostError(transport.host, step, f"shard {shard.name} has driver hook, but no save and load commands")
        return {
            "fleet": self._fleet,
            "shard": shard.name,
            "driver": shard.driver,
            "cmd_start": shard.start,
            "cmd_save": shard.save,
            "cmd_load": shard.load,
            "cmd_quiesce": shard.quiesce,
            "cmd_resume": shard.resume,
            "cmd_ready": shard.ready,
            "patience": self._patience,
            **more,
        }

    @staticmethod
    def _check_names(transport: Transport, step: str, *names: str) -> None:
        for name in names:
            if not is_name(name):
                raise HostError(
                    transport.host,
                    step,
                    f"{name!r} cannot name a folder on a host",
                    hint="use letters, digits, dot, dash and underscore, at most 100",
                )

    @staticmethod
    def _observed(transport: Transport, line: str) -> ShardObservation:
        try:
            shard, state, pid, started, token, port, address = line.split(" ")
            return ShardObservation(
                shard=scrub(shard),
                host=scrub(transport.host),
                state=_STATES[state],
                token=int(token),
                pid=int(pid),
                started=int(started),
                address="" if address == "-" else scrub(address),
                port=int(port),
                detail=Label("" if state in {"running", "frozen"} else f"pid file is {state}"),
            )
        except (ValueError, KeyError) as error:
            raise HostError(transport.host, "discover", "unexpected answer", tail=line) from error


def _need(transport: Transport, step: str, notes: Notes, key: str) -> str:
    try:
        return notes[key]
    except KeyError:
        raise HostError(transport.host, step, f"an earlier step has not noted {key}") from None


def _process(said: Notes) -> Notes:
    return {key: said[key] for key in ("pid", "started", "port", "address")}
