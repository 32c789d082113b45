"""Where a backend is tried: hosts that are reached over real SSH, and that can be hurt."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from sidestep.backends.embedded import EmbeddedFleet, proctree
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import HostSpec


class Ground(Protocol):
    """Two hosts or more. What cannot be done to them raises ``NotHere`` with the reason."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Their names; the first is where shards begin."""
        ...

    def address(self, host: str) -> str:
        """Where shards on that host listen."""
        ...

    def transport(self, host: str) -> Transport:
        """A new connection to that host, not connected yet."""
        ...

    async def cut(self, host: str) -> None:
        """Pull the cable: what is sent there stalls. Shards run on."""
        ...

    async def heal(self, host: str) -> None:
        """Put it back."""
        ...

    async def lose_power(self, host: str) -> None:
        """End everything on it at once, and boot it again."""
        ...

    async def fill(self, host: str, folder: str) -> None:
        """Leave no room below that folder of the login's home."""
        ...

    async def empty(self, host: str, folder: str) -> None:
        """Take that back."""
        ...


class NotHere(Exception):
    """This ground cannot do that; the text says why, and what could."""


class EmbeddedGround:
    """Embedded hosts on this machine: each has its own SSH server, key, home folder and process tree."""

    def __init__(self, folder: Path, hosts: int = 2) -> None:
        self.fleet = EmbeddedFleet(folder, hosts=hosts, cpu=4.0, memory=1 << 30)
        self._keys: HostKeys | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """``h1``, ``h2`` and so on."""
        return tuple(str(host.name) for host in self.fleet.hosts)

    def address(self, host: str) -> str:
        """Its loopback address."""
        return self._spec(host).address

    def transport(self, host: str) -> Transport:
        """A new connection, with the fleet's own key and strict host keys."""
        if self._keys is None:
            self._keys = HostKeys.load(self.fleet.known_hosts)
        return AsyncsshTransport(plain_target(self._spec(host), identity=str(self.fleet.identity)), self._keys)

    async def cut(self, host: str) -> None:
        """Stop its SSH server where it stands."""
        await self.fleet.cut(host)

    async def heal(self, host: str) -> None:
        """Let it go on."""
        await self.fleet.heal(host)

    async def lose_power(self, host: str) -> None:
        """Kill its whole tree, and boot it."""
        await self.fleet.kill(host)
        await self.fleet.revive(host)

    async def fill(self, host: str, folder: str) -> None:
        """Mount a file system of one page over the folder: for root only."""
        if os.geteuid() != 0:
            raise NotHere("a full disk needs root, or hosts whose disks may be filled")
        place = self.home(host) / folder
        place.mkdir(parents=True, exist_ok=True)
        await _root("mount", "-t", "tmpfs", "-o", "size=4k,mode=0777", "sidestep-full", str(place))

    async def empty(self, host: str, folder: str) -> None:
        """Take the file system away again."""
        await _root("umount", "--lazy", str(self.home(host) / folder))

    # -- what is known of these hosts besides

    def home(self, host: str) -> Path:
        """The home folder that logins have there."""
        return self.fleet.folder / "hosts" / host

    def processes(self, host: str, program: str, mark: str) -> tuple[int, ...]:
        """Who runs that program there with these words behind it, whatever anybody says of it."""
        return tuple(pid for pid, line in self.fleet.tree(host) if line.startswith(program) and mark in line)

    def kill(self, host: str, program: str, mark: str) -> int:
        """``kill -9`` them; returns how many there were."""
        found = self.processes(host, program, mark)
        for pid in found:
            proctree.send(pid, signal.SIGKILL)
        return len(found)

    def _spec(self, host: str) -> HostSpec:
        return next(spec for spec in self.fleet.hosts if spec.name == host)

    async def __aenter__(self) -> Self:
        await self.fleet.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.fleet.stop()


async def _root(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    if process.returncode:
        raise SidestepError(f"{' '.join(command)} failed: {said.decode(errors='replace')}")
