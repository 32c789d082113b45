"""The world over real SSH: hosts that stall, die and come back, and what stays on them afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.embedded import EmbeddedFleet
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState

pytestmark = pytest.mark.fleet

DEADLINE = 30.0


class Stage:
    """A running world over an embedded fleet."""

    def __init__(self, hosts: EmbeddedFleet) -> None:
        self.hosts = hosts
        self.said: list[str] = []
        keys, identity = HostKeys.load(hosts.known_hosts), str(hosts.identity)

        def transport(spec: HostSpec) -> AsyncsshTransport:
            return AsyncsshTransport(plain_target(spec, identity=identity), keys)

        fleet = FleetSpec(name=Label("world"), source="test", hosts=hosts.hosts, shards=(), interval=0.25)
        self.world = World(fleet, transport, clock=Clock(), report=self.said.append)

    def state(self, host: str) -> HostState:
        return self.world.states()[host]

    def ready(self) -> bool:
        return set(self.world.states().values()) == {HostState.READY}

    def samplers(self) -> list[str]:
        return [line for host in self.hosts.names for _, line in self.hosts.tree(host) if " world 0.250" in line]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[None]:
    task = asyncio.create_task(stage.world.run())
    try:
        await until(stage.ready)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with EmbeddedFleet(tmp_path / "fleet", hosts=3, cpu=1.0, memory=1 << 30) as hosts:
        yield Stage(hosts)


async def test_a_cut_link_is_suspected_then_down_and_heals_and_the_others_stay_ready(stage: Stage) -> None:
    async with running(stage):
        await stage.hosts.cut("h2")
        await until(lambda: stage.state("h2") is HostState.SUSPECT)
        assert stage.world.health("h2").reason == "3 samples missed"
        await until(lambda: stage.state("h2") is HostState.DEAD)
        await until(lambda: (stage.state("h1"), stage.state("h3")) == (HostState.READY, HostState.READY))
        await stage.hosts.heal("h2")
        await until(stage.ready)
    assert not [line for line in stage.said if "DEAD" in line and "h2" not in line]


async def test_hosts_that_all_lose_power_come_back(stage: Stage) -> None:
    async with running(stage):
        for host in stage.hosts.names:
            await stage.hosts.kill(host)
        await until(lambda: HostState.READY not in stage.world.states().values())
        for host in stage.hosts.names:
            await stage.hosts.revive(host)
        await until(stage.ready)
        assert all(stage.world.health(host).connections == 2 for host in stage.hosts.names)


async def test_the_end_of_the_world_leaves_no_sampler_on_any_host(stage: Stage) -> None:
    async with running(stage):
        assert len(stage.samplers()) == len(stage.hosts.names)
    await until(lambda: not stage.samplers())
