"""The line to the daemon: waits, shows how it is, comes back; sessions end what they started."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from conftest import console_on
from frames import Daemon, Fleet, lively

from sidestep.console.app import ConsoleApp, attend
from sidestep.console.context import Picture
from sidestep.console.feed import Feed, Status
from sidestep.console.sessions import Attached, Demo, OwnDaemon
from sidestep.console.text import UNICODE, plain
from sidestep.console.view import decode
from sidestep.console.widgets.topbar import top_line
from sidestep.fleet.errors import SidestepError

STAGE = """
import json, os, sys, pathlib
assert sys.argv[1] == "--dir" and sys.argv[3:] == ["--hosts", "4", "--shards", "12", "--seed", "7"], sys.argv
folder = pathlib.Path(sys.argv[2])
(folder / "pid").write_text(str(os.getpid()))
pathlib.Path(os.environ["STAGE_SEEN"]).write_text(f"{os.getpid()} {folder}")
print(json.dumps({"phase": "starting 4 hosts"}), flush=True)
print("not json \\x1b[31m", flush=True)
if os.environ.get("STAGE_FAILS"):
    sys.exit("no port is free")
print(json.dumps({"ready": True, "socket": os.environ["STAGE_SOCKET"]}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stage(tmp_path: Path, socket: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that speaks the demo's protocol; returns where it says that it ran."""
    (tmp_path / "stage_for_tests.py").write_text(STAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("STAGE_SOCKET", str(socket))
    monkeypatch.setenv("STAGE_SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_daemon_that_dies_is_said_with_the_age_of_the_picture_and_comes_back(socket: Path) -> None:
    async with console_on(socket, wait=False) as console:
        await console.sees("no daemon")
        async with Daemon(socket, lively()):
            await console.sees("hosts by time to contention")
            assert "daemon gone" not in console.text()
        await console.sees("daemon gone, last picture ")
        assert "h2" in console.text()
        async with Daemon(socket, lively()):
            await console.until(lambda: "daemon gone" not in console.text())


async def test_a_frame_that_cannot_be_read_is_said_and_the_last_picture_stays(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        whole = daemon.fleet.frame
        daemon.fleet.frame = lambda *a: msgspec.structs.replace(whole(*a), risk=b"1234")  # type: ignore[method-assign]
        daemon.tick(1)
        await console.sees("column risk has 4 bytes")
        assert "h2" in console.text()
        daemon.fleet.frame = whole  # type: ignore[method-assign]
        daemon.tick(1)
        await console.until(lambda: "column risk" not in console.text())


async def test_a_call_while_the_line_is_down_is_an_error_that_says_so(socket: Path) -> None:
    from sidestep.autopilot.protocol import ListPlans

    with pytest.raises(SidestepError, match="daemon is gone"):
        await Feed(Attached(socket)).call(ListPlans())


async def test_the_demo_tells_its_phases_attaches_and_ends_with_the_console(
    stage: Path, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(Demo(4, 12, 7, module="stage_for_tests"))
    app = ConsoleApp(feed, patterns=False)
    async with Daemon(socket, lively()):
        life = asyncio.create_task(feed.run())
        async with app.run_test(size=(80, 24)):
            async with asyncio.timeout(20):
                while feed.view is None:
                    await asyncio.sleep(0.01)
            assert feed.status.phases == (
                "starting a live fleet on this machine",
                "starting 4 hosts",
                "not json <1b>[31m",
            )
        pid, folder = stage.read_text().split()
        assert alive(int(pid))
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        assert not alive(int(pid))
        assert not Path(folder).exists()


async def test_phases_are_on_screen_while_the_demo_starts(stage: Path, socket: Path) -> None:
    feed = Feed(Demo(4, 12, 7, module="stage_for_tests"))
    app = ConsoleApp(feed, patterns=False)
    life = asyncio.create_task(feed.run())  # nobody serves the socket: it stays in this state
    async with app.run_test(size=(80, 24)) as pilot:
        async with asyncio.timeout(20):
            while feed.status.kind != "gone":
                await asyncio.sleep(0.01)
        app.beat()
        await pilot.pause()
        text = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        assert "starting 4 hosts" in text
        assert "no daemon" in text
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)


async def test_a_demo_that_fails_says_why_and_quits_on_q(
    stage: Path, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGE_FAILS", "1")
    feed = Feed(Demo(4, 12, 7, module="stage_for_tests"))
    await asyncio.wait_for(feed.run(), 20)
    assert feed.status.kind == "failed"
    assert "the demo ended before it was ready (exit 1): no port is free" in feed.status.text


async def test_a_daemon_of_our_own_that_cannot_start_says_why(socket: Path, tmp_path: Path) -> None:
    session = OwnDaemon(tmp_path / "missing.toml", socket)
    said: list[str] = []
    with pytest.raises(SidestepError, match="the daemon ended at once"):
        await asyncio.wait_for(session.open(said.append), 30)
    await session.close()
    assert said == ["no daemon runs: starting one in level advise; it ends with this console"]


async def test_leaving_the_console_ends_the_feed(daemon: Daemon, socket: Path) -> None:
    feed, ended = Feed(Attached(socket)), []
    app = ConsoleApp(feed, patterns=False)

    async def app_ends() -> int:
        app.painted.set()
        async with asyncio.timeout(10):
            while feed.view is None:
                await asyncio.sleep(0.01)
        return 0

    app.run_async = app_ends  # type: ignore[method-assign]
    assert await attend(app, ending=lambda: ended.append(True)) == 0
    assert ended == [True]
    with pytest.raises(SidestepError):
        from sidestep.autopilot.protocol import ListPlans

        await feed.call(ListPlans())


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_what_must_not_be_missed_is_never_dropped_from_the_top_line(width: int) -> None:
    view = decode(Fleet(level="full", lag=2.5).frame())
    picture = Picture(status=Status(kind="gone"), age=12.0, view=view, frozen=True)
    text = plain(top_line(picture, ("fleet",), width, UNICODE))
    for part in ("daemon gone, last picture 12s old", "FROZEN", "AUTOPILOT"):
        assert part in text
    assert ("lag" in text) is (width >= 120)
