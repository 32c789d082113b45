"""What has to be known at once is on every screen and first in ``status``."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from conftest import console_on
from frames import Daemon, Fleet
from test_command_line import ask

from sidestep.autopilot.protocol import SnapshotFrame
from sidestep.console.context import Picture, Status
from sidestep.console.feed import Feed
from sidestep.console.text import UNICODE, plain
from sidestep.console.view import decode
from sidestep.console.widgets.topbar import top_line
from sidestep.fleet.labels import Label

ALERT = Label("nothing new begins: only 3M free in the state folder")


class Troubled(Daemon):
    """A daemon whose journal cannot be written."""

    def frame(self) -> SnapshotFrame | None:
        frame = super().frame()
        return frame and msgspec.structs.replace(frame, alerts=(ALERT,))


@pytest.mark.parametrize("width", [20, 60, 120, 200])
def test_an_alert_is_never_dropped_from_the_top_line(width: int) -> None:
    view = decode(msgspec.structs.replace(Fleet().frame(), alerts=(ALERT,)))
    text = plain(
        top_line(Picture(status=Status(kind="live"), age=0.0, view=view, frozen=False), ("fleet",), width, UNICODE)
    )
    assert "nothing new begins" in text
    assert ("only 3M free" in text) is (width >= 120)


async def test_every_screen_shows_the_alert(socket: Path) -> None:
    async with Troubled(socket, Fleet()), console_on(socket, (120, 40)) as console:
        for key in ("1", "2", "3", "4", "5"):
            await console.press(key)
            assert "nothing new begins" in console.text(), key


async def test_status_says_alerts_first(socket: Path) -> None:
    async with Troubled(socket, Fleet()) as daemon:
        done = await ask(daemon, "status")
        assert done.code == 0
        assert done.out.splitlines()[0] == f"ALERT {ALERT}"
        assert "level advise" in done.out
        told = json.loads((await ask(daemon, "status", "--json")).out)
        assert told["alerts"] == [ALERT]
        assert told["hosts"] == {"READY": 4}


async def test_status_without_trouble_has_no_alert(daemon: Daemon) -> None:
    done = await ask(daemon, "status")
    assert "ALERT" not in done.out
    assert "#12 PROPOSED" in done.out


async def test_a_picture_that_should_have_been_followed_by_another_is_called_old(
    daemon: Daemon, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is up, and the daemon's round hangs: what is shown must not pass for the present."""
    async with console_on(socket, (80, 24)) as console:
        feed = console.app.given.feed
        feed._clock = lambda: feed._received + 9.0
        await console.press()
        assert " old " not in console.lines()[0]
        monkeypatch.setattr(Feed, "LATE", 8.0)
        await console.press()
        assert " picture 9s old " in console.lines()[0]
        feed._gap = 3.0  # pictures of this daemon come every three seconds
        await console.press()
        assert " old " not in console.lines()[0]
