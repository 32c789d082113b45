"""The Log screen: every row of the journal, whole, newest at the bottom."""

from __future__ import annotations

from pathlib import Path

from conftest import console_on
from frames import START, Daemon

from sidestep.console.screens.log import event_lines
from sidestep.console.text import plain, width_of
from sidestep.fleet.events import Event
from sidestep.fleet.labels import Label

LONG = "h2: restore: exit 1; command: ./load; log: " + "disk full " * 20


async def test_what_is_new_appears_once(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("5")
        await console.sees("proposed: move 1 shard off h2")
        daemon.events.append(
            Event(seq=3, time=START, kind="approve", text=Label("approved"), actor=Label("ana"), plan=12)
        )
        await console.sees("approved  (ana)")
        assert console.text().count("proposed: move") == 1


async def test_the_filter_works_on_the_log(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("5")
        await console.sees("proposed: move")
        await console.press("slash", *"daemon", "enter")
        assert "started in level advise" in console.text()
        assert "proposed: move" not in console.text()


def test_long_errors_are_wrapped_and_nothing_of_them_is_lost() -> None:
    lines = [plain(line) for line in event_lines(Event(seq=1, time=START, kind="error", text=Label(LONG)), 80)]
    assert len(lines) > 2
    assert all(width_of(line) <= 80 for line in lines)
    assert " ".join(" ".join(lines).split()).endswith(" ".join(LONG.split()))


async def test_it_follows_the_newest_row_until_one_scrolls_up(daemon: Daemon, socket: Path) -> None:
    rows = [Event(seq=n, time=START + n, kind="step", text=Label(f"row {n:03d}")) for n in range(3, 90)]
    daemon.events += rows
    async with console_on(socket, (80, 24)) as console:
        await console.press("5")
        await console.sees("row 089")
        await console.press("g")
        await console.sees("started in level advise")
        daemon.events.append(Event(seq=90, time=START, kind="step", text=Label("row 090")))
        screen = console.app.get_screen("log")
        await console.until(lambda: screen._events[-1].seq == 90)
        assert "started in level advise" in console.text()
        await console.press("G")
        await console.sees("row 090")


async def test_a_long_log_is_shown_from_its_end(daemon: Daemon, socket: Path) -> None:
    daemon.events += [Event(seq=n, time=START, kind="host", text=Label(f"row {n}")) for n in range(3, 9000)]
    async with console_on(socket, (80, 24)) as console:
        await console.press("5")
        await console.sees("row 8999")
        screen = console.app.get_screen("log")
        assert len(screen._events) == 2000
