"""Hosts, processes and a router in memory that check their own invariants after every change.

The invariants of a move: a shard is served by at most one process, and only by its owner's;
every write that was acknowledged is in the state of whatever serves next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.placement import RoutingTable

HOSTS = ("h1", "h2", "h3")
SHARDS = ("s1", "s2", "s3")


@dataclass
class Process:
    token: int
    state: str
    writes: list[int] = field(default_factory=list)


class World:
    """Hosts, their processes, their scratch files, and one client per shard that never stops writing."""

    def __init__(self) -> None:
        self.processes: dict[tuple[str, str], Process] = {
            (host, shard): Process(1, "serving") for shard, host in zip(SHARDS, ("h1", "h1", "h2"), strict=True)
        }
        self.scratch: dict[tuple[str, str], tuple[int, ...]] = {}
        self.fences: dict[tuple[str, str], int] = {}
        self.down: set[str] = set()
        #: connected hosts from which nothing comes any more
        self.silent: set[str] = set()
        self.acknowledged: dict[str, list[int]] = {shard: [] for shard in SHARDS}
        self.owner_of: Callable[[str], str] = lambda shard: ""
        self.router: FakeRouter | None = None
        self.watch: Callable[[], None] = lambda: None
        self._next = 0

    def reach(self, host: str, step: str) -> None:
        if host in self.down:
            raise HostUnreachable(host, step, "no route to host")

    def changed(self) -> None:
        """Called after every change: a client of each shard writes, then all invariants must hold."""
        for shard in SHARDS:
            self._next += 1
            if self.router is not None:
                self.router.write(shard, self._next)
        self.check()
        self.watch()

    def check(self) -> None:
        for shard in SHARDS:
            serving = [(h, p) for (h, s), p in self.processes.items() if s == shard and p.state == "serving"]
            assert len(serving) <= 1, f"{shard} is served by {[h for h, _ in serving]}"
            for host, process in serving:
                assert host == self.owner_of(shard), f"{shard} is served by {host}, owned by {self.owner_of(shard)}"
                lost = set(self.acknowledged[shard]) - set(process.writes)
                assert not lost, f"{shard} lost writes {lost}"

    def serving_host(self, shard: str) -> str:
        found = [h for (h, s), p in self.processes.items() if s == shard and p.state == "serving"]
        assert len(found) == 1, f"{shard} is served by {found}"
        return found[0]


class FakeTransport:
    def __init__(self, world: World, host: str) -> None:
        self.world, self.host = world, host

    async def connect(self) -> None:
        self.world.reach(self.host, "connect")

    async def run(self, command: str) -> None:
        if self.host in self.world.silent:
            await asyncio.Event().wait()


class FakeRouter:
    """Sends by its table; what is held waits, and is sent once it is let go."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.table: RoutingTable | None = None
        self.held: dict[str, list[int]] = {}
        self.broken = False
        self.dropped: list[tuple[str, int]] = []

    def write(self, shard: str, value: int) -> None:
        if shard in self.held:
            self.held[shard].append(value)
            return
        assert self.table is not None
        route = next(r for r in self.table.routes if r.shard == shard)
        process = self.world.processes.get((route.address, shard))
        if process is not None and process.state == "serving" and process.token == route.token:
            process.writes.append(value)
            self.world.acknowledged[shard].append(value)
        else:
            self.dropped.append((shard, value))

    def _works(self) -> None:
        if self.broken:
            raise HostError("router", "control", "connection refused")

    async def hold(self, shard: str, deadline: float, *, firm: bool = False) -> None:
        self._works()
        self.held.setdefault(shard, [])

    async def release(self, shard: str) -> None:
        self._works()
        for value in self.held.pop(shard, []):
            self.write(shard, value)

    async def apply(self, table: bytes, checksum: int) -> int:
        self._works()
        new = msgspec.msgpack.decode(table, type=RoutingTable)
        assert new.checksum() == checksum
        new.check()
        if self.table is None or new.generation > self.table.generation:
            self.table = new
        return self.table.generation

    async def generation(self) -> int:
        return self.table.generation if self.table else 0

    async def aclose(self) -> None:
        return
