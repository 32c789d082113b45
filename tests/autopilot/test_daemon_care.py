"""The care of the oracle: what is known to come is told, and what forecasts were worth is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from world_doubles import FakeTime, settle, small_fleet

from sidestep.autopilot.accuracy_store import AccuracyStore
from sidestep.autopilot.daemon_care import FIRST, KEEP, LOOK, Care
from sidestep.backends.sampler.schedule import ScheduledTask
from sidestep.fleet.accuracy import COLUMNS, VALUE, AccuracyBoard, section
from sidestep.fleet.labels import Label
from sidestep.fleet.occasions import Occasion


class Told:
    """An oracle that remembers what it was told, and has one board to give."""

    def __init__(self, clock: FakeTime) -> None:
        self.time = clock
        self.known: list[tuple[Occasion, ...]] = []
        self.error: Exception | None = None
        self.there = True
        self.scored = 1.0
        self.asked: list[float] = []

    async def know(self, occasions: tuple[Occasion, ...], homes: dict[str, str] | None = None) -> None:
        if self.error is not None:
            raise self.error
        self.known.append(occasions)

    async def learned(self) -> bytes:
        return b""

    async def scores(self) -> AccuracyBoard | None:
        self.asked.append(self.time.clock().monotonic())
        if not self.there:
            return None
        ones = np.ones((3, 1, 1, len(COLUMNS)), np.float32)
        ones[..., 0] = self.scored
        part = section("shard", VALUE, ("s1", "s2", "s3"), ("cpu",), (60.0,), ones)
        return AccuracyBoard(time=self.time.clock().wall(), sections=(part,))


class Scene:
    def __init__(self, folder: Path) -> None:
        self.time = FakeTime()
        self.oracle = Told(self.time)
        self.said: list[str] = []
        self.boards = AccuracyStore(folder / "accuracy.db", self.said.append, clock=self.time.clock().wall)
        wall = self.time.clock().wall()
        self.tasks = [(ScheduledTask(Label("backup"), wall + 3600.0, 86400.0),), (), ()]
        self.care = Care(
            small_fleet(), self.oracle, tasks=lambda: self.tasks, events=None, boards=self.boards,
            clock=self.time.clock(), report=self.said.append,
        )  # fmt: skip

    async def pass_by(self, seconds: float, step: float = 5.0) -> None:
        for _ in range(round(seconds / step)):
            await self.time.advance(step)
            await settle()
            await asyncio.sleep(0)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_scheduled_tasks_are_told_as_occasions(scene: Scene) -> None:
    """Issue 4: timers of the hosts are the calendar's inputs."""
    await scene.care.tell()
    ((timer,),) = scene.oracle.known
    assert (timer.name, timer.kind, timer.hosts, timer.period) == ("backup", "timer", ("h1",), 86400.0)
    await scene.care.tell()
    assert scene.oracle.known[0] is scene.oracle.known[1], "nothing is made anew while nothing changed"


async def test_an_app_has_the_account_of_its_shards(scene: Scene) -> None:
    """S4.22: stored and queryable."""
    await scene.care.keep()
    assert scene.boards.find("s1") == ("shard",)
    apps = {row.name for row in scene.boards.newest("app")}
    assert apps == {str(shard.app) for shard in small_fleet().shards}
    scene.oracle.there = False
    await scene.care.keep()


async def test_what_fails_is_said_once_and_tried_again(scene: Scene) -> None:
    scene.oracle.error = RuntimeError("not now")
    running = asyncio.create_task(scene.care.run())
    await scene.pass_by(60)
    assert [line for line in scene.said if "not now" in line] == [
        "oracle: its calendar is not kept: RuntimeError: not now"
    ]
    scene.oracle.error = None
    while not scene.oracle.known:
        await scene.pass_by(10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_board_is_kept_every_few_minutes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[float] = []

    async def keep() -> None:
        kept.append(scene.time.clock().monotonic())

    await scene.care.keep()
    monkeypatch.setattr(scene.care, "keep", keep)
    running = asyncio.create_task(scene.care.run())
    await scene.pass_by(3 * KEEP + 60, 10.0)
    assert len(kept) == 3 and min(np.diff(kept)) >= KEEP
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_new_fleet_has_a_board_as_soon_as_something_was_scored(scene: Scene) -> None:
    """Issue 4, S4.22: scores can be asked for in the first minute, and not only after the first five."""
    scene.oracle.scored, began = 0.0, scene.time.clock().monotonic()
    running = asyncio.create_task(scene.care.run())
    await scene.pass_by(FIRST + 15)
    assert scene.boards.find("s1") == () and not scene.boards.begun(), "nothing was scored by then"
    scene.oracle.scored = 1.0
    while not scene.boards.begun():
        await scene.pass_by(10)
    assert FIRST <= scene.oracle.asked[0] - began < FIRST + 2 * LOOK
    assert [row.n for row in scene.boards.newest("shard")] == [1.0, 1.0, 1.0]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_board_without_numbers_does_not_stand_before_an_older_one(scene: Scene) -> None:
    await scene.care.keep()
    scene.oracle.scored = 0.0
    await scene.care.keep()
    assert [row.n for row in scene.boards.newest("shard")] == [1.0, 1.0, 1.0]
