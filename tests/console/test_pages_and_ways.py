"""Pages and the ways between them: enter opens, escape goes back, digits, words, palette and clicks."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Console, console_on
from frames import Daemon, Fleet, lively

from sidestep.console.app import ConsoleApp
from sidestep.console.screens.pages import AppPage, HostPage, ShardPage
from sidestep.console.screens.plan import PlanPage
from sidestep.console.screens.trust import TrustPage
from sidestep.console.widgets.heat import HeatMap
from sidestep.console.widgets.linetable import LineTable


def where(console: Console) -> str:
    return console.app.place.SCOPE


async def test_the_worst_host_and_the_shards_that_cause_it_are_one_key_away(socket: Path) -> None:
    """Workflow 1: the morning glance over two hundred hosts."""
    async with Daemon(socket, lively(200, 600)) as daemon:
        daemon.time += 55
        await _glance(daemon, socket)


async def _glance(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, (120, 40)) as console:
        await console.until(lambda: any("▲ h2 " in line for line in console.lines()[2:4]))
        assert "autopilot ADVISE" in console.lines()[0]
        await console.sees("trust advise")
        assert "plan #10 SUCCEEDED" in console.text()
        await console.press("enter")
        assert where(console) == "host" and "hosts ▸ h2" in console.lines()[0]
        assert "shop-01" in console.text() and "P(cpu > 80 %)" in console.text()


async def test_enter_goes_deeper_and_escape_comes_back(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        screen = console.app.screen
        screen.query_one("#hosts", LineTable).select("h2")
        await console.press("enter", "enter")
        assert isinstance(console.app.place, ShardPage)
        assert console.app.place.name_of in {"shop-01", "shop-05", "shop-09"}
        await console.press("escape")
        assert isinstance(console.app.place, HostPage)
        await console.press("escape")
        assert where(console) == "fleet" and len(console.app.screen_stack) == 2
        await console.press("minus")
        assert isinstance(console.app.place, HostPage)
        await console.press("5")
        assert where(console) == "log" and len(console.app.screen_stack) == 2


async def test_every_page_says_what_it_is_about(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("colon", *"why shop-01", "enter")
        await console.sees("shop-01 moves")
        assert isinstance(console.app.place, ShardPage)
        await console.sees("model trend")
        assert "#12 proposed  migrate shop-01  h2 → h4" in console.text()
        await console.press("colon", *"app shop", "enter")
        await console.sees("12 running")
        assert isinstance(console.app.place, AppPage) and "12 shards on 4 hosts" in console.text()
        await console.press("t")
        await console.sees("ADVISE holds")
        assert isinstance(console.app.place, TrustPage) and "6 of 5 good judgements" in console.text()
        await console.press("colon", *"plan 11", "enter")
        await console.sees("plan #11 RUNNING")
        assert isinstance(console.app.place, PlanPage)
        await console.press("colon", *"plan 99", "enter")
        await console.sees("no plan is 99")
        await console.press("escape", "escape", "escape", "escape", "escape")
        assert where(console) == "fleet"


async def test_a_host_that_is_gone_and_a_shard_without_forecast_say_so(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        console.app.open_page("host", "h9")
        await console.sees("no host is called h9")
        console.app.open_page("shard", "shop-07")
        await console.sees("no host, shard or app shop-07")


async def test_the_forecast_screen_shows_charts_accuracy_and_what_is_to_come(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("3")
        await console.sees("WORST FIRST")
        for text in ("P(CPU)", "✓ 2 proven", "skill +0.41", "no event is announced", "+0.30"):
            assert text in console.text(), text
        await console.press("enter")
        assert where(console) == "host"


async def test_commands_are_found_by_letters_and_lines_are_remembered(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("ctrl+p", *"plac")
        assert any(":shards" in line for line in console.lines())
        await console.press("escape", "ctrl+p", *"forecast", "enter")
        await console.until(lambda: where(console) == "forecast")
        await console.press("colon", *"log", "enter")
        await console.until(lambda: where(console) == "log")
        await console.press("colon", *"fleet", "enter")
        await console.until(lambda: where(console) == "fleet")
        await console.press("colon", "up", "up", "enter")
        await console.until(lambda: where(console) == "log")


async def test_a_thousand_hosts_are_one_map_on_which_a_click_chooses(socket: Path) -> None:
    async with Daemon(socket, Fleet(hosts=1000, shards=20)), console_on(socket, (200, 60)) as console:
        await console.press("v")
        heat = console.app.screen.query_one(HeatMap)
        await console.until(lambda: bool(heat._rows))
        assert len(heat._rows) <= heat.size.height
        names = " ".join(console.text().split())
        assert all(f" h{n} " in names for n in (1, 500, 999))
        await console.pilot.click(heat, offset=(12, 2))
        await console.press()
        chosen = console.app.screen.query_one("#hosts", LineTable).cursor
        assert chosen not in {"h1", "h2"} and f"fleet ▸ {chosen}" in console.lines()[0]
        await console.press("enter")
        assert isinstance(console.app.place, HostPage) and console.app.place.name_of == chosen
        await console.press("escape", "escape")
        assert console.app.screen.query_one("#hosts").region.area


async def test_the_placement_map_shows_each_shard_and_what_the_plan_brings(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("2", "v", "j", "j", "j", "w")
        rows = {line.split()[2]: line for line in console.lines() if "%" in line and " h" in line}
        assert "▸" in rows["h4"] and "PREDICTED WITH PLAN #12" in console.lines()[0]
        await console.press("l", "l")
        before = console.lines()[-2]
        assert "on h4" in before and "cores" in before
        await console.press("h")
        assert console.lines()[-2] != before
        await console.press("enter")
        assert isinstance(console.app.place, ShardPage)


async def test_the_timeline_moves_every_view_and_comes_back(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        hosts = console.app.screen.query_one("#hosts", LineTable)
        hosts.select("h2")
        await console.press(*["right_square_bracket"] * 30)
        assert "PREDICTED +60s" in console.lines()[0] or "PREDICTED +1m" in console.lines()[0]
        row = next(line for line in console.lines() if " h2 " in line and "%" in line)
        await console.press("2")
        assert "PREDICTED" in console.lines()[0] and "predicted in proportion" in console.lines()[-2]
        await console.press("0", "1")
        assert "PREDICTED" not in console.text()
        assert next(line for line in console.lines() if " h2 " in line and "%" in line) != row
        await console.press("w", "left_square_bracket")
        assert "PREDICTED WITH PLAN #12" in console.lines()[0]


async def test_the_timeline_says_when_there_is_nothing_ahead(socket: Path) -> None:
    async with Daemon(socket, Fleet()), console_on(socket) as console:
        await console.press("w")
        await console.sees("there is no plan that may still run")


async def test_a_page_is_laid_out_for_the_whole_screen_before_the_next_beat(
    daemon: Daemon, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown first when its panes have no size yet."""
    beat, shown = ConsoleApp.beat, set[str]()

    def once(app: ConsoleApp) -> None:
        if app.place.SCOPE not in shown:
            shown.add(app.place.SCOPE)
            beat(app)

    async with console_on(socket) as console:
        monkeypatch.setattr(ConsoleApp, "beat", once)
        console.app.open_page("plan", "12")
        await console.sees(" move 1 shard off h2 before it runs hot in 31 s")
        assert "migrate  shop-01" in console.text() and "plan" in shown
