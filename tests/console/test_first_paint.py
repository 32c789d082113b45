"""What is on the screen before anything is known, and how soon the first picture follows."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Console
from frames import Daemon
from textual.pilot import Pilot

from sidestep.console import app as application
from sidestep.console.app import ConsoleApp, attend
from sidestep.console.feed import Feed
from sidestep.console.sessions import Attached, Say


async def test_the_line_is_opened_once_the_first_paint_says_so_and_no_beat_is_waited_for(
    daemon: Daemon, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2.21: nothing that looks like a fleet is shown before there is one."""
    monkeypatch.setattr(application, "BEAT", 3600.0)
    monkeypatch.setattr(application, "_PATIENCE", 60.0)
    shown: list[str] = []

    class Seen(Attached):
        async def open(self, say: Say) -> Path:
            shown.append("\n".join(strip.text for strip in app.screen._compositor.render_strips()))
            return await super().open(say)

    app = ConsoleApp(Feed(Seen(socket)), patterns=False)

    async def look(pilot: Pilot[Any]) -> None:
        async with asyncio.timeout(50):
            while app.place.has_class("-waiting"):
                await asyncio.sleep(0.01)
        await pilot.pause()
        shown.append(Console(app, pilot).text())
        app.exit(0)

    monkeypatch.setattr(app, "run_async", partial(app.run_async, headless=True, size=(120, 40), auto_pilot=look))
    assert await attend(app) == 0
    before, after = shown
    assert "sidestep" in before and "starting" in before and "attaching" in before
    assert "%" not in before and "hosts by" not in before and "ready" not in before
    assert "hosts by" in after and "starting" not in after and "attaching" not in after
