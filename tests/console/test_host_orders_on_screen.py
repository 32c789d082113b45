"""Hosts are closed, emptied and opened from the console: typed after a colon, shown, and confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import console_on
from frames import Daemon

from sidestep.autopilot.protocol_hosts import CordonHosts, DrainHosts, UncordonHosts
from sidestep.autopilot.protocol_plans import TryDrain


async def test_a_drain_shows_what_cannot_move_before_it_is_confirmed(daemon: Daemon, socket: Path) -> None:
    daemon.possible = False
    async with console_on(socket, (80, 24)) as console:
        await console.press(":", *"drain h2", "enter")
        await console.sees("h2 cannot be emptied")
        assert "enter drain h2   esc leave it" in console.text() and "reason, for the log" in console.text()
        assert "PINNED: shop-02" in console.text() and daemon.wanted[-1] == TryDrain("h2")
        await console.press("escape")
        assert daemon.steered == []
        await console.press(":", *"drain h2", "enter")
        await console.sees("h2 cannot be emptied")
        await console.press(*"kernel", "enter")
        await console.until(lambda: daemon.steered == [DrainHosts(("h2",), "kernel")])
        await console.sees("DrainHosts: h2")


@pytest.mark.parametrize(("verb", "body"), [("cordon", CordonHosts), ("uncordon", UncordonHosts)])
async def test_a_host_is_closed_and_opened_with_a_reason(daemon: Daemon, socket: Path, verb: str, body: type) -> None:
    async with console_on(socket, (80, 24)) as console:
        await console.press(":", *f"{verb} h9", "enter")
        await console.sees("no host is called h9")
        await console.press(":", *f"{verb} h1", "enter")
        await console.sees(f"{verb} h1")
        assert daemon.steered == []
        await console.press(*"disk", "enter")
        await console.until(lambda: daemon.steered == [body(("h1",), "disk")])


async def test_a_console_that_only_looks_gives_no_orders(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, read_only=True) as console:
        for verb in ("cordon", "uncordon", "drain"):
            await console.press(":", *f"{verb} h1", "enter")
            await console.sees(f"{verb} is disabled")
        assert daemon.steered == [] and not [each for each in daemon.wanted if isinstance(each, TryDrain)]
