"""Background work ends with the daemon, also where a cancellation was lost on its way."""

from __future__ import annotations

import asyncio
import io
from contextlib import suppress
from pathlib import Path

from sidestep.autopilot.daemon import Background
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.journal import Journal


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
