"""What is written to the terminal when lines change: the same picture as if everything had been painted (S2.21)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Console, console_on
from frames import START, Daemon, lively
from textual.screen import Screen

from sidestep.console.app import ConsoleApp
from sidestep.console.compositing import DirectUpdate
from sidestep.console.text import width_of
from sidestep.console.view import decode
from sidestep.console.widgets.linetable import LineTable

_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)([Hm])|([^\x1b])")
Grid = dict[tuple[int, int], tuple[str, str]]


def write(grid: Grid, data: str) -> None:
    """Do what a terminal does with those sequences; anything else in them is an error."""
    x = y = 0
    looks, end = "", 0
    for found in _SEQUENCE.finditer(data):
        assert found.start() == end, f"unexpected {data[end : end + 20]!r}"
        end = found.end()
        numbers, kind, sign = found.groups()
        if kind == "H":
            y, x = (int(part) - 1 for part in numbers.split(";"))
        elif kind == "m":
            looks = "" if numbers in {"", "0"} else numbers
        elif sign == "\n":
            x, y = 0, y + 1
        else:
            grid[x, y] = (sign, looks)
            x += width_of(sign)
    assert end == len(data)


def whole(console: Console) -> Grid:
    """The screen, painted from nothing."""
    grid: Grid = {}
    write(grid, console.app.screen._compositor.render_full_update().render_segments(console.app.console))
    return grid


class Watched:
    """A terminal that has seen every update since it was made."""

    fleet = lively(70, 200)

    def __init__(self, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
        self.console, self.grid, self.direct, self.bytes = console, whole(console), 0, 0  # bytes of lines written alone

        def display(app: ConsoleApp, screen: Screen[Any], update: Any) -> None:
            if update is not None:
                data = update.render_segments(app.console)
                if isinstance(update, DirectUpdate):
                    self.direct += 1
                    self.bytes += len(data)
                write(self.grid, data)

        monkeypatch.setattr(ConsoleApp, "_display", display)

    def show(self, at: float) -> None:
        """The fleet as it is at another time."""
        feed = self.console.app.given.feed
        assert feed.view is not None
        feed.view = decode(self.fleet.frame(START + at, feed.view.frame.number + 1), feed.view)
        self.console.app.beat()

    def differs(self) -> dict[tuple[int, int], Any]:
        """Where the terminal shows something else than the screen is."""
        now = whole(self.console)
        return {at: (now[at], self.grid.get(at)) for at in now if now[at] != self.grid.get(at)}


@pytest.mark.parametrize("size", [(200, 60), (80, 24)])
async def test_lines_that_changed_make_the_picture_that_painting_everything_makes(
    socket: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(ConsoleApp, "NOTIFICATION_TIMEOUT", 600.0)  # a note that leaves in between paints too
    async with Daemon(socket, lively(70, 200)), console_on(socket, size) as console:
        await console.pilot.pause()
        seen = Watched(console, monkeypatch)
        for at in (20.0, 40.0):
            seen.show(at)
            await console.pilot.pause()
        assert seen.direct and not seen.differs()
        await console.press("j", "j", "G", "k")  # a cursor moves, a table scrolls
        seen.show(60.0)
        await console.pilot.pause()
        assert not seen.differs()
        console.app.tell("noted in the corner")
        await console.pilot.pause()
        for at in (80.0, 100.0):
            seen.show(at)
            await console.pilot.pause()
        assert not seen.differs()
        assert any("noted in the corner" in line for line in console.lines())


async def test_a_line_that_changed_is_written_alone(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Daemon(socket, lively(70, 200)), console_on(socket, (120, 40)) as console:
        await console.pilot.pause()
        seen = Watched(console, monkeypatch)
        table = console.app.place.query_one("#hosts", LineTable)
        table.refresh_line(2)
        await console.pilot.pause()
        assert seen.direct == 1 and 20 < seen.bytes < 600


async def test_what_is_under_a_dialog_is_painted_by_textual(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Daemon(socket, lively(70, 200)), console_on(socket, (120, 40)) as console:
        await console.press("H")
        seen = Watched(console, monkeypatch)
        seen.show(30.0)
        await console.pilot.pause()
        assert not seen.direct and not seen.differs()
