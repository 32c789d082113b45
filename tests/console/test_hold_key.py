"""The hold: from every screen, unmistakable, with the daemon and without it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from conftest import console_on
from frames import Daemon, lively

from sidestep.autopilot.protocol_control import HoldAll, ReleaseHold
from sidestep.fleet.labels import Label


async def test_the_hold_works_on_every_screen_and_is_released_by_the_word(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, (80, 24)) as console:
        for place in "12345t":
            await console.press(place, "H")
            assert "HOLD: nothing new begins" in console.text(), place
            await console.press("escape")
        assert not daemon.steered
        await console.press("H", *"odd", "enter")
        await console.until(lambda: daemon.steered == [HoldAll("odd")])
        whole = daemon.fleet.frame
        alert = (Label("held by ana: odd; nothing new begins until: sidestep release"),)
        daemon.fleet.frame = lambda *a: msgspec.structs.replace(whole(*a), alerts=alert)  # type: ignore[method-assign]
        daemon.tick(1)
        await console.sees("■ HOLD  ")
        assert "held by ana" in console.lines()[0]
        await console.press("H", "enter")
        assert "still held: type release" in console.text()
        await console.press(*"release", "enter")
        await console.until(lambda: daemon.steered[-1:] == [ReleaseHold("")])


async def test_without_a_daemon_the_hold_is_made_by_its_file(
    socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    state = tmp_path / "state" / "sidestep" / socket.stem
    state.mkdir(parents=True)
    async with Daemon(socket, lively()) as daemon, console_on(socket) as console:
        await daemon.server.aclose()
        await console.sees("daemon gone")
        await console.press("H", *"stuck", "enter")
        await console.until((state / "hold").exists)
        assert "stuck" in (state / "hold").read_text()


@pytest.mark.parametrize("level", ["semi", "full"])
async def test_an_autopilot_that_acts_is_unmistakable(daemon: Daemon, socket: Path, level: str) -> None:
    daemon.fleet.level = level
    async with console_on(socket, (80, 24)) as console:
        assert f" AUTOPILOT {level.upper()} " in console.lines()[0]
