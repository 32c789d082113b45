"""Levels, events and orders about several hosts, from the console: typed, shown, confirmed; and what is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from conftest import console_on
from frames import Daemon

from sidestep.autopilot.protocol import SetLevel
from sidestep.autopilot.protocol_hosts import DrainHosts
from sidestep.autopilot.protocol_plans import TryDrain
from sidestep.autopilot.protocol_reshard import ProposeReshard
from sidestep.console import announcing, dividing, levelling
from sidestep.fleet.errors import UsageError


async def test_marked_hosts_are_drained_together_until_a_time(daemon: Daemon, socket: Path) -> None:
    """Each is tried with the others closed, so that what leaves one is not put on the next."""
    async with console_on(socket, (120, 40)) as console:
        table = console.app.place.table
        table.marked = frozenset({"h1", "h2"})
        console.app.run_line("drain")
        await console.sees("drain h1, h2")
        assert {TryDrain("h1", ("h2",)), TryDrain("h2", ("h1",))} <= set(daemon.wanted)
        await console.press(*"kernel", "tab", *"soon", "enter")
        assert "until soon: no time" in console.text() and not daemon.steered
        await console.press(*["backspace"] * 4, *"2h", "enter")
        await console.until(lambda: bool(daemon.steered))
        given = daemon.steered[-1]
        assert isinstance(given, DrainHosts) and given.hosts == ("h1", "h2") and given.reason == "kernel"
        assert 7000 < given.until - time.time() < 7300


async def test_a_level_that_acts_by_itself_wants_its_name_typed(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, (120, 40)) as console:
        console.app.run_line("level full app shop")
        await console.sees("no effect while the fleet is at advise")
        await console.press("escape")
        console.app.run_line("level full")
        await console.sees("trust allows advise")
        await console.press("enter")
        assert "not done: type full" in console.text() and daemon.fleet.level == "advise"
        await console.press(*"full", "enter")
        await console.until(lambda: daemon.fleet.level == "full")
        console.app.run_line("promote")
        await console.sees("allow semi")
        await console.press(*"semi", "enter")
        await console.sees("advise -> semi")
        console.app.run_line("level loud")
        await console.sees("no level loud")


def test_levels_are_read_for_the_fleet_an_app_a_shard_or_a_host() -> None:
    assert levelling.read("semi app shop") == SetLevel("semi", "", "app", "shop")
    assert levelling.read("clear") == SetLevel("", "", "fleet", "")
    for wrong in ("semi shop", "semi app", "semi zone a", "more"):
        assert isinstance(levelling.read(wrong), str), wrong


async def test_an_event_is_announced_and_stands_on_the_forecast_screen(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, (120, 40)) as console:
        console.app.run_line("event spring sale at +2h lasts 4h effect 1.5 app shop")
        await console.sees("demand times 1.5")
        await console.press("enter")
        await console.sees("event 1 is announced: spring sale")
        occasion = daemon.occasions[0].occasion
        assert (occasion.name, occasion.lasts, occasion.effect, occasion.apps) == (
            "spring sale",
            14400.0,
            1.5,
            ("shop",),
        )
        assert abs(occasion.begins - time.time() - 7200) < 120


@pytest.mark.parametrize(
    "text", ["sale", "at +2h", "sale at", "sale at never", "sale at +2h lasts long", "sale at +2h effect x"]
)
def test_an_event_that_cannot_be_read_says_why(text: str) -> None:
    with pytest.raises(UsageError):
        announcing.read(text, time.time())


async def test_a_console_that_only_looks_sets_and_announces_nothing(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, read_only=True) as console:
        for line, verb in (("level full", "level"), ("promote", "promote"), ("event a at +2h", "event")):
            console.app.run_line(line)
            await console.sees(f"{verb} is disabled")
        assert daemon.fleet.level == "advise" and not daemon.occasions


async def test_a_split_is_proposed_for_the_shard_meant_and_its_plan_is_opened(daemon: Daemon, socket: Path) -> None:
    """S1.12: only proposed; what runs is approved as any plan."""
    async with console_on(socket) as console:
        await console.press("2")
        meant = console.app.place.shard_meant()
        assert meant.startswith("shop-")
        console.app.run_line("split to h3 at 4096")
        await console.until(lambda: console.app.place.SCOPE == "plan")
        assert daemon.resharded == [ProposeReshard("split", meant, destination="h3", at=4096)]
        await console.sees(f"split {meant}")
        await console.press("a")
        await console.sees("approve: this will run")
        await console.press("escape")
        console.app.run_line("merge shop-04 spare shop-05")
        await console.until(lambda: daemon.resharded[-1] == ProposeReshard("merge", "shop-04", spare="shop-05"))
        console.app.run_line("split shop-99")
        await console.sees("no shard is called shop-99")
        assert not daemon.approved


def test_splits_and_merges_are_read_or_explained() -> None:
    assert dividing.read("split", "", "kv-1") == ProposeReshard("split", "kv-1")
    assert dividing.read("split", "kv-2 spare kv-9", "kv-1") == ProposeReshard("split", "kv-2", spare="kv-9")
    for verb, wrong in (("split", "kv-2 at noon"), ("split", "kv-2 over h1"), ("merge", "kv-2 to h1"),
                        ("split", "to h1 to h2")):  # fmt: skip
        assert isinstance(dividing.read(verb, wrong, "kv-1"), str), wrong
    assert "which shard" in str(dividing.read("split", "to h1", ""))
