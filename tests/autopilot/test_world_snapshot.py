"""The picture of the fleet: newest samples, placement, and NaN for whatever is not known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import numpy as np
import pytest
from world_doubles import FakeTime, ScriptedHost, scripted_world, settle, shard_sample, small_fleet

from sidestep.autopilot.world import ShardFacts, World
from sidestep.autopilot.world_past import Past
from sidestep.fleet.errors import HostUnreachable
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.placement import Owner, Placement
from sidestep.fleet.resources import CPU, MEMORY
from sidestep.fleet.snapshot import Snapshot, basis_for

PLACED = Placement(7, {Label(s): Owner(Label("h1"), t) for s, t in (("s1", 3), ("s2", 5), ("s3", 7))})


class Scene:
    def __init__(self) -> None:
        self.time = FakeTime()
        self.world: World
        self.hosts: dict[str, ScriptedHost]
        self.world, self.hosts = scripted_world(small_fleet(), self.time)

    def look(self, facts: ShardFacts | None = None, placement: Placement = PLACED) -> Snapshot:
        return self.world.snapshot(placement, facts or ShardFacts())


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    task = asyncio.create_task(scene.world.run())
    await settle()
    yield scene
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_pictures_are_numbered_and_cannot_be_written(scene: Scene) -> None:
    first, second = scene.look(), scene.look()
    assert (first.number, second.number, second.generation) == (1, 2, 7)
    with pytest.raises(ValueError, match="read-only"):
        second.hosts.use[0, 0] = 1.0


async def test_racks_and_storage_are_those_of_the_declaration() -> None:
    """S3.17: failure domains come with the picture, and storage that nobody declares is not known."""
    fleet = small_fleet()
    first = msgspec.structs.replace(fleet.hosts[0], rack=Label("r1"), disk=7 << 30)
    third = msgspec.structs.replace(fleet.shards[2], disk=1 << 20)
    fleet = msgspec.structs.replace(fleet, hosts=(first, *fleet.hosts[1:]), shards=(*fleet.shards[:2], third))
    picture = scripted_world(fleet, FakeTime())[0].snapshot(PLACED, ShardFacts())
    assert picture.hosts.racks == ("r1", "", "")
    assert picture.hosts.disk[0] == 7 << 30 and np.isnan(picture.hosts.disk[1:]).all()
    assert picture.shards.disk.tolist() == [0.0, 0.0, 1 << 20]


async def test_samples_become_columns_and_allocatable_is_capacity_less_the_reserve(scene: Scene) -> None:
    """S1.3: measured use of every host, in the order of the dimensions."""
    scene.hosts["h1"].give(2.5, shard_sample("s1", cpu=1.5, token=3), memory=3e9)
    await settle()
    picture = scene.look()
    assert picture.hosts.names == ("h1", "h2", "h3")
    assert picture.hosts.use[0, CPU] == 2.5 and picture.hosts.use[0, MEMORY] == 3e9
    assert np.isnan(picture.hosts.use[1]).all() and np.isnan(picture.hosts.age[1])
    assert picture.hosts.capacity[0, CPU] == 4.0 and picture.hosts.allocatable[0, CPU] == 3.0
    assert picture.shards.use[0, CPU] == 1.5 and picture.shards.token.tolist() == [3, 5, 7]
    assert picture.time == scene.time.now + 1e9


async def test_a_silent_host_has_an_age_and_no_use(scene: Scene) -> None:
    """Old numbers must not pass for new ones: the oracle would learn a flat line."""
    scene.hosts["h1"].give(2.5, shard_sample("s1", token=3))
    await settle()
    taken = scene.look()
    await scene.time.advance(4)
    picture = scene.look()
    assert picture.hosts.states[0] is HostState.SUSPECT
    assert picture.hosts.age[0] == 4 and np.isnan(picture.hosts.use[0]).all()
    assert picture.shards.states[0] is ShardState.DEGRADED and np.isnan(picture.shards.use[0]).all()
    assert picture.time == taken.time


async def test_shards_are_what_their_owners_sample_says(scene: Scene) -> None:
    scene.hosts["h1"].give(1.0, shard_sample("s1"), shard_sample("s2", running=False))
    await settle()
    picture = scene.look()
    assert picture.shards.states == (ShardState.RUNNING, ShardState.FAILED, ShardState.STOPPED)
    assert picture.shards.host.tolist() == [0, 0, 0]
    assert picture.shards.movable.tolist() == [True, False, False]


async def test_a_shard_without_an_owner_is_pending_and_nowhere(scene: Scene) -> None:
    picture = scene.look(placement=Placement(0, {}))
    assert set(picture.shards.states) == {ShardState.PENDING}
    assert picture.shards.host.tolist() == [-1, -1, -1]


async def test_pinned_and_moving_shards_are_not_movable(scene: Scene) -> None:
    scene.hosts["h1"].give(1.0, *(shard_sample(s) for s in ("s1", "s2", "s3")))
    await settle()
    picture = scene.look(ShardFacts(moving={"s2"}))
    assert picture.shards.movable.tolist() == [True, False, False]
    assert picture.shards.states[1] is ShardState.MOVING


async def test_a_shard_that_runs_where_it_is_not_owned_is_stopped_where_it_is(scene: Scene) -> None:
    scene.hosts["h1"].give(1.0)
    scene.hosts["h2"].give(1.0, shard_sample("s1", cpu=1.2, token=9))
    await settle()
    assert scene.look().shards.states[0] is ShardState.STOPPED
    there = Placement(8, {**PLACED.owners, Label("s1"): Owner(Label("h2"), 9)})
    picture = scene.look(placement=there)
    assert picture.shards.states[0] is ShardState.RUNNING and picture.shards.use[0, CPU] == pytest.approx(1.2)
    assert picture.shards.host.tolist() == [1, 0, 0]


async def test_shards_that_come_and_go_on_a_host_keep_their_rows(scene: Scene) -> None:
    host = scene.hosts["h1"]
    for names in (("s1",), ("s1", "s2"), ("s2", "s3"), ("other", "s3")):
        host.give(1.0, *(shard_sample(name, cpu=0.1 * int(name[1:]) if name[1:].isdigit() else 9) for name in names))
        await settle()
        picture = scene.look()
        running = {str(n) for n, s in zip(picture.shards.names, picture.shards.states, strict=True) if s == "RUNNING"}
        assert running == set(names) - {"other"}
        for row, name in enumerate(("s1", "s2", "s3")):
            known = picture.shards.use[row, CPU]
            assert known == pytest.approx(0.1 * (row + 1)) if name in names else np.isnan(known)


async def test_the_size_of_a_host_that_declares_none_is_what_it_says_itself_and_unknown_before() -> None:
    """A discovered size that changes is in the next picture, so that plans made for the old one are STALE."""
    time = FakeTime()
    fleet = small_fleet()
    first = msgspec.structs.replace(fleet.hosts[0], cpu=0.0, memory=0)
    world, hosts = scripted_world(msgspec.structs.replace(fleet, hosts=(first, *fleet.hosts[1:])), time)
    hosts["h1"].facts = "cpus=2.5 memory=8000000000"
    empty = Placement(0, {})
    before = world.snapshot(empty, ShardFacts())
    task = asyncio.create_task(world.run())
    try:
        hosts["h1"].give(1.0)
        await settle()
        after = world.snapshot(empty, ShardFacts())
        hosts["h1"].facts = "cpus=4 memory=8000000000"
        hosts["h1"].samples.put_nowait(HostUnreachable("h1", "sample", "rebooted"))
        await time.advance(1)
        hosts["h1"].give(1.0)
        await settle()
        later = world.snapshot(empty, ShardFacts())
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert np.isnan(before.hosts.capacity[0, CPU]) and np.isnan(before.hosts.allocatable[0, MEMORY])
    assert after.hosts.capacity[0, [CPU, MEMORY]].tolist() == [2.5, 8e9] and after.hosts.allocatable[0, CPU] == 1.5
    assert later.hosts.capacity[0, CPU] == 4 and before.hosts.capacity[1, CPU] == 4
    plan = basis_for(frozenset({"h1"}), after.hosts, empty)
    assert plan.differences(basis_for(frozenset({"h1"}), later.hosts, empty))


async def test_pressure_is_smoothed_over_ten_seconds(scene: Scene) -> None:
    for _ in range(3):
        scene.hosts["h1"].give(1.0)
        await scene.time.advance(1)
    assert scene.look().hosts.pressure[0, 0] == 0
    assert np.isnan(scene.look().hosts.pressure[0, 1:]).all()


async def test_state_sizes_are_learned_from_moves_and_unknown_before(scene: Scene) -> None:
    picture = scene.look(ShardFacts(state_bytes={"s2": 4096.0}))
    assert picture.shards.state_bytes[1] == 4096 and np.isnan(picture.shards.state_bytes[[0, 2]]).all()


async def test_the_past_keeps_the_newest_ticks_in_order(scene: Scene) -> None:
    past = Past(("h1", "h2", "h3"), steps=4)
    for cpu in (0.3, 0.6, 0.9, 1.2, 1.5):
        scene.hosts["h1"].give(cpu)
        await settle()
        past.add(scene.look())
    assert past.columns()[0, CPU].tolist() == pytest.approx([0.2, 0.3, 0.4, 0.5])
    assert np.isnan(past.columns()[1]).all()
