"""How a host is and why: READY, SUSPECT, DEAD, refused, and never a matter of the other hosts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from world_doubles import FakeTime, ScriptedHost, scripted_world, settle, small_fleet

from sidestep.autopilot.world import World
from sidestep.autopilot.world_connect import Pace
from sidestep.fleet.errors import AuthenticationRefused, HostError, HostKeyRefused, HostUnreachable, UsageError
from sidestep.fleet.machines import HostState


class Scene:
    """A world of three scripted hosts that runs in the background, and what it reported."""

    def __init__(self, *, cordoned: bool = False) -> None:
        self.time = FakeTime()
        self.said: list[str] = []
        self.world: World
        self.hosts: dict[str, ScriptedHost]
        self.world, self.hosts = scripted_world(small_fleet(cordoned=cordoned), self.time, self.said.append)

    def state(self, host: str) -> HostState:
        return self.world.states()[host]

    def reason(self, host: str) -> str:
        return self.world.health(host).reason

    async def tick(self, *hosts: str, seconds: float = 1.0) -> None:
        """These hosts give a sample, then time passes."""
        for host in hosts:
            self.hosts[host].give(1.0)
        await settle()
        await self.time.advance(seconds)


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


def unreachable(host: str, why: str = "connection refused") -> HostUnreachable:
    return HostUnreachable(host, "connect", why)


async def test_a_host_is_unknown_until_its_first_sample_and_then_ready(scene: Scene) -> None:
    assert scene.state("h1") is HostState.UNKNOWN
    await scene.tick("h1", seconds=0)
    assert scene.state("h1") is HostState.READY
    assert scene.said == ["h1: READY"]


async def test_three_missed_samples_make_a_host_suspect_and_a_sample_heals_it(scene: Scene) -> None:
    await scene.tick("h1", seconds=2.5)
    assert scene.said == ["h1: READY"]
    await scene.time.advance(0.4)
    assert scene.said == ["h1: READY", "h1: SUSPECT: 3 samples missed"]
    assert scene.state("h1") is HostState.SUSPECT
    assert scene.reason("h1") == "3 samples missed"
    await scene.tick("h1", seconds=0)
    assert scene.state("h1") is HostState.READY
    assert scene.said == ["h1: READY", "h1: SUSPECT: 3 samples missed", "h1: READY"]


async def test_ten_seconds_of_silence_make_a_host_dead(scene: Scene) -> None:
    await scene.tick("h1", seconds=9.9)
    assert scene.state("h1") is HostState.SUSPECT
    await scene.time.advance(0.2)
    assert scene.state("h1") is HostState.DEAD
    assert "no sample for more than 10 s" in scene.reason("h1")


async def test_a_lost_connection_is_made_again_and_the_host_heals(scene: Scene) -> None:
    await scene.tick("h1")
    scene.hosts["h1"].samples.put_nowait(unreachable("h1", "connection lost"))
    await settle()
    assert scene.state("h1") is HostState.READY  # one lost connection is not yet three missed samples
    await scene.time.advance(Pace().first)
    assert scene.hosts["h1"].connects == 2
    await scene.tick("h1", seconds=0)
    assert scene.state("h1") is HostState.READY


async def test_one_host_that_fails_does_not_disturb_the_others(scene: Scene) -> None:
    scene.hosts["h2"].samples.put_nowait(unreachable("h2"))
    scene.hosts["h2"].refusal = unreachable("h2")
    scene.hosts["h3"].samples.put_nowait(RuntimeError("a bug in the sampler"))
    await settle()
    for _ in range(12):
        await scene.tick("h1")
    assert scene.state("h1") is HostState.READY
    assert scene.state("h2") is HostState.DEAD
    assert any("RuntimeError: a bug" in line for line in scene.said)
    await scene.tick("h1", "h3", seconds=0)
    assert (scene.state("h1"), scene.state("h3")) == (HostState.READY, HostState.READY)


async def test_an_unreachable_host_is_tried_with_growing_jittered_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    ceilings: list[float] = []

    def uniform(low: float, high: float) -> float:
        assert low == 0
        ceilings.append(high)
        return high

    monkeypatch.setattr("random.uniform", uniform)
    scene = Scene()
    scene.hosts["h1"].refusal = unreachable("h1")
    async with running(scene):
        for _ in range(200):
            await scene.tick("h2", "h3")
    assert ceilings[:8] == [Pace().first * 2**n for n in range(6)] + [Pace().longest] * 2
    assert scene.state("h1") is HostState.DEAD
    assert "connection refused" in scene.reason("h1")


async def test_the_same_trouble_is_said_once_until_it_changes() -> None:
    scene = Scene()
    scene.hosts["h1"].refusal = unreachable("h1")
    async with running(scene):
        await scene.time.advance(300)
        assert scene.hosts["h1"].connects > 5
        said = [line for line in scene.said if line.startswith("h1")]
        assert [line.split(":")[1].strip() for line in said] == ["SUSPECT", "DEAD"]
        scene.hosts["h1"].refusal = unreachable("h1", "no route")
        await scene.time.advance(60)
        assert len([line for line in scene.said if "no route" in line]) == 1


@pytest.mark.parametrize("refusal", [HostKeyRefused, AuthenticationRefused])
async def test_a_host_that_refuses_us_is_not_tried_again_until_somebody_says_so(refusal: type[HostError]) -> None:
    """A changed host key is never retried: knocking on would only hide it."""
    scene = Scene()
    scene.hosts["h1"].refusal = refusal("h1", "connect", "changed key", hint="sidestep trust h1")
    async with running(scene):
        await scene.time.advance(600)
        assert scene.hosts["h1"].connects == 1
        assert scene.state("h1") is HostState.DEAD
        assert "changed key" in scene.reason("h1")
        scene.hosts["h1"].refusal = None
        assert scene.world.retry_refused() == 1
        await scene.tick("h1", seconds=0)
        assert scene.state("h1") is HostState.READY
        assert scene.world.retry_refused() == 0


async def test_a_cordoned_host_is_cordoned_also_when_it_comes_back_from_the_dead() -> None:
    async with running(Scene(cordoned=True)) as scene:
        await scene.tick("h3", seconds=20)
        assert scene.state("h3") is HostState.DEAD
        await scene.tick("h3", seconds=0)
        assert scene.state("h3") is HostState.CORDONED


async def test_the_end_closes_every_connection() -> None:
    async with running(Scene()) as scene:
        pass
    assert all(host.closed for host in scene.hosts.values())


async def test_an_unknown_host_is_a_usage_error_that_names_the_known_ones(scene: Scene) -> None:
    with pytest.raises(UsageError, match="no host h9") as caught:
        scene.world.transport("h9")
    assert "h1, h2, h3" in str(caught.value)
    assert scene.world.transport("h1").host == "h1"
