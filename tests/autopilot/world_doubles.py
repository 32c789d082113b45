"""Time that stands still until it is moved, and hosts that do what a script says."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable

from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.sampler import HostSample, ShardSample
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.inventory import FleetSpec, HostSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label

NAN = float("nan")


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


class ScriptedHost:
    """A transport whose connects and samples are what the test put there."""

    def __init__(self, name: str) -> None:
        self.host = name
        self.connects = 0
        self.refusal: Exception | None = None
        self.samples: asyncio.Queue[HostSample | Exception] = asyncio.Queue()
        self.closed = False

    async def connect(self) -> None:
        self.connects += 1
        if self.refusal is not None:
            raise self.refusal

    async def aclose(self) -> None:
        self.closed = True

    def give(self, cpu: float, *shards: ShardSample, memory: float = 1e9) -> None:
        use = (cpu, memory, NAN, NAN, NAN, NAN)
        self.samples.put_nowait(HostSample(Label(self.host), 0, 0.0, use, (0.0, 0.0, 0.0), shards))


async def scripted_sampler(transport: Transport, fleet: str, interval: float) -> AsyncGenerator[HostSample, None]:
    assert isinstance(transport, ScriptedHost)
    while True:
        item = await transport.samples.get()
        if isinstance(item, Exception):
            raise item
        yield item


def shard_sample(name: str, *, cpu: float = 0.5, token: int = 1, running: bool = True) -> ShardSample:
    return ShardSample(Label(name), cpu, 1e8, 100, token, running)


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
        return hosts.setdefault(spec.name, ScriptedHost(spec.name))

    world = World(fleet, transport, sampler=scripted_sampler, clock=time.clock(), report=report)  # type: ignore[arg-type]
    return world, hosts
