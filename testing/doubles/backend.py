"""A backend over hosts in memory that keeps the whole contract: the shortest one to read, and to break in tests."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from sidestep.backends.base import Capability, Move, ShardObservation, StepResult
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError, ShardEnded
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import MOVE_STEPS, ShardState, StepName
from sidestep.testing.doubles.fleet import Instance, MemoryHost, MemoryTransport, room

_STATES = {"serving": ShardState.RUNNING, "frozen": ShardState.FROZEN, "loaded": ShardState.RESTORING}
_BEHIND = MOVE_STEPS[MOVE_STEPS.index(StepName.COMMIT) :]
_FREEZING = MOVE_STEPS[MOVE_STEPS.index(StepName.FREEZE) : MOVE_STEPS.index(StepName.COMMIT)]
_CARRYING = frozenset({StepName.PREPARE, StepName.TRANSFER, StepName.RESTORE, StepName.VERIFY})
_BALLAST = bytes(range(256)) * 391  # about the state that MemorySubject says it has

Step = Callable[[Move, Transport, Transport, dict[str, str]], Awaitable[StepResult]]


async def _at(transport: Transport, step: str) -> MemoryHost:
    assert isinstance(transport, MemoryTransport), "a MemoryBackend lives on hosts in memory only"
    return await transport.reach(step)


class MemoryBackend:
    """Implements ``Backend``. It remembers nothing: everything is in the hosts and in the notes."""

    name = "memory"
    capabilities: frozenset[Capability] = frozenset({"discover", "observe", "migrate", "freeze"})

    def __init__(self, pid: Callable[[], int]) -> None:
        self._pid = pid

    async def discover(self, transport: Transport) -> tuple[ShardObservation, ...]:
        """Every shard of this fleet on that host."""
        host = await _at(transport, "discover")
        return tuple(_seen(host, each) for each in host.instances.values())

    async def start(self, transport: Transport, shard: ShardSpec, token: int, address: str) -> ShardObservation:
        """Start a shard that runs nowhere. Refused if the host was fenced with a newer token."""
        host = await _at(transport, "start")
        self._fenced(host, shard.name, token, "start")
        present = host.instances.get(shard.name)
        if present is None:
            present = Instance(shard.name, token, "serving", address, shard.port, self._pid(), served=True)
            host.instances[shard.name] = present
        elif present.token != token:
            raise HostError(host.name, "start", f"the shard here has token {present.token}")
        return _seen(host, present)

    async def stop(self, transport: Transport, shard: ShardSpec, token: int) -> None:
        """Stop the shard if it holds ``token`` or an older one; fence the host at ``token``."""
        host = await _at(transport, "stop")
        present = host.instances.get(shard.name)
        if present is not None and present.token > token:
            raise HostError(host.name, "stop", f"the shard here has the newer token {present.token}")
        host.fences[shard.name] = max(token, host.fences.get(shard.name, 0))
        host.instances.pop(shard.name, None)

    async def step(
        self, name: StepName, move: Move, source: Transport, destination: Transport, notes: dict[str, str]
    ) -> StepResult:
        """Do one step. Raises HostError."""
        doing: Step | None = getattr(self, f"_{name}", None)
        if doing is None:
            raise HostError(destination.host, name, "is the executor's step, not a backend's")
        return await doing(move, source, destination, notes)

    async def abort(
        self, name: StepName, move: Move, source: Transport, destination: Transport, notes: dict[str, str]
    ) -> None:
        """Take one step back; the source serves before the destination is asked for anything."""
        if name in _BEHIND:
            raise HostError(source.host, name, "is behind the commit point: there is only forward")
        if name in _FREEZING:
            await self._thaw(move, source)
        if name in _CARRYING:
            await self._discard(move, destination)

    # -- what else a backend of its own may change

    def _fenced(self, host: MemoryHost, shard: str, token: int, step: str) -> None:
        if host.fences.get(shard, 0) > token:
            raise HostError(host.name, step, f"fenced at {host.fences[shard]}, which is newer than {token}")

    def _in_time(self, host: MemoryHost, move: Move, step: str) -> None:
        if move.key in host.undone:
            raise HostError(host.name, step, "this move was taken back here already")

    async def _thaw(self, move: Move, source: Transport) -> None:
        host = await _at(source, "abort")
        self._fenced(host, move.shard.name, move.old_token, "abort")
        host.undone.add(move.key)
        present = host.instances.get(move.shard.name)
        if present is None:
            state = host.files.get(_capsule(move), b"0\n")
            present = self._made(host, move, move.old_token, state, move.shard.port)
        present.state, present.served = "serving", True

    async def _discard(self, move: Move, destination: Transport) -> None:
        host = await _at(destination, "abort")
        host.undone.add(move.key)
        host.files.pop(_capsule(move), None)
        present = host.instances.get(move.shard.name)
        if present is not None and present.token == move.new_token:
            del host.instances[move.shard.name]

    def _made(self, host: MemoryHost, move: Move, token: int, state: bytes, port: int) -> Instance:
        made = Instance(move.shard.name, token, "loaded", host.address, port, self._pid())
        made.writes = int(state.partition(b"\n")[0])
        host.instances[move.shard.name] = made
        return made

    # -- steps

    async def _prepare(self, move: Move, source: Transport, there: Transport, notes: dict[str, str]) -> StepResult:
        host = await _at(there, "prepare")
        self._fenced(host, move.shard.name, move.new_token, "prepare")
        self._in_time(host, move, "prepare")
        room(host, "prepare")
        return StepResult(notes={"address": move.destination_address, "port": str(move.shard.port)})

    async def _precopy(self, move: Move, source: Transport, there: Transport, notes: dict[str, str]) -> StepResult:
        await _at(source, "precopy")
        return StepResult(detail=Label("nothing to copy beforehand"))

    async def _freeze(self, move: Move, source: Transport, there: Transport, notes: dict[str, str]) -> StepResult:
        host = await _at(source, "freeze")
        self._in_time(host, move, "freeze")
        present = host.instances.get(move.shard.name)
        if present is None or present.token != move.old_token:
            raise HostError(host.name, "freeze", f"the shard does not run here under {move.old_token}")
        present.state = "frozen"
        return StepResult()

    async def _capture(self, move: Move, source: Transport, there: Transport, notes: dict[str, str]) -> StepResult:
        host = await _at(source, "capture")
        self._in_time(host, move, "capture")
        room(host, "capture")
        if _capsule(move) not in host.files:
            present = host.instances.get(move.shard.name)
            if present is None or present.state != "frozen":
                raise HostError(host.name, "capture", "the shard is not frozen here")
            host.files[_capsule(move)] = b"%d\n" % present.writes + _BALLAST
        data = host.files[_capsule(move)]
        return StepResult(notes={"digest": hashlib.sha256(data).hexdigest()}, bytes=len(data))

    async def _transfer(self, move: Move, source: Transport, there: Transport, notes: dict[str, str]) -> StepResult:
        here, host = await _at(source, "transfer"), await _at(there, "transfer")
        self._in_time(host, move, "transfer")
        room(host, "transfer")
        host.files[_capsule(move)] = here.files[_capsule(move)]
        return StepResult(bytes=len(host.files[_capsule(move)]))

    async def _restore(self, move: Move, source: Transport, there: Transport, notes: dict[str, str]) -> StepResult:
        host = await _at(there, "restore")
        self._fenced(host, move.shard.name, move.new_token, "restore")
        self._in_time(host, move, "restore")
        present = host.instances.get(move.shard.name)
        if present is None or present.token != move.new_token:
            self._made(host, move, move.new_token, host.files[_capsule(move)], move.shard.port)
        return StepResult()

    async def _verify(self, move: Move, source: Transport, there: Transport, notes: dict[str, str]) -> StepResult:
        host = await _at(there, "verify")
        if hashlib.sha256(host.files.get(_capsule(move), b"")).hexdigest() != notes["digest"]:
            raise HostError(host.name, "verify", "the capsule here is not the one that was captured")
        return StepResult()

    async def _resume(self, move: Move, source: Transport, there: Transport, notes: dict[str, str]) -> StepResult:
        host = await _at(there, "resume")
        self._fenced(host, move.shard.name, move.new_token, "resume")
        present = host.instances.get(move.shard.name)
        if present is None:
            present = self._made(host, move, move.new_token, host.files[_capsule(move)], move.shard.port)
        present.state, present.served = "serving", True
        return StepResult()

    async def _observe(self, move: Move, source: Transport, there: Transport, notes: dict[str, str]) -> StepResult:
        host = await _at(there, "observe")
        if move.shard.name not in host.instances:
            raise ShardEnded(host.name, "observe", "the shard's process has ended")
        return StepResult()

    async def _release(self, move: Move, source: Transport, there: Transport, notes: dict[str, str]) -> StepResult:
        host = await _at(source, "release")
        host.fences[move.shard.name] = max(move.new_token, host.fences.get(move.shard.name, 0))
        host.instances.pop(move.shard.name, None)
        host.files.pop(_capsule(move), None)
        (await _at(there, "release")).files.pop(_capsule(move), None)
        return StepResult()


def _capsule(move: Move) -> str:
    return f"{move.shard.name}/{move.key}"


def _seen(host: MemoryHost, instance: Instance) -> ShardObservation:
    return ShardObservation(
        shard=Label(instance.shard), host=Label(host.name), state=_STATES[instance.state], token=instance.token,
        pid=instance.pid, started=host.boots, address=instance.address, port=instance.port,
    )  # fmt: skip
