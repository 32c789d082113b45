"""Names, reasons and errors of others never act on the operator's terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import struct
import sys
import termios
from collections.abc import Iterable
from fcntl import ioctl
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from conftest import console_on
from frames import Daemon, lively, make_plan, view_of
from frames_functions import run
from frames_pools import pool
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidestep.console.commands import PAGES, SCREENS
from sidestep.console.guard import TerminalGuard
from sidestep.console.panels.order import OrderPanel
from sidestep.console.screens.pages import HostPage
from sidestep.console.text import width_of
from sidestep.fleet import extensions
from sidestep.fleet.events import Event
from sidestep.fleet.extensions import PAGES as PAGE_GROUP
from sidestep.fleet.labels import Label
from sidestep.fleet.pages import PageLine, PageView

CLIPBOARD, TITLE, LEAVE, C1, BIDI = "\x1b]52;c;cHduZWQ=\x07", "\x1b]0;pwned\x07", "\x1b[?1049l", "\x9b31m", "\u202egnp"
CLICK = "[@click=app.command('quit')]go[/]"
MARKUP = "[reverse]x[/nope]"
HOSTILE = (f"a{CLIPBOARD}", f"b{TITLE}{C1}", f"c{LEAVE}{BIDI}", f"{CLICK}{MARKUP}")


def hostile(daemon: Daemon) -> Daemon:
    """Every string that a daemon can send, as bad as it can be."""
    fleet = daemon.fleet
    fleet.names = HOSTILE
    fleet.plans = (view_of(make_plan(12, summary=f"why {CLIPBOARD}{MARKUP}")), *fleet.plans)
    fleet.oracle = f"fallback {LEAVE}"
    daemon.banner, daemon.notice = f"B{TITLE}", f"N{C1}"
    fleet.shard_names = HOSTILE
    rows = (pool(name, unmet=at % 2, drill_ok=at < 2, detail=name) for at, name in enumerate(HOSTILE))
    daemon.pools = replace(daemon.pools, pools=tuple(rows))
    runs = tuple(run(text, 4711 + at) for at, text in enumerate(HOSTILE))
    daemon.functions = replace(daemon.functions, runs=runs)
    daemon.events = [Event(seq=1, time=1.0, kind="error", text=Label(f"text {CLIPBOARD}{BIDI}"), actor=Label(C1))]
    return daemon


class Foul:
    """A page of a plugin that means no good."""

    def lines(self, view: PageView) -> Iterable[PageLine]:
        yield from HOSTILE
        yield [(text, "strong") for text in HOSTILE]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_no_screen_shows_a_raw_control_character_or_obeys_markup(
    socket: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    foul = {"foul": EntryPoint("foul", f"{__name__}:Foul", PAGE_GROUP)}
    monkeypatch.setattr(extensions, "entries", lambda group: foul if group == PAGE_GROUP else {})
    async with Daemon(socket, lively()) as daemon:
        hostile(daemon)
        seen: set[str] = set()
        async with console_on(socket, size) as console:
            for keys in (
                ("1",), ("v",), ("v", "2"), ("v",), ("w", "right_square_bracket"), ("0", "v", "3"), ("4",), ("enter",),
                ("a",), ("escape", "escape", "5"), ("1", "enter"), ("enter",), (":app",), ("t",), ("H",),
                ("escape", "b"), ("j",), ("j",), ("j",),
                ("escape", "o"), ("j",), ("j",), ("d",), ("enter",), ("escape", "1", "i"), ("d",), ("n",), (":drain",),
                (":page",),
                ("escape", "ctrl+p"), ("escape", "slash", "less_than_sign"), ("escape", "1", "question_mark"),
                ("escape",),
            ):  # fmt: skip
                if keys == (":app",):
                    console.app.open_page("app", console.app.given.feed.view.shards[0].app)  # type: ignore[union-attr]
                    await console.press()
                elif keys == (":drain",):
                    console.app.order("drain", (console.app.given.feed.view.host_names[0],))  # type: ignore[union-attr]
                    await console.until(lambda: isinstance(console.app.screen, OrderPanel))
                elif keys == (":page",):
                    await console.press("escape")
                    console.app.open_page("page", "foul")
                    await console.sees("b<1b>]0;pwned")
                else:
                    await console.press(*keys)
                seen |= {console.app.place.SCOPE}
                assert all(line.isprintable() for line in console.lines()), keys
                assert console.app.is_running
            assert seen == {*SCREENS, *PAGES}, "a screen is not walked"
            assert "[@click=app" in console.text()
            assert "a<1b>]52" in console.text()


async def test_clicking_a_name_runs_nothing(socket: Path) -> None:
    async with Daemon(socket, lively()) as daemon:
        hostile(daemon)
        async with console_on(socket) as console:
            for y in range(1, 8):
                await console.pilot.click("#hosts", offset=(8, y))
                if isinstance(console.app.place, HostPage):  # the row had the cursor already
                    await console.press("escape")
            await console.press()
            assert console.app.is_running
            assert console.app.return_code is None


async def test_refusals_of_the_daemon_are_shown_as_text(socket: Path) -> None:
    async with Daemon(socket, lively()) as daemon:
        daemon.stale = (f"shard {MARKUP}{CLIPBOARD}",)
        async with console_on(socket) as console:
            await console.press("4", "a", "enter")
            await console.sees("[reverse]x[/nope]<1b>]52")


@given(st.text(), st.booleans())
def test_the_last_net_keeps_the_width_and_lets_nothing_through(text: str, ascii_only: bool) -> None:
    harmless = TerminalGuard(ascii_only=ascii_only).harmless(text)
    assert harmless.isprintable()
    assert harmless.isascii() or not ascii_only
    if text.isprintable():
        assert width_of(harmless) == width_of(text)


async def test_what_reaches_a_real_terminal_holds_none_of_it(socket: Path) -> None:
    async with Daemon(socket, lively()) as daemon:
        hostile(daemon)
        master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sidestep", "--socket", str(socket),
            stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        written = await _drive(master, process)
        assert b"a<1b>]52" in written
        for bad in (b"]52;c;", b"]0;pwned", "\x9b".encode(), "\u202e".encode()):
            assert b"\x1b" + bad not in written
            assert bad not in written or bad.startswith(b"]")
        left = written.count(b"\x1b[?1049l")
        assert left == 1


async def _drive(master: int, process: asyncio.subprocess.Process) -> bytes:
    """Read what the console writes; leave it once the hosts are there. All that was written."""
    loop, written, seen = asyncio.get_running_loop(), bytearray(), asyncio.Event()

    def read() -> None:
        try:
            written.extend(os.read(master, 65536))
        except OSError:
            loop.remove_reader(master)
        if b"a<1b>]52" in written:
            seen.set()

    loop.add_reader(master, read)
    try:
        await asyncio.wait_for(seen.wait(), 20)
        os.write(master, b"4")
        os.write(master, b"q")
        await asyncio.wait_for(process.wait(), 20)
        read_rest(master, written)
    finally:
        loop.remove_reader(master)
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(master)
    assert process.returncode == 0
    return bytes(written)


def read_rest(master: int, written: bytearray) -> None:
    """What the terminal still holds after the process has ended."""
    os.set_blocking(master, False)
    try:
        while part := os.read(master, 65536):
            written.extend(part)
    except OSError:
        return
