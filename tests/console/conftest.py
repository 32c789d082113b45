"""A console on a synthetic fleet behind the real server, without a terminal."""

from __future__ import annotations

import asyncio
import math
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from frames import Daemon, Fleet, lively
from textual.pilot import Pilot

from sidestep.console.app import ConsoleApp
from sidestep.console.feed import Feed
from sidestep.console.sessions import Attached


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the daemon of this test listens; nothing of the developer's own settings is seen."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(Feed, "LATE", math.inf)  # the daemon of these tests tells of a picture when a test says so
    tmp_path.chmod(stat.S_IRWXU)
    return tmp_path / "s.sock"


@pytest.fixture
async def daemon(socket: Path) -> AsyncIterator[Daemon]:
    """A daemon with something to see."""
    async with Daemon(socket, lively()) as served:
        yield served


class Console:
    """A running console and what is on its screen."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[Any]) -> None:
        self.app, self.pilot = app, pilot

    def lines(self) -> list[str]:
        """The top screen's lines as text, as they would be written."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines())

    async def press(self, *keys: str) -> None:
        """Press keys and let the screen settle."""
        await self.pilot.press(*keys)
        await self.pilot.pause()
        self.app.beat()
        await self.pilot.pause()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Beat until the condition holds; fails after ten seconds."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            self.app.beat()
            await self.pilot.pause()
            if condition():
                return
            await asyncio.sleep(0.01)
        pytest.fail("it did not happen; on screen:\n" + self.text())

    async def sees(self, text: str) -> None:
        """Wait until the text is on screen."""
        await self.until(lambda: text in self.text())


@asynccontextmanager
async def console_on(
    path: Path, size: tuple[int, int] = (120, 40), *, wait: bool = True, **options: Any
) -> AsyncIterator[Console]:
    """A console attached to ``path``; waits for the first picture."""
    options.setdefault("patterns", False)
    feed = Feed(Attached(path))
    life = asyncio.create_task(feed.run())
    app = ConsoleApp(feed, **options)
    try:
        async with app.run_test(size=size, notifications=True) as pilot:
            console = Console(app, pilot)
            if wait:
                await console.until(lambda: feed.view is not None and not app.place.has_class("-waiting"))
            yield console
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


@pytest.fixture
def fleet(daemon: Daemon) -> Fleet:
    """The synthetic fleet of the daemon."""
    return daemon.fleet
