"""A search for a plan that takes long delays no picture, and counts when it has ended."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from loop_doubles import Scene
from world_doubles import settle

from sidestep.autopilot.frames import Picture
from sidestep.autopilot.planner import propose
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import NoPlan, Plan


class SlowPlanner:
    """The real one, which answers when the test lets it."""

    def __init__(self) -> None:
        self.go, self.ended, self.searches = threading.Event(), threading.Event(), 0
        self.raises: Exception | None = None

    def __call__(self, *args: Any, **more: Any) -> Plan | NoPlan:
        self.searches += 1
        try:
            assert self.go.wait(60)
            if self.raises is not None:
                raise self.raises
            return propose(*args, **more)
        finally:
            self.ended.set()


@pytest.fixture
def planner() -> SlowPlanner:
    return SlowPlanner()


@pytest.fixture
async def scene(tmp_path: Path, planner: SlowPlanner) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path)
    scene.proposals._planner = planner
    scene.oracle.peak = 2.9
    watching = asyncio.create_task(scene.world.run())
    yield scene
    planner.go.set()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    scene.journal.close()


async def shown(scene: Scene) -> Picture:
    """The picture of the next tick, while its time passes."""
    scene.sample(0.9)
    await scene.time.advance(1.0)
    tick = asyncio.create_task(scene.loop.tick())
    while not tick.done():
        await scene.time.advance(0.1)
        await asyncio.wait({tick}, timeout=0.01)
    return tick.result()


async def test_the_fleet_is_shown_while_a_plan_is_searched_and_the_plan_comes_when_it_is_found(
    scene: Scene, planner: SlowPlanner
) -> None:
    """S1.2, S3.14"""
    pictures = [await shown(scene) for _ in range(5)]
    assert [after.snapshot.number - before.snapshot.number for before, after in itertools.pairwise(pictures)] == [1] * 4
    assert pictures[-1].snapshot.time > pictures[0].snapshot.time
    assert planner.searches == 1, "one search at a time"
    assert any("the planner has been at work for" in line for line in pictures[-1].alerts)
    assert scene.states() == []
    planner.go.set()
    while not scene.states():
        await shown(scene)
    assert scene.states() == [PlanState.PROPOSED]
    assert not any("at work" in line for line in (await shown(scene)).alerts)


async def test_a_search_that_fails_late_is_told_and_the_next_one_begins(scene: Scene, planner: SlowPlanner) -> None:
    await shown(scene)
    planner.raises = RuntimeError("out of ideas")
    planner.go.set()
    while "planning failed: RuntimeError: out of ideas" not in scene.said.getvalue():
        await shown(scene)
    planner.raises = None
    while not scene.states():
        await shown(scene)
    assert scene.states() == [PlanState.PROPOSED]


async def test_the_loop_ends_at_once_and_leaves_a_search_behind_that_proposes_nothing(
    scene: Scene, planner: SlowPlanner
) -> None:
    scene.sample(0.9)
    running = asyncio.create_task(scene.loop.run())
    while not planner.searches:
        scene.sample(0.9)
        await scene.time.advance(0.1)
        await asyncio.wait({running}, timeout=0.01)
    running.cancel()
    await asyncio.wait({running}, timeout=10)
    assert running.cancelled()
    planner.go.set()
    await asyncio.to_thread(planner.ended.wait, 60)
    await settle()
    assert scene.states() == []
