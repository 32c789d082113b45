"""Moves of a process with its memory: what it was started with stays with it, so that it has to be asked who it is.

The counter listens at every address, and is told its token when it goes on (``RESUME`` with one). Which host a process
is on is read from its control group. What a person started by hand is no process that can be moved so: it is ended
before the next cell, and the daemon starts the shard as it does.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Final

from msgspec.structs import replace

from scripts.faultmatrix.cells import IMAGE, Cell, Fault
from scripts.faultmatrix.disks import SIZE
from scripts.faultmatrix.hosts import SystemdHosts
from scripts.faultmatrix.hurt import Hurt
from scripts.faultmatrix.lane import PORT, Lane, hook_shard
from scripts.faultmatrix.processes import Found, serving
from scripts.testfleet import criu
from sidestep.backends.embedded.traffic import key_range
from sidestep.fleet.inventory import ShardSpec

BACKENDS: Final = ("process", "systemd")
#: nobody has said which token it serves under
UNKNOWN: Final = -1
_PATIENCE: Final = 1.0


class Imaged(Lane):
    """Cells of driver criu, on real hosts."""

    #: memory is written twice
    size = 2 * SIZE
    #: a host that could not do it in the middle of a fault is asked again after two minutes
    approving = 150.0

    def __init__(self, name: str, folder: Path, hosts: SystemdHosts, tag: str) -> None:
        super().__init__(name, folder, hosts, tag)
        self._real = hosts
        self.shards = {backend: f"{self.fleet}-{backend}" for backend in BACKENDS}

    async def equip(self) -> None:
        """A criu that fits the kernel. Raises SidestepError."""
        packed = await asyncio.to_thread(criu.archive)
        for spec in self.hosts.specs:
            transport = await self.transport(spec.name)
            await transport.run("tar -C / -xzf -", stdin=packed, timeout=120.0)

    def declared(self) -> tuple[ShardSpec, ...]:
        """A process group and a unit, each with half of the keys."""
        program = f"exec python3 -S -I {quote(self.hosts.program)}"
        found = []
        for at, backend in enumerate(BACKENDS):
            shard = hook_shard(self.hosts, self.shards[backend], PORT + at, key_range(at, len(BACKENDS)))
            start = f"ADDRESS=0.0.0.0 {shard.start.removesuffix(' --standby')}"
            resume = f'{program} resume "$TOKEN"'
            none = {"save": "", "load": "", "drop": "", "quiesce": ""}
            found.append(replace(shard, driver=IMAGE, backend=backend, start=start, resume=resume, **none))
        return tuple(found)

    def shard_of(self, cell: Cell) -> str:
        """Half of the cells are about units; what a person starts by hand is a process group."""
        by_hand = cell.fault is Fault.STALE_OWNER
        return self.shards[BACKENDS[0 if by_hand else zlib.crc32(str(cell).encode()) % 2]]

    def processes(self, shard: str) -> list[Found]:
        """Where they are, says the kernel; under which token, they do."""
        found = []
        for one in serving(shard):
            with suppress(OSError):
                host = self._real.home(one.pid)
                if not host:
                    continue
                address = self.address(host)
                port = PORT + list(self.shards.values()).index(shard)
                found.append(Found(one.pid, address, UNKNOWN if one.stopped else _token(address, port), one.stopped))
        return found

    async def _sound(self, cell: Cell) -> None:
        shard = self.shard_of(cell)
        for found in await asyncio.to_thread(self.running, shard):
            if not _apart(found.pid):
                Hurt.kill(found)
        await super()._sound(cell)


def _token(address: str, port: int) -> int:
    """What whoever serves there says of itself."""
    try:
        with socket.create_connection((address, port), _PATIENCE) as peer, peer.makefile("rb") as answers:
            peer.sendall(b"READY\n")
            words = answers.readline().split()
    except OSError:
        return UNKNOWN
    return int(words[1]) if len(words) == 3 and words[0] == b"READY" and words[1].isdigit() else UNKNOWN


def _apart(pid: int) -> bool:
    """Whether it has numbers of its own: one more than on its host, and than here."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
        return next(len(line.split()) for line in lines if line.startswith("NSpid:")) > 3
    return True
