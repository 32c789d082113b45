"""Time that stands still until it is moved, and hosts that do what a script says."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass

from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.autopilot.world_connect import Link
from sidestep.backends.sampler.intake import Intake
from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.protocol import HOST_COLUMNS, SHARD_COLUMNS
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.inventory import FleetSpec, HostSpec, Policy, SamplerKind, ShardSpec
from sidestep.fleet.labels import Label


class FakeTime:
    """A clock that only ``advance`` moves; sleepers wake in order."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now + 1e9, monotonic=lambda: self.now, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        event = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now + seconds, len(self.slept), event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        end = self.now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, event = heapq.heappop(self._sleepers)
            self.now = max(self.now, due)
            event.set()
            await settle()
        self.now = end
        await settle()


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Shard:
    """What a host says of one of its shards: cores, fencing token."""

    name: str
    cpu: float
    token: int
    running: bool


@dataclass(frozen=True)
class Said:
    """What a host says of itself: cores, bytes; a sample that is ``late`` was made so many seconds ago."""

    cpu: float
    memory: float
    shards: tuple[Shard, ...]
    late: float
    wall: float


class ScriptedHost:
    """A transport whose connects and samples are what the test put there.

    Samples are lines of protocol 2, two for each that the test gives, a hundredth of a second
    apart, so that every one has rates.
    """

    def __init__(self, name: str, time: FakeTime) -> None:
        self.host = name
        self.connects = 0
        self.refusal: Exception | None = None
        self.facts = ""
        self.boot = "0123abcd"
        self.samples: asyncio.Queue[Said | Exception] = asyncio.Queue()
        self.closed = False
        self.panel: Panel
        #: whether a sampler runs
        self.followed = False
        self._time = time
        self._ms, self._seq = 0, 0
        self._used = dict[str, int]()
        self._names: tuple[str, ...] | None = None

    @property
    def wall(self) -> float:
        """Unix time, without the host's own error."""
        return self._time.now + 1e9

    async def connect(self) -> None:
        self.connects += 1
        if self.refusal is not None:
            raise self.refusal

    async def aclose(self) -> None:
        self.closed = True

    def give(self, cpu: float, *shards: Shard, memory: float = 1e9, late: float = 0.0, ahead: float = 0.0) -> None:
        """A sample; ``late`` was held back so long, ``ahead`` is the host's clock ahead of ours (s)."""
        self.samples.put_nowait(Said(cpu, memory, tuple(sorted(shards, key=lambda s: s.name)), late, self.wall + ahead))

    def hello(self) -> bytes:
        """The first lines of a sampler."""
        self._names = None
        facts = f"F {self.facts}\n" if self.facts else ""
        return f"H2 1 6.1 100 python {self.boot}\n{facts}".encode()

    def lines(self, said: Said) -> list[bytes]:
        """The records of one sample, each to be decoded before the next."""
        names = tuple(shard.name for shard in said.shards)
        schema = (
            f"K {len(HOST_COLUMNS)} {len(SHARD_COLUMNS)} {','.join(names) or '-'}\n" if names != self._names else ""
        )
        self._names = names
        self._ms = max(self._ms + 1, round((self._time.now - said.late) * 1000) - 10)
        first = schema + self._record(said)
        self._ms += 10
        for name, cpu in (("", said.cpu), *((shard.name, shard.cpu) for shard in said.shards)):
            self._used[name] = self._used.get(name, 10**9) + round(cpu * 1e4)
        return [first.encode(), self._record(said).encode()]

    def _record(self, said: Said) -> str:
        self._seq += 1
        host: dict[str, float] = {
            "cpu_user": self._used.get("", 10**9),
            "mem_used": said.memory,
            "wall_ms": said.wall * 1000,
            "psi_cpu_some": 0,
        }
        tokens = [f"{host[name]:.0f}" if name in host else "-" for name, _ in HOST_COLUMNS]
        for shard in said.shards:
            own = {
                "pid": 100,
                "token": shard.token,
                "running": int(shard.running),
                "cpu": self._used.get(shard.name, 10**9),
                "memory": 10**8,
            }
            tokens += [str(own[name]) if name in own else "-" for name, _ in SHARD_COLUMNS]
        return f"V {self._seq} {self._ms} {' '.join(tokens)}\n"


async def scripted_follow(
    transport: Transport, fleet: str, interval: float, intake: Callable[[], Intake], *, kind: SamplerKind = "auto"
) -> None:
    """What ``follow`` does, with a sampler that says what the test gave to the host."""
    assert isinstance(transport, Link)
    host = transport.transport
    assert isinstance(host, ScriptedHost)
    receiver = intake()
    receiver.data(host.hello())
    host.followed = True
    try:
        while True:
            item = await host.samples.get()
            if isinstance(item, Exception):
                raise item
            for line in host.lines(item):
                host.panel.decode(host.wall)
                receiver.data(line)
    finally:
        host.followed = False


def shard_sample(name: str, *, cpu: float = 0.5, token: int = 1, running: bool = True) -> Shard:
    return Shard(name, cpu, token, running)


def small_fleet(*, cordoned: bool = False, policy: Policy | None = None) -> FleetSpec:
    """Three hosts of 4 cores (1 reserved) and three shards on the first."""
    hosts = tuple(
        HostSpec(
            name=Label(name),
            address="127.0.0.1",
            cpu=4.0,
            memory=8 << 30,
            reserve_cpu=1.0,
            zone=Label(f"z-{name}"),
            cordoned=cordoned and name == "h3",
        )
        for name in ("h1", "h2", "h3")
    )
    shards = tuple(
        ShardSpec(name=Label(name), app=Label("a"), host=Label("h1"), start="true", pinned=name == "s3")
        for name in ("s1", "s2", "s3")
    )
    return FleetSpec(name=Label("f"), source="test", hosts=hosts, shards=shards, policy=policy or Policy())


def scripted_world(
    fleet: FleetSpec, time: FakeTime, report: Callable[[str], None] = lambda _: None
) -> tuple[World, dict[str, ScriptedHost]]:
    hosts: dict[str, ScriptedHost] = {}

    def transport(spec: HostSpec) -> ScriptedHost:
        return hosts.setdefault(spec.name, ScriptedHost(spec.name, time))

    world = World(fleet, transport, follow=scripted_follow, clock=time.clock(), report=report)  # type: ignore[arg-type]
    for host in hosts.values():
        host.panel = world.panel
    return world, hosts
