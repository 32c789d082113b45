"""Hosts in memory: they hold instances, files and fences, and they can be cut off, killed and filled."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import count

from sidestep.backends.base import Backend
from sidestep.backends.ssh.base import Channel, Completed, Feed, Receiver
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.testing.ground import Ground


@dataclass
class Instance:
    """One process of a shard."""

    shard: str
    token: int
    state: str
    address: str
    port: int
    pid: int
    writes: int = 0
    served: bool = False


@dataclass
class MemoryHost:
    """What one host has. A boot leaves files, fences and what was taken back; its instances are gone."""

    name: str
    address: str
    instances: dict[str, Instance] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    #: moves that were taken back here: their steps come too late
    undone: set[str] = field(default_factory=set)
    full: bool = False
    link: asyncio.Event = field(default_factory=asyncio.Event)
    boots: int = 1


class MemoryFleet:
    """Some hosts, and the clients of what runs on them."""

    def __init__(self, hosts: int = 2) -> None:
        self.hosts = {f"m{n}": MemoryHost(f"m{n}", f"10.0.0.{n}") for n in range(1, hosts + 1)}
        self.pids = count(100)
        for host in self.hosts.values():
            host.link.set()

    def add(self, address: str, port: int) -> int:
        """A write by a client; how many there are now. Raises OSError if nobody serves there."""
        for host in self.hosts.values():
            for instance in host.instances.values():
                if (instance.address, instance.port, instance.state) == (address, port, "serving"):
                    instance.writes += 1
                    return instance.writes
        raise OSError(f"nobody serves at {address}:{port}")


class MemoryTransport:
    """A connection to a host in memory; only what the doubles need of one works."""

    def __init__(self, host: MemoryHost) -> None:
        self.at, self.host, self._open = host, host.name, False

    async def connect(self) -> None:
        """Connect; waits while the host is cut off."""
        await self.at.link.wait()
        self._open = True

    async def reach(self, step: str) -> MemoryHost:
        """The host, if the connection stands; waits while it is cut off. Raises HostUnreachable."""
        await asyncio.sleep(0)
        if not self._open:
            raise HostUnreachable(self.host, step, "the connection is closed")
        await self.at.link.wait()
        return self.at

    async def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        """Nothing but a look whether the host answers."""
        await self.reach("run")
        return Completed(0, b"", b"")

    async def open(self, command: str) -> Channel:
        """Not here. Raises HostError."""
        raise HostError(self.host, "open", "a host in memory runs no commands")

    async def feed(self, command: str, receiver: Receiver) -> Feed:
        """Not here. Raises HostError."""
        raise HostError(self.host, "feed", "a host in memory runs no commands")

    async def send(self, path: str, chunks: AsyncIterator[bytes], *, timeout: float = 60.0) -> str:
        """Write a file."""
        host = await self.reach("send")
        data = b"".join([part async for part in chunks])
        room(host, "send")
        host.files[path] = data
        return hashlib.sha256(data).hexdigest()

    async def fetch(self, path: str, *, timeout: float = 60.0) -> AsyncIterator[bytes]:
        """Read a file."""
        host = await self.reach("fetch")
        if path not in host.files:
            raise HostError(self.host, "fetch", f"there is no {path}")
        yield host.files[path]

    async def aclose(self) -> None:
        """Close it."""
        self._open = False


def room(host: MemoryHost, step: str) -> None:
    """Raise HostError if the disk is full."""
    if host.full:
        raise HostError(host.name, step, "no space left on device")


class MemoryGround:
    """A ``Ground`` of hosts in memory: the kit's rules take no time on it."""

    def __init__(self, hosts: int = 2) -> None:
        self.fleet = MemoryFleet(hosts)

    @property
    def hosts(self) -> tuple[str, ...]:
        """``m1``, ``m2`` and so on."""
        return tuple(self.fleet.hosts)

    def address(self, host: str) -> str:
        """Where shards there listen."""
        return self.fleet.hosts[host].address

    def transport(self, host: str) -> MemoryTransport:
        """A new connection."""
        return MemoryTransport(self.fleet.hosts[host])

    async def cut(self, host: str) -> None:
        """What is sent there waits."""
        self.fleet.hosts[host].link.clear()

    async def heal(self, host: str) -> None:
        """It goes on."""
        self.fleet.hosts[host].link.set()

    async def lose_power(self, host: str) -> None:
        """Its instances are gone."""
        there = self.fleet.hosts[host]
        there.instances.clear()
        there.boots += 1

    async def fill(self, host: str, folder: str) -> None:
        """Nothing more can be written."""
        self.fleet.hosts[host].full = True

    async def empty(self, host: str, folder: str) -> None:
        """There is room again."""
        self.fleet.hosts[host].full = False


@dataclass(kw_only=True)
class MemorySubject:
    """A counter on hosts in memory, for ``MemoryBackend`` and what is made of it."""

    make: Callable[[], Backend]
    name: str = "counter in memory"
    state_bytes: int = 100_000
    durable: bool = False
    folder: str = "state"

    def backend(self) -> Backend:
        """A new backend object."""
        return self.make()

    def shard(self, number: int, host: Label) -> ShardSpec:
        """A declaration of its own."""
        return ShardSpec(name=Label(f"kit.{number}"), app=Label("kit"), host=host, start="counter", port=20000 + number)

    async def add(self, address: str, port: int) -> int:
        """A write."""
        return _memory(self._ground).add(address, port)

    def instances(self, ground: Ground, host: str, number: int) -> int:
        """How many live there."""
        return int(f"kit.{number}" in _memory(ground).hosts[host].instances)

    def kill(self, ground: Ground, host: str, number: int) -> None:
        """End them."""
        _memory(ground).hosts[host].instances.pop(f"kit.{number}", None)

    #: where clients go; set it before the kit is run
    _ground: Ground | None = None

    def on(self, ground: MemoryGround) -> MemorySubject:
        """This subject with its clients on that ground."""
        self._ground = ground
        return self


def _memory(ground: Ground | None) -> MemoryFleet:
    assert isinstance(ground, MemoryGround), "this subject lives on a MemoryGround only"
    return ground.fleet
