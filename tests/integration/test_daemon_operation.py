"""A real daemon over the embedded fleet, as its operators see it: service manager, signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from operated import DEADLINE, Manager, Operated, until

pytestmark = pytest.mark.fleet


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Operated]:
    stage = Operated(tmp_path)
    await stage.open()
    yield stage
    await stage.close()


async def test_a_service_manager_is_told_of_start_life_reload_and_end(stage: Operated, tmp_path: Path) -> None:
    """S3.23: readiness, signs of life, reload and end over the manager's own socket."""
    manager = Manager(tmp_path / "notify")
    process = await stage.daemon(NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="2000000")
    await until(lambda: manager.has("READY", "1"))
    await until(lambda: manager.has("STATUS", "level advise: 2 of 2 hosts READY"))
    await until(lambda: manager.count("WATCHDOG") > 2)
    process.send_signal(signal.SIGHUP)
    await until(lambda: manager.count("RELOADING") == 1 and manager.count("READY") == 2)
    assert int(next(m["MONOTONIC_USEC"] for m in manager.messages if "RELOADING" in m)) > 0
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
    assert manager.count("STOPPING") == 1
    manager.close()
