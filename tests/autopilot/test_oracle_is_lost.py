"""The oracle's worker is killed and stopped again and again: ticks and plans go on, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from loop_doubles import POLICY, Scene

from sidestep.autopilot.loop import ControlLoop
from sidestep.fleet.inventory import OracleSpec
from sidestep.fleet.machines import PlanState
from sidestep.forecasting import supervisor
from sidestep.forecasting.client import Oracle

PATIENCE = 120.0
LOSSES = 20


@pytest.fixture
async def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Scene, Oracle]]:
    monkeypatch.setattr(supervisor, "BACKOFF", (0.01, 0.02))
    scene = Scene(tmp_path)
    watching = asyncio.create_task(scene.world.run())
    oracle = Oracle(
        OracleSpec(model="trend", step=1.0, season=0.0, deadline=1.0), POLICY, report=scene.log.told("forecast")
    )
    parts = scene.loop._parts
    scene.loop = ControlLoop(
        type(parts)(**{**{name: getattr(parts, name) for name in parts.__dataclass_fields__}, "oracle": oracle}),
        level="advise",
    )
    yield scene, oracle
    await oracle.aclose()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    scene.journal.close()


@pytest.mark.slow
async def test_a_worker_that_is_lost_twenty_times_stops_neither_ticks_nor_plans(lived: tuple[Scene, Oracle]) -> None:
    """S1.26: every tick has a forecast, the fallback is shown, plans are made, accounts begin with what is known."""
    scene, oracle = lived
    numbers: list[int] = []
    shown: set[str] = set()
    ramp = 0.6

    async def tick() -> str:
        nonlocal ramp
        ramp = min(2.6, ramp + 0.02)
        await scene.tick(cpu=ramp)
        picture = scene.loop.picture
        assert picture is not None and picture.forecast is not None, "every tick has a forecast"
        assert picture.forecast.hosts.shape[0] == 3
        assert picture.no_plan is not None or scene.states(), "and planning had its say"
        numbers.append(picture.snapshot.number)
        shown.add(str(picture.oracle))
        return str(picture.forecast.model)

    await oracle.start()
    for _ in range(25):
        await tick()
    for loss in range(LOSSES):
        async with asyncio.timeout(PATIENCE):
            await oracle.ready()
        victim = oracle.pid
        await tick()
        os.kill(victim, signal.SIGKILL if loss % 2 else signal.SIGSTOP)
        for _ in range(3):
            await tick()
        async with asyncio.timeout(PATIENCE):
            while oracle.pid == victim:
                await tick()
    async with asyncio.timeout(PATIENCE):
        await oracle.ready()
        while await tick() != "trend":
            pass
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "no tick was left out"
    assert any(words.startswith("fallback: persistence: ") and "restarting" in words for words in shown)
    assert scene.loop.picture is not None and scene.loop.picture.forecast is not None
    own = scene.loop.picture.forecast.accounts[0]
    assert own.model == "trend" and own.scored > 0, "the accounts begin with the steps that were kept"
    assert PlanState.PROPOSED in scene.states(), "the ramp was answered with a plan"
    said = scene.said.getvalue()
    assert "tick failed" not in said and "planning failed" not in said
    assert "Traceback" not in said
    assert msgspec.json.encode(scene.journal.plans()[0][0])
