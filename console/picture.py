"""Pictures of the console as SVG: the same application without a terminal, for the documentation."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sidestep import themes
from sidestep.console.app import ConsoleApp
from sidestep.console.commands import SCREENS
from sidestep.console.feed import Feed
from sidestep.console.sessions import Attached
from sidestep.fleet.errors import SidestepError, UsageError

#: seconds within which the daemon has to show something
PATIENCE: Final = 20.0
_POLL: Final = 0.05


def parse_size(text: str) -> tuple[int, int]:
    """Columns and rows of ``120x40``. Raises UsageError."""
    match = re.fullmatch(r"(\d{2,3})x(\d{2,3})", text)
    if match is None:
        raise UsageError(f"--size {text}: not a size", hint="write columns x rows, such as 120x40")
    return int(match[1]), int(match[2])


def export_svg(socket: Path, size: tuple[int, int], screen: str, path: Path, *, theme: str, ascii_only: bool) -> None:
    """Attach to a live daemon, wait for its first picture, and write the screen to ``path``."""
    path.write_text(asyncio.run(svg(socket, size, screen, theme=theme, ascii_only=ascii_only)))


async def svg(
    socket: Path, size: tuple[int, int], screen: str, *, theme: str, ascii_only: bool, keys: Sequence[str] = ()
) -> str:
    """The screen as SVG text, after ``keys`` if any are given.

    Raises UsageError for an unknown screen, ThemeError, SidestepError without a picture.
    """
    if screen not in SCREENS:
        raise UsageError(f"--screen {screen}: no such screen", hint=f"one of {', '.join(SCREENS)}")
    if theme:
        themes.load(theme)  # the console itself would fall back, and say so in a corner
    feed = Feed(Attached(socket))
    patterns = ascii_only or "NO_COLOR" in os.environ  # asked before Textual takes it from the environment
    app = ConsoleApp(feed, theme=theme, ascii_only=ascii_only, patterns=patterns)
    life = asyncio.create_task(feed.run(), name="feed")
    try:
        async with app.run_test(size=size) as pilot:
            await _until_live(feed)
            app.action_command(screen)
            for key in keys:
                await pilot.press(key)
                await pilot.pause()
                app.beat()
            for _ in range(8 if keys else 3):  # the log is asked for in one beat and shown in the next
                app.beat()
                await asyncio.sleep(_POLL * 4)
                await pilot.pause()
            return app.export_screenshot(title="sidestep")
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


async def _until_live(feed: Feed) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while feed.view is None:  # noqa: ASYNC110 - the feed is pulled, it has no event
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise SidestepError(f"no picture in {PATIENCE:.0f} s: {feed.status.text or feed.status.kind}") from None
