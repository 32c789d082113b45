"""Late samples, hosts that come and go, wide losses, and what is told of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest
from world_doubles import FakeTime, ScriptedHost, scripted_world, settle, small_fleet

from sidestep.autopilot.world import World
from sidestep.fleet.errors import HostUnreachable
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState


class Scene:
    def __init__(self, fleet: FleetSpec | None = None) -> None:
        self.time = FakeTime()
        self.said: list[str] = []
        self.world: World
        self.hosts: dict[str, ScriptedHost]
        self.world, self.hosts = scripted_world(fleet or small_fleet(), self.time, self.said.append)

    def state(self, host: str) -> HostState:
        return self.world.states()[host]

    async def tick(self, *hosts: str, seconds: float = 1.0, late: float = 0.0, ahead: float = 0.0) -> None:
        for host in hosts:
            self.hosts[host].give(1.0, late=late, ahead=ahead)
        await self.time.advance(seconds)

    def reason(self, host: str) -> str:
        return self.world.health(host).reason

    def lose(self, *hosts: str) -> None:
        """The connections of these hosts break, and new ones are refused."""
        for host in hosts:
            error = HostUnreachable(host, "connect", "connection refused")
            self.hosts[host].refusal = error
            self.hosts[host].samples.put_nowait(error)


@contextlib.asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[Scene]:
    task = asyncio.create_task(scene.world.run())
    await settle()
    try:
        yield scene
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with running(Scene()) as scene:
        yield scene


def wide(count: int) -> FleetSpec:
    hosts = tuple(HostSpec(name=Label(f"w{n:03d}"), address=f"10.0.0.{n}", cpu=1, memory=1 << 30) for n in range(count))
    return msgspec.structs.replace(small_fleet(), hosts=hosts, shards=())


async def test_samples_that_a_link_held_back_do_not_pass_for_the_present(scene: Scene) -> None:
    """After a stall, what arrives first is old: the host's own clock says how old."""
    for _ in range(3):
        await scene.tick("h1")
    await scene.time.advance(5)
    assert scene.reason("h1") == "3 samples missed"
    await scene.tick("h1", late=5.0)
    assert scene.state("h1") is HostState.SUSPECT
    health = scene.world.health("h1")
    assert health.lag == pytest.approx(5, abs=0.1) and health.age == pytest.approx(6, abs=0.1)
    assert "arrive late" in health.reason
    await scene.tick("h1", late=0.1, seconds=0)
    assert scene.state("h1") is HostState.READY


async def test_a_host_whose_clock_stood_still_is_sampled_afresh_and_heals(scene: Scene) -> None:
    """A machine that was suspended has a clock that is behind for ever: a new run compares anew."""
    await scene.tick("h1", seconds=7)
    for _ in range(9):
        await scene.tick("h1", late=6.0)
    assert scene.state("h1") is HostState.SUSPECT and "arrive late" in scene.reason("h1")
    for _ in range(3):
        await scene.tick("h1", late=6.0)
    assert scene.state("h1") is HostState.READY
    assert scene.world.panel.restarts[0] == 1


async def test_a_sampler_that_falls_silent_is_started_again(scene: Scene) -> None:
    await scene.tick("h1", seconds=10.5)
    assert scene.state("h1") is HostState.DEAD
    await scene.time.advance(1)
    assert scene.world.panel.restarts[0] == 1
    await scene.tick("h1", seconds=0)
    assert scene.state("h1") is HostState.READY


async def test_a_host_that_comes_and_goes_must_be_steady_before_it_is_ready_again(scene: Scene) -> None:
    for _ in range(2):
        await scene.tick("h1", seconds=4)
    await scene.tick("h1", seconds=0)
    assert scene.state("h1") is HostState.READY  # two losses heal at once
    for _ in range(3):
        await scene.tick("h1", seconds=4)
    await scene.tick("h1", seconds=0)
    assert scene.state("h1") is HostState.SUSPECT
    assert "READY once it is steady" in scene.world.health("h1").reason
    changes = len(scene.said)
    for _ in range(12):
        await scene.tick("h1")
    assert scene.state("h1") is HostState.READY
    assert len(scene.said) == changes + 1


async def test_a_broken_link_is_down_in_time_also_where_samples_are_rare() -> None:
    scene = Scene(msgspec.structs.replace(small_fleet(), interval=10.0))
    async with running(scene):
        await scene.tick("h1", seconds=9)
        scene.lose("h1")
        await scene.time.advance(3.5)
        assert scene.state("h1") is HostState.DEAD
        assert scene.state("h2") is HostState.UNKNOWN


async def test_when_we_sleep_nobody_else_is_blamed(scene: Scene) -> None:
    """A controller that stood still has unread sockets, not dead hosts."""
    await scene.tick("h1", "h2", "h3")
    scene.time.now += 60
    for host in scene.hosts.values():
        host.give(1.0)
    await scene.time.advance(1)
    assert not [line for line in scene.said if "SUSPECT" in line or "DEAD" in line]


async def test_the_first_host_that_is_back_after_a_wide_loss_brings_the_others_back() -> None:
    """Ninety-nine of a hundred are back within five seconds, whatever their back-off had come to."""
    scene = Scene(wide(100))
    async with running(scene):
        await scene.tick(*scene.hosts)
        scene.lose(*scene.hosts)
        await scene.time.advance(60)
        before = {name: host.connects for name, host in scene.hosts.items()}
        assert max(before.values()) < 20
        for host in scene.hosts.values():
            host.refusal = None
        healed = scene.time.now
        while not any(host.followed for host in scene.hosts.values()):
            await scene.time.advance(0.1)
        first = scene.time.now - healed
        await scene.time.advance(0.6)
        assert all(host.followed for host in scene.hosts.values())
        assert first < 5


async def test_a_wide_loss_is_a_few_lines_and_one_trouble() -> None:
    scene = Scene(wide(200))
    async with running(scene):
        await scene.tick(*scene.hosts)
        await scene.time.advance(2)
        scene.said.clear()
        scene.lose(*scene.hosts)
        await scene.time.advance(30)
        assert len(scene.said) <= 12
        assert any("more hosts" in line and "connection refused" in line for line in scene.said)
        (trouble,) = scene.world.troubles()
        assert len(trouble.hosts) == 200 and trouble.state == "DEAD" and "200 hosts: DEAD" in str(trouble)


async def test_a_wrong_clock_is_told_once_and_again_when_it_is_right(scene: Scene) -> None:
    for _ in range(6):
        await scene.tick("h1", ahead=7.5)
    assert [line for line in scene.said if "clock" in line] == ["h1: its clock is 7.5 s ahead of ours"]
    assert scene.world.health("h1").skew == pytest.approx(7.5, abs=0.1)
    for _ in range(6):
        await scene.tick("h1")
    assert [line for line in scene.said if "clock" in line][1:] == ["h1: its clock is right again"]


async def test_health_says_how_a_host_is_connected_and_sampled(scene: Scene) -> None:
    health = scene.world.health("h1")
    assert (health.state, health.kind, health.connections) == ("UNKNOWN", "python", 1)
    assert health.age != health.age
    scene.lose("h1")
    await scene.time.advance(3)
    assert scene.world.health("h1").failures > 1
    with pytest.raises(Exception, match="no host nowhere"):
        scene.world.health("nowhere")
