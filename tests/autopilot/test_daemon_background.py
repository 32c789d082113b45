"""Background work ends with the daemon, also where a cancellation was lost on its way."""

from __future__ import annotations

import asyncio
import io
from contextlib import suppress
from pathlib import Path

from sidestep.autopilot.daemon_background import Background
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.history_keeper import Keeper
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.recorder.keeper import Recorder
from sidestep.fleet.inventory import HistorySpec


async def test_work_that_misses_its_first_cancellation_is_ended_all_the_same(tmp_path: Path) -> None:
    """What is awaited may come at the moment of the cancellation, and hide it; a daemon must end even so."""
    journal = Journal(tmp_path / "journal.db")
    missed: list[str] = []

    async def work() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        missed.append("once")
        await asyncio.Event().wait()

    async with asyncio.timeout(30.0), Background(Log(journal, stream=io.StringIO())) as background:
        background.start(work(), "work")
        await asyncio.sleep(0)
    assert missed == ["once"]
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    journal.close()


async def test_what_is_switched_off_is_no_error_and_what_ends_too_early_is_one(tmp_path: Path) -> None:
    """``[history] enabled = false`` is a wish; a loop that returns or fails is not."""
    journal, said = Journal(tmp_path / "journal.db"), io.StringIO()
    spec = HistorySpec(enabled=False)
    keeper = Keeper(spec, tmp_path, interval=1.0, clock=lambda: 0.0, report=said.write)
    recorder = Recorder(spec, tmp_path, journal.events, report=said.write)

    async def work(fails: bool) -> None:
        if fails:
            raise ValueError("a bug")

    async with Background(Log(journal, stream=said)) as background:
        background.start(keeper.run(()), "history", idle=not keeper.spec.enabled)
        background.start(recorder.run(), "recorder", idle=recorder.idle)
        background.start(work(True), "idle work", idle=True)
        background.start(work(False), "loop")
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*others, return_exceptions=True)
    lines = [event.text for event in journal.events(0, 10)]
    assert lines == ["idle work ended: ValueError('a bug')", "loop ended: without a reason"]
    assert "history ended" not in said.getvalue() and "recorder ended" not in said.getvalue()
    journal.close()
