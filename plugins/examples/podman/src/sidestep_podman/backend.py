"""The backend: which operation of the host's shell each step of a move is."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from shlex import quote
from typing import Final

from sidestep.plugins import (
    Capability,
    HostError,
    Move,
    ShardObservation,
    ShardSpec,
    Sizes,
    Sizing,
    StepName,
    StepResult,
    Transport,
    scrub,
)
from sidestep_podman.words import about, observed

_SHELL: Final = "".join(
    files("sidestep_podman").joinpath(name).read_text("utf-8") for name in ("host.sh", "operations.sh")
)
_FAILURE: Final = re.compile(rb"^sidestep:(.*)$", re.MULTILINE)
#: steps before the commit point, those after which the source does not serve, and those that leave something there
_UNDOABLE: Final = (StepName.PREPARE, StepName.PRECOPY, StepName.FREEZE, StepName.CAPTURE, StepName.TRANSFER,
                    StepName.RESTORE, StepName.VERIFY)  # fmt: skip
_FREEZING: Final = frozenset(_UNDOABLE[2:])
_CARRYING: Final = frozenset({StepName.PREPARE, StepName.TRANSFER, StepName.RESTORE, StepName.VERIFY})

Notes = dict[str, str]
Values = dict[str, str | int]


class PodmanBackend:
    """Implements ``Backend`` and ``Resizer``: a shard is a container of its own, whose state is a folder.

    ``podman`` and ``criu`` are the words that call them, read by the host's shell; ``patience`` (s) is what a starting
    shard has until its ``ready`` succeeds, ``timeout`` (s) bounds one operation, ``carry`` (s) the transfer.
    """

    name = "podman"
    capabilities: frozenset[Capability] = frozenset({"discover", "observe", "migrate", "freeze", "resize"})
    #: who knows what shards were resized to; None: they start with what is declared
    sizing: Sizing | None = None

    def __init__(
        self,
        fleet: str,
        *,
        podman: str = "podman",
        criu: str = "criu",
        patience: float = 10.0,
        timeout: float = 60.0,
        carry: float = 3600.0,
    ) -> None:
        self._fleet, self._podman, self._criu = fleet, podman, criu
        self._patience, self._timeout, self._carry = max(1, round(patience)), timeout, carry
        self._steps: dict[StepName, Callable[[Move, Transport, Transport, Notes], Awaitable[StepResult]]] = {
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
        """Every container of this fleet on that host, running, paused or ended."""
        said = await self._perform(transport, "discover", "discover", {"fleet": self._fleet, "shard": ""})
        return tuple(observed(transport.host, "discover", value.split(" ")) for key, value in said if key == "shard")

    async def start(self, transport: Transport, shard: ShardSpec, token: int, address: str) -> ShardObservation:
        """Start a shard that runs nowhere, and serve. Refused if the host was fenced with a newer token."""
        said = await self._at(transport, "start", "start", shard, token=token, port=shard.port, address=address)
        return _started(transport, shard, said)

    async def stop(self, transport: Transport, shard: ShardSpec, token: int) -> None:
        """Stop the shard if it holds ``token`` or an older one; fence the host at ``token``."""
        await self._at(transport, "stop", "stop", shard, token=token)

    async def sizes(self, transport: Transport, shard: ShardSpec, token: int) -> Sizes:
        """What the kernel lets it use now. Raises HostError."""
        return _sizes(transport, await self._at(transport, "look", "sizes", shard, token=token))

    async def resize(self, transport: Transport, shard: ShardSpec, token: int, sizes: Sizes) -> Sizes:
        """Change that in place; what the kernel has then. Raises HostError, also where it would end the shard."""
        said = await self._at(
            transport, "resize", "resize", shard, token=token, cpu=f"{sizes.cpu:g}", memory=sizes.memory
        )
        return _sizes(transport, said)

    async def step(
        self, name: StepName, move: Move, source: Transport, destination: Transport, notes: dict[str, str]
    ) -> StepResult:
        """Do one step. Raises HostError."""
        doing = self._steps.get(StepName(name))
        if doing is None:
            raise HostError(destination.host, name, "is the executor's step, not a backend's")
        if not move.source:
            raise HostError(destination.host, name, "a container comes from another host only: it keeps no capsules")
        return await doing(move, source, destination, notes)

    async def abort(
        self, name: StepName, move: Move, source: Transport, destination: Transport, notes: dict[str, str]
    ) -> None:
        """Take one step back; the source serves before the destination is asked for anything."""
        if name not in _UNDOABLE:
            raise HostError(source.host, name, "is behind the commit point: there is only forward")
        if name in _FREEZING:
            await self._at(source, name, "thaw", move.shard, key=move.key, token=move.old_token)
        if name in _CARRYING:
            await self._at(destination, name, "discard", move.shard, key=move.key, token=move.new_token,
                           within=move.deadline / 2)  # fmt: skip

    # -- steps

    async def _prepare(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        here = await self._at(source, "prepare", "source_prepare", move.shard, token=move.old_token)
        there = await self._at(
            destination, "prepare", "prepare", move.shard, key=move.key, token=move.new_token,
            port=int(here["port"]), address=move.destination_address,
        )  # fmt: skip
        unable = [
            f"{at.host}: {said['unable']}" for at, said in ((source, here), (destination, there)) if said["unable"]
        ]
        if here["folder"] != there["folder"]:  # a container's memory knows where its files are
            unable.append(f"{there['folder']} is {here['folder']} on {source.host}")
        told = f"without its memory: {'; '.join(unable)}" if unable else "with its memory"
        facts = {"port": here["port"], "address": move.destination_address, "destination_capsule": there["capsule"],
                 "memory": "" if unable else "yes"}  # fmt: skip
        return StepResult(detail=scrub(f"port {here['port']}; {told}"), notes=facts)

    async def _precopy(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        found = await self._at(source, "precopy", "precopy", move.shard, token=move.old_token)
        return StepResult(detail=scrub(f"{found['bytes']} bytes of state"))

    async def _freeze(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        said = await self._at(source, "freeze", "freeze", move.shard, key=move.key, token=move.old_token,
                              memory_too=notes.get("memory", ""), address=move.destination_address,
                              within=self._carry)  # fmt: skip
        return StepResult(detail=scrub(said["how"]))

    async def _capture(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        found = await self._at(source, "capture", "capture", move.shard, key=move.key, token=move.old_token,
                               within=self._carry)  # fmt: skip
        facts = {"digest": found["digest"], "source_capsule": found["capsule"], "bytes": found["bytes"]}
        return StepResult(detail=scrub(f"sha256 {found['digest'][:12]}"), notes=facts, bytes=int(found["bytes"]))

    async def _transfer(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        here, there = _need(source, notes, "source_capsule"), _need(destination, notes, "destination_capsule")
        arrived = await destination.send(there, source.fetch(here, timeout=self._carry), timeout=self._carry)
        if arrived != _need(source, notes, "digest"):
            raise HostError(destination.host, "transfer", f"sha256 {arrived} arrived, which is not what was captured")
        return StepResult(detail=scrub(f"sha256 {arrived[:12]} arrived"), bytes=int(_need(source, notes, "bytes")))

    async def _restore(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        digest = _need(destination, notes, "digest")
        await self._at(destination, "restore", "restore", move.shard, key=move.key, token=move.new_token, digest=digest,
                       within=self._carry)  # fmt: skip
        return StepResult(detail=scrub("files in place, not started"))

    async def _verify(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        digest = _need(destination, notes, "digest")
        await self._at(destination, "verify", "verify", move.shard, digest=digest, within=self._carry)
        return StepResult(detail=scrub(f"sha256 {digest[:12]} on both hosts"))

    async def _resume(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        said = await self._at(destination, "resume", "resume", move.shard, key=move.key, token=move.new_token)
        return StepResult(
            detail=scrub(
                f"pid {said['pid']} serves on port {said['port']}; {said.get('how', 'as it was started')}", 300
            ),
            notes={key: said[key] for key in ("pid", "started", "port", "address")},
        )

    async def _observe(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        seconds = max(0, round(move.observe))
        await self._at(destination, "observe", "observe", move.shard, token=move.new_token, seconds=seconds,
                       within=self._timeout + seconds)  # fmt: skip
        return StepResult(detail=scrub(f"alive and ready for {seconds} s"))

    async def _release(self, move: Move, source: Transport, destination: Transport, notes: Notes) -> StepResult:
        await self._at(source, "release", "release", move.shard, token=move.new_token)
        await self._at(destination, "release", "tidy", move.shard, key=move.key)
        return StepResult(detail=scrub(f"{source.host} fenced at {move.new_token}"))

    # -- one operation on a host

    async def _at(
        self,
        transport: Transport,
        step: str,
        operation: str,
        shard: ShardSpec,
        *,
        within: float = 0.0,
        **more: str | int,
    ) -> dict[str, str]:
        values = about(transport.host, step, self._fleet, shard, str(more.get("address", "")))
        sizes = self.sizing.sizes_of(shard) if self.sizing is not None else None
        sizes = sizes or Sizes(cpu=shard.limit_cpu, memory=shard.limit_memory)
        values |= {"cpu": f"{sizes.cpu:g}", "memory": sizes.memory, "patience": self._patience, **more}
        return dict(await self._perform(transport, step, operation, values, within))

    async def _perform(
        self, transport: Transport, step: str, operation: str, values: Values, within: float = 0.0
    ) -> list[tuple[str, str]]:
        values = {"podman": self._podman, "criu": self._criu, **values}
        if any("\0" in str(value) for value in values.values()):
            raise HostError(transport.host, step, "a NUL character cannot be told to a shell")
        program = "".join(f"{name}={quote(str(value))}\n" for name, value in values.items()) + _SHELL
        done = await transport.run(
            "exec sh -s", stdin=f"{program}do_{operation} </dev/null\n".encode(), timeout=within or self._timeout
        )
        if done.status == 0:
            lines = done.stdout.decode("utf-8", "replace").splitlines()
            return [(key, value) for key, equals, value in (line.partition("=") for line in lines) if equals]
        told = _FAILURE.findall(done.stderr)
        what = told[-1].decode("utf-8", "replace") if told else f"ended with status {done.status}"
        tail = _FAILURE.sub(b"", done.stderr).strip()[-800:]
        raise HostError(transport.host, step, what, command=f"podman/{operation}", tail=tail)


def _need(transport: Transport, notes: Notes, key: str) -> str:
    if key not in notes:
        raise HostError(transport.host, "transfer", f"an earlier step has not noted {key}")
    return notes[key]


def _started(transport: Transport, shard: ShardSpec, said: Notes) -> ShardObservation:
    try:
        fields = [shard.name, "running", *(said[key] for key in ("pid", "started", "token", "port", "address"))]
    except KeyError as error:
        raise HostError(transport.host, "start", "unexpected answer", tail=str(said)) from error
    return observed(transport.host, "start", fields)


def _sizes(transport: Transport, said: Notes) -> Sizes:
    try:
        return Sizes(cpu=int(said["cpu"]) / 1000, memory=int(said["memory"]))
    except (KeyError, ValueError) as error:
        raise HostError(transport.host, "look", "unexpected answer", tail=str(said)) from error
