"""The watchdog is fed while the control loop goes round, and starves when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from loop_doubles import Scene
from manager_doubles import Manager
from world_doubles import FakeTime, settle

from sidestep.autopilot.notify import Notifier
from sidestep.autopilot.notify_pulse import Pulse
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.snapshot import Snapshot


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


class Stage:
    def __init__(self, manager: Manager, watchdog: float = 20.0) -> None:
        self.manager, self.time = manager, FakeTime()
        self.rounds, self.said, self.status = 0, list[str](), "all is well"
        self.pulse = Pulse(
            Notifier(manager.address, watchdog=watchdog),
            rounds=lambda: self.rounds,
            allowance=30.0,
            status=lambda: self.status,
            clock=self.time.clock(),
            report=self.said.append,
        )

    async def after(self, seconds: float, *, rounds: int = 0) -> list[dict[str, str]]:
        await self.time.advance(seconds)
        self.rounds += rounds
        self.pulse.look()
        return self.manager.read()


async def test_pings_come_four_times_within_the_watchdogs_time(manager: Manager) -> None:
    assert Stage(manager, watchdog=2.0).pulse.period == 0.5
    assert Stage(manager, watchdog=600.0).pulse.period == 5.0
    assert Stage(manager, watchdog=0.0).pulse.period == 5.0


async def test_a_start_asks_for_time_and_feeds_no_watchdog(manager: Manager) -> None:
    stage = Stage(manager)
    assert await stage.after(1.0) == [{"EXTEND_TIMEOUT_USEC": "60000000"}]
    stage.pulse.reloading()
    stage.pulse.reloaded()
    assert manager.read() == []
    stage.pulse.ready()
    assert manager.read() == [{"READY": "1", "STATUS": "all is well"}]


async def test_pings_stop_when_the_loop_stops_and_come_back_with_it(manager: Manager) -> None:
    """S3.23: a stuck loop is seen from outside."""
    stage = Stage(manager)
    stage.pulse.ready()
    manager.read()
    assert await stage.after(29.0) == [{"WATCHDOG": "1"}]
    assert await stage.after(2.0) == [{"STATUS": "the control loop has not gone round for 31 s"}]
    assert await stage.after(5.0) == []
    assert len(stage.said) == 1 and "watchdog" in stage.said[0]
    assert await stage.after(1.0, rounds=1) == [{"STATUS": "all is well"}, {"WATCHDOG": "1"}]
    assert await stage.after(29.0) == [{"WATCHDOG": "1"}]


async def test_a_long_start_is_not_held_against_the_loop(manager: Manager) -> None:
    stage = Stage(manager)
    await stage.after(500.0)
    stage.pulse.ready()
    manager.read()
    assert await stage.after(1.0) == [{"WATCHDOG": "1"}]


async def test_a_daemon_that_ends_is_alive_until_the_step_is_done(manager: Manager) -> None:
    stage = Stage(manager)
    stage.pulse.ready()
    stage.pulse.stopping()
    assert [m.get("STOPPING") for m in manager.read()] == [None, "1"]
    assert await stage.after(1000.0) == [{"WATCHDOG": "1"}]


async def test_a_tick_of_the_real_loop_that_hangs_stops_the_pings(manager: Manager, tmp_path: Path) -> None:
    """The oracle never answers, the event loop runs on: the control loop is what is looked at."""
    scene = Scene(tmp_path, level="off")
    never = asyncio.Event()

    async def hang(snapshot: Snapshot) -> Forecast:
        await never.wait()
        raise AssertionError("unreachable")

    pulse = Pulse(
        Notifier(manager.address, watchdog=20.0),
        rounds=lambda: scene.loop.rounds,
        allowance=30.0,
        status=lambda: "",
        clock=scene.clock,
        report=lambda _: None,
    )
    tasks = [asyncio.create_task(scene.loop.run()), asyncio.create_task(pulse.run())]
    pulse.ready()

    async def pings(seconds: int) -> int:
        fed = 0
        for _ in range(seconds):
            await scene.time.advance(1.0)
            await settle()
            fed += sum("WATCHDOG" in message for message in manager.read())
        return fed

    assert await pings(60) >= 11
    assert scene.loop.rounds > 30
    scene.oracle.forecast = hang  # type: ignore[method-assign]
    await pings(40)
    assert await pings(60) == 0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
