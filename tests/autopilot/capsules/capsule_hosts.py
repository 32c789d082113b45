"""Hosts that are dictionaries, a backend that keeps capsules on them, and a crash at any step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidestep.autopilot.capsules.budget import Budget
from sidestep.autopilot.capsules.carrying import Around, Carrier
from sidestep.autopilot.capsules.scrub import Scrubber
from sidestep.autopilot.capsules.shelf import Shelf
from sidestep.autopilot.capsules.sites import Sites
from sidestep.autopilot.capsules.taking import Taker
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import CapsuleCopy, CapsulePlace, SnapshotLimits, TakenCapsule
from sidestep.backends.ssh.direct import Carried
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import FleetSpec, HostSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState


class Crash(BaseException):
    """The daemon is killed."""


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Disk:
    """One host: its files, whether it answers, and how many bytes it has left."""

    host: str
    files: dict[str, bytes] = field(default_factory=dict)
    up: bool = True
    room: int = 1 << 40

    async def connect(self) -> None:
        if not self.up:
            raise HostUnreachable(self.host, "connect", "no route")


class Place:
    """A fleet of such hosts with one shard on ``owner``; ``step`` is called before everything that has an effect."""

    def __init__(self, path: Path, hosts: int = 6, replicas: int = 3, zones: int = 0) -> None:
        self.path = path
        specs = tuple(
            HostSpec(name=Label(f"h{n}"), address=f"h{n}", zone=Label(f"z{n % zones}" if zones else ""))
            for n in range(hosts)
        )
        self.spec = ShardSpec(
            name=Label("kv"), app=Label("kv"), host=Label("h0"), start="true", replicas=replicas, replicate_every=10.0
        )
        self.fleet = FleetSpec(name=Label("f"), source="", hosts=specs, shards=(self.spec,))
        self.disks = {str(h.name): Disk(str(h.name)) for h in specs}
        self.state, self.owner, self.token, self.life = b"0", "h0", 1, 1
        self.time = 1000.0
        self.said: list[str] = []
        self.left = -1
        self.states_of: dict[str, HostState] = {}
        self.journal = Journal(path)
        self.begin()

    def begin(self) -> None:
        """A new daemon on what the journal has."""
        self.journal.close()
        self.journal = Journal(self.path)
        self.journal._db.execute("PRAGMA synchronous = OFF")  # a crash of the daemon, not of its host
        clock = Clock(wall=lambda: self.time, monotonic=lambda: self.time, sleep=self._sleep)
        self.around = Around(
            fleet=self.fleet,
            shelf=Shelf(Crashing(self.journal, self.step)),  # type: ignore[arg-type]
            sites=Sites(self.fleet.hosts),
            budget=Budget(lambda: 0.0, clock),
            clock=clock,
            replicator=lambda spec: self,  # type: ignore[arg-type, return-value]
            transport=lambda host: self.disks[host],  # type: ignore[arg-type, return-value]
            states=self.states,
            owner=lambda shard: (Label(self.owner), self.token),
            report=self.said.append,
            transfer=self.transfer,
            fresh=0.0,
        )
        carrier = Carrier(self.around)
        self.taker, self.scrubber = Taker(self.around, carrier), Scrubber(self.around, carrier)

    def states(self) -> dict[str, HostState]:
        found = {h: HostState.READY if disk.up else HostState.DEAD for h, disk in self.disks.items()}
        return found | self.states_of

    async def _sleep(self, seconds: float) -> None:
        self.time += seconds

    def step(self) -> None:
        """One thing more happens, or the daemon is killed before it does."""
        if self.left == 0:
            self.left = -1
            raise Crash
        self.left -= 1 if self.left > 0 else 0

    async def round(self) -> Any:
        self.time += 1
        return await self.taker.round(self.spec)

    # -- Replicator

    async def snapshot(
        self, disk: Disk, shard: ShardSpec, token: int, seq: int, limits: SnapshotLimits
    ) -> TakenCapsule:
        self.step()
        if disk.host != self.owner or token != self.token:
            raise HostError(disk.host, "snapshot", "not the owner")
        path = f"{shard.name}/{seq}"
        disk.files[path] = self.state
        self.step()
        return TakenCapsule(
            path=path, digest=sha(self.state), bytes=len(self.state), paused=0.0, life=Label(str(self.life))
        )

    async def keep(self, disk: Disk, shard: ShardSpec, seq: int, size: int, spare: int) -> CapsulePlace:
        self.step()
        await disk.connect()
        if size > disk.room:
            raise HostError(disk.host, "keep", "no room")
        path = f"{shard.name}/{seq}"
        return CapsulePlace(path=path, digest=sha(disk.files[path]) if path in disk.files else "")

    async def transfer(self, source: Disk, here: str, there: Disk, path: str, **options: Any) -> Carried:
        self.step()
        await source.connect()
        await there.connect()
        if here not in source.files:
            raise HostError(source.host, "transfer", f"cannot read {here}")
        there.files[path] = source.files[here]
        self.step()
        return Carried(sha(there.files[path]), "relay", "")

    async def check(self, disk: Disk, copies: Sequence[tuple[str, int]], *, seconds: float) -> tuple[CapsuleCopy, ...]:
        await disk.connect()
        found = [(shard, seq, disk.files.get(f"{shard}/{seq}")) for shard, seq in copies]
        return tuple(
            CapsuleCopy(shard=Label(shard), seq=seq, digest=sha(content), bytes=len(content))
            for shard, seq, content in found
            if content is not None
        )

    async def lend(self, disk: Disk, shard: ShardSpec, seq: int, digest: str, path: str) -> None:
        content = disk.files.get(f"{shard.name}/{seq}", b"")
        if sha(content) != digest:
            raise HostError(disk.host, "lend", "another digest")
        disk.files[path] = content

    async def drop(self, disk: Disk, shard: ShardSpec, keep: Collection[int]) -> None:
        self.step()
        await disk.connect()
        for path in [p for p in disk.files if p.startswith(f"{shard.name}/")]:
            if int(path.rpartition("/")[2]) not in keep:
                self.step()
                del disk.files[path]


class Crashing:
    """The journal's capsules, with a step before and after every write."""

    def __init__(self, journal: Journal, step: Callable[[], None]) -> None:
        self._journal, self._step = journal, step

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        if name == "capsules":
            return method

        def called(*values: Any) -> None:
            self._step()
            method(*values)
            self._step()

        return called
