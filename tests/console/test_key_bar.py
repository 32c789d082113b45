"""The bottom line: the screen's keys, each of which can be clicked."""

from __future__ import annotations

from pathlib import Path

from conftest import console_on
from frames import Daemon

from sidestep.console.commands import SCREENS, on_screen
from sidestep.console.screens.plans import PlansScreen
from sidestep.console.widgets.keybar import KeyBar, key_line


def test_every_key_that_belongs_in_the_footer_is_on_the_line() -> None:
    for scope in SCREENS:
        text = "".join(part.text for part in key_line(scope))
        assert all(command.title in text for command in on_screen(scope) if command.footer)


async def test_a_click_on_a_key_does_what_the_key_does(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.sees("1 Fleet")
        at = "".join(part.text for part in key_line("fleet")).index("Plans")
        await console.pilot.click(KeyBar, offset=(at, 0))
        await console.until(lambda: isinstance(console.app.screen, PlansScreen))
        await console.sees("a Approve")
