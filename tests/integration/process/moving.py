"""Two hosts, a stateful shard on the first, and a move of it to the second."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from sidestep.backends.base import Move, StepResult
from sidestep.backends.process import ProcessBackend
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import MOVE_STEPS, StepName

TALLY = f"exec {quote(sys.executable)} -I -S {quote(str(Path(__file__).with_name('tally.py')))}"
STEPS = tuple(s for s in MOVE_STEPS if s not in {StepName.COMMIT, StepName.ROUTE})
BEFORE_COMMIT = STEPS[: STEPS.index(StepName.VERIFY) + 1]


def shard_spec(driver: str, port: int, tally: str = TALLY, **changes: Any) -> ShardSpec:
    hooks = {f: f"{tally} {f}" for f in ("save", "load", "quiesce", "resume")} if driver == "hook" else {}
    start = f"{tally} serve --closed" if driver == "hook" else f"{tally} serve --files"
    given = {"start": start, "ready": f"{tally} ready", "port": port, "driver": driver} | hooks | changes
    return ShardSpec(name=Label("tally.0"), app=Label("tally"), host=Label("a"), **given)


def kill(pid: int, *, group: bool = False) -> None:
    """Kill a process, or the group it leads, and return once it is dead: a signal sent is not a death yet."""
    handle = os.pidfd_open(pid)
    try:
        if group:
            os.killpg(pid, signal.SIGKILL)
        else:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        ended, _, _ = select.select([handle], [], [], 60)
    finally:
        os.close(handle)
    assert ended, f"process {pid} does not die"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def ask(address: str, port: int, text: str) -> str:
    def talk() -> str:
        with socket.create_connection((address, port), timeout=5) as link:
            link.sendall(text.encode() + b"\n")
            return link.makefile().readline().strip()

    return await asyncio.to_thread(talk)


class Elsewhere:
    """A transport whose programs find other tools."""

    def __init__(self, transport: Any, setting: str) -> None:
        self._transport, self._setting = transport, setting
        self.host = transport.host

    async def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> Any:
        return await self._transport.run(command, stdin=self._setting.encode() + b"\n" + stdin, timeout=timeout)


@dataclass
class Pair:
    """Source and destination with one backend, and the folders that their shards live in."""

    backend: ProcessBackend
    source: Transport
    destination: Transport
    source_dir: Path
    destination_dir: Path
    port: int = field(default_factory=free_port)
    notes: dict[str, str] = field(default_factory=dict)
    source_address: str = "127.0.0.1"
    destination_address: str = "127.0.0.2"

    def move(self, spec: ShardSpec, **changes: Any) -> Move:
        given: dict[str, Any] = {"key": "move-1", "old_token": 7, "new_token": 8, "observe": 0.0}
        given["destination_address"] = self.destination_address
        return Move(
            **(given | changes), shard=spec, source=Label(self.source.host), destination=Label(self.destination.host)
        )

    async def step(self, name: StepName, move: Move) -> StepResult:
        result = await self.backend.step(name, move, self.source, self.destination, dict(self.notes))
        self.notes |= result.notes
        return result

    async def abort(self, name: StepName, move: Move) -> None:
        await self.backend.abort(name, move, self.source, self.destination, dict(self.notes))

    async def start(self, spec: ShardSpec, token: int = 7) -> None:
        await self.backend.start(self.source, spec, token, self.source_address)

    async def at_source(self, text: str) -> str:
        return await ask(self.source_address, self.port, text)

    async def at_destination(self, text: str) -> str:
        return await ask(self.destination_address, int(self.notes["port"]), text)
