"""The Fleet screen: what it shows at which size, and that it holds still under the hand."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import msgspec
import pytest
from conftest import Console, console_on
from frames import Daemon, Fleet, make_plan, view_of

from sidestep.autopilot.protocol import HOST_STATES
from sidestep.console.screens.fleet import FleetScreen
from sidestep.console.screens.pages import HostPage
from sidestep.console.view import decode
from sidestep.console.widgets.fan import FanChart
from sidestep.console.widgets.heat import HeatStrip
from sidestep.console.widgets.linetable import LineTable
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.plans import NoPlan, Reason


def visible(console: Console) -> set[str]:
    names = ("hosts", "shards", "fan", "heat", "plans", "words", "forecast", "newest")
    return {name for name in names if console.app.screen.query_one(f"#{name}").region.area}


def fleet_screen(console: Console) -> FleetScreen:
    screen = console.app.get_screen("fleet")
    assert isinstance(screen, FleetScreen)
    return screen


async def test_eighty_columns_show_the_table_one_forecast_line_and_the_newest_plan(
    daemon: Daemon, socket: Path
) -> None:
    daemon.time += 55
    async with console_on(socket, (80, 24)) as console:
        assert visible(console) == {"hosts", "forecast", "newest"}
        lines = console.lines()
        assert all(len(line) <= 80 for line in lines)
        assert any("▲ h2" in line and " hot " in line for line in lines)
        assert any("P(cpu > 80 %) = " in line and "from " in line for line in lines)
        assert any("plan #12 PROPOSED" in line for line in lines)


async def test_a_hundred_and_twenty_columns_add_the_chart(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, (120, 40)) as console:
        assert visible(console) == {"hosts", "shards", "fan", "words", "newest"}
        fleet_screen(console).hosts.select("h2")
        await console.press()
        assert "now" in console.text()
        assert "shop-01" in console.text()


async def test_wide_terminals_add_the_heat_strip_and_the_plans(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, (200, 60)) as console:
        assert visible(console) == {"hosts", "shards", "fan", "words", "heat", "plans"}
        assert "SUCCEEDED" in console.text()


async def test_the_top_line_names_fleet_level_hosts_and_that_it_is_no_real_fleet(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        top = console.lines()[0]
        assert "demo ▸ fleet ▸ " in top
        for part in ("ADVISE", "3 ready", "1 suspect", "lag 0.1 s", "EMBEDDED", "1 day = 60 s"):
            assert part in top


async def test_the_autopilot_is_named_in_words(daemon: Daemon, socket: Path) -> None:
    daemon.fleet.level = "full"
    async with console_on(socket, (80, 24)) as console:
        assert " AUTOPILOT " in console.lines()[0]


async def test_the_cursor_stays_on_its_host_when_the_order_changes(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        hosts = fleet_screen(console).hosts
        hosts.select("h4")
        before = hosts.row
        time = count(1e9, 10.0)  # every look is ten seconds after the one before
        fleet_screen(console)._clock = lambda: next(time)
        daemon.fleet.states = {3: "DEAD"}
        daemon.tick(1)
        await console.until(lambda: hosts.row != before)
        assert hosts.cursor == "h4"
        assert "fleet ▸ h4" in console.lines()[0]


async def test_keys_and_mouse_move_the_cursor(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        hosts = fleet_screen(console).hosts
        places = []
        for keys in (("G",), ("k",), ("g",), ("j",), ("ctrl+d",), ("ctrl+u",), ("end",), ("up",), ("home",)):
            await console.press(*keys)
            places.append(hosts.row)
        assert places == [3, 2, 0, 1, 3, 1, 3, 2, 0]
        await console.pilot.click(hosts, offset=(6, 4))
        await console.press()
        assert hosts.row == 2


async def test_the_table_follows_the_cursor_over_many_hosts(socket: Path) -> None:
    async with Daemon(socket, Fleet(hosts=200, shards=400)), console_on(socket, (80, 24)) as console:
        await console.press("G")
        last = fleet_screen(console).hosts.keys[-1]
        assert any(f" {last} " in line for line in console.lines())
        assert "HOST" in console.lines()[1]
        await console.press("g")
        assert any(f" {fleet_screen(console).hosts.keys[0]} " in line for line in console.lines())


async def test_the_filter_follows_what_is_typed_and_escape_drops_it(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        hosts = fleet_screen(console).hosts
        await console.press("slash", "exclamation_mark", "h", "1")
        assert set(hosts.keys) == {"h2", "h3", "h4"}
        await console.press("enter")
        assert "/!h1" in console.lines()[0]
        await console.press("escape")
        assert set(hosts.keys) == {"h1", "h2", "h3", "h4"}


async def test_a_filter_without_match_says_so(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        fleet_screen(console).filter_by("nothing")
        await console.sees("no host matches the filter")


async def test_freeze_keeps_the_picture_and_says_so(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("f")
        before = console.lines()[2:]
        assert " FROZEN " in console.lines()[0]
        daemon.tick(25)
        await console.until(
            lambda: console.app.given.feed.view is not None and console.app.given.feed.view.frame.number > 1
        )
        assert console.lines()[2:] == before
        await console.press("f")
        await console.until(lambda: console.lines()[2:] != before)
        assert "FROZEN" not in console.text()


async def test_enter_opens_the_page_of_the_host_and_escape_goes_back(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, (80, 24)) as console:
        await console.press("enter")
        assert isinstance(console.app.place, HostPage)
        assert console.app.screen.query_one("#fan").region.area
        await console.press("escape")
        assert "hosts" in visible(console)


async def test_m_draws_the_memory(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        fleet_screen(console).hosts.select("h2")
        await console.press()
        assert "P(cpu > 80 %)" in console.text()
        await console.press("m")
        assert "P(memory > 85 %)" in console.text()
        await console.press("m")
        assert "P(cpu > 80 %)" in console.text()


async def test_no_plan_is_an_answer_with_a_reason(daemon: Daemon, socket: Path) -> None:
    daemon.fleet.plans = ()
    why = (Reason("calm", Label("no contention is predicted within 60 s")),)
    daemon.fleet.no_plan = NoPlan(created=1.0, snapshot=1, forecast="f", reasons=why)
    async with console_on(socket, (80, 24)) as console:
        assert "no plan: no contention is predicted within 60 s" in console.text()


async def test_too_few_samples_are_said(daemon: Daemon, socket: Path) -> None:
    daemon.fleet.confidence = "insufficient"
    async with console_on(socket) as console:
        fleet_screen(console).hosts.select("h2")
        await console.press()
        assert "learning: too few samples yet" in console.text()
        assert "P(cpu" not in console.text()
        (row,) = (line for line in console.lines() if "h4" in line and "learning" in line)
        assert " ?  learning" in row


async def test_only_lines_that_changed_are_painted(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, (80, 24)) as console:
        hosts = fleet_screen(console).hosts
        frame = daemon.frame()
        assert frame is not None
        await console.pilot.pause()
        painted = hosts.painted
        for _ in range(3):
            console.app.beat()
            await console.pilot.pause()
        assert hosts.painted == painted
        view = console.app.given.feed.view
        assert view is not None
        states = view.frame.host_state[:3] + bytes([HOST_STATES.index(HostState.CORDONED)])
        console.app.given.feed.view = decode(msgspec.structs.replace(view.frame, host_state=states), view)
        console.app.beat()
        await console.pilot.pause()
        assert hosts.painted == painted + 1
        assert any("‖ h4" in line and "cordoned" in line for line in console.lines())


async def test_themes_can_be_changed_while_it_runs(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        console.app.NOTIFICATION_TIMEOUT = 600.0  # a busy machine may look at it late
        dark = console.app.screen.query_one(FanChart).background_colors[1]
        await console.press("colon", *"theme day", "enter")
        await console.until(lambda: console.app.theme == "day")
        assert console.app.screen.query_one(FanChart).background_colors[1] != dark
        await console.press("colon", *"theme neon", "enter")
        # The note is wrapped wherever the folder's name ends, so its text is looked at, not the screen.
        await console.until(lambda: any("no theme is called 'neon'" in n.message for n in console.app._notifications))


async def test_the_command_line_completes_and_goes_to_a_host(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("4", "colon", *"hos", "tab", *" h3", "enter")
        await console.until(lambda: console.app.place.SCOPE == "host")
        await console.sees("hosts ▸ h3")
        await console.press("colon", *"host nowhere", "enter")
        await console.sees("no host is called nowhere")
        await console.press("colon", *"dance", "enter")
        await console.sees("dance is no command")


async def test_a_thousand_hosts_fit_the_heat_strip(socket: Path) -> None:
    async with Daemon(socket, Fleet(hosts=1000, shards=20)), console_on(socket, (200, 60)) as console:
        strip = console.app.screen.query_one("#heat", HeatStrip)
        cells = sum(1 for row in strip._rows for _ in row)
        assert cells * 2 >= 1000
        assert len(strip._rows) <= strip.size.height


async def test_ascii_screens_hold_ascii_only(daemon: Daemon, socket: Path) -> None:
    daemon.fleet.plans = (view_of(make_plan(12, summary="přesun → h4")), *daemon.fleet.plans)
    for size in ((80, 24), (200, 60)):
        async with console_on(socket, size, ascii_only=True, patterns=None) as console:
            for keys in (("1",), ("2",), ("3",), ("4",), ("5",), ("question_mark",), ("escape",), ("4", "a")):
                await console.press(*keys)
                assert console.text().replace("\n", "").isascii(), (size, keys)


async def test_tables_do_not_lose_their_columns_when_the_terminal_shrinks(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, (200, 60)) as console:
        assert "CPU TREND" in console.text()
        await console.pilot.resize_terminal(80, 24)
        await console.press()
        hosts = console.app.screen.query_one("#hosts", LineTable)
        assert hosts.size.width <= 80
        assert "MEM" in console.lines()[1]


async def test_without_colour_the_alarm_is_a_pattern_and_the_picture_is_grey(
    daemon: Daemon, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    daemon.time += 55
    async with console_on(socket, patterns=None) as console:
        fleet_screen(console).hosts.select("h2")
        await console.press()
        assert any(sign in console.text() for sign in "╱╳╬")
        colours = {
            tuple(colour.triplet)
            for strip in console.app.screen._compositor.render_strips()
            for segment in strip
            if segment.style is not None
            for colour in (segment.style.color, segment.style.bgcolor)
            if colour is not None and colour.triplet is not None
        }
        assert colours
        assert all(red == green == blue for red, green, blue in colours)


async def test_the_cursor_is_on_the_worst_host_until_one_is_chosen(daemon: Daemon, socket: Path) -> None:
    daemon.time += 45
    async with console_on(socket) as console:
        fleet = fleet_screen(console)
        await console.until(lambda: fleet.hosts.cursor == "h2")  # at first, in the order of the file, it was h1
        await console.press("j")
        chosen = fleet.hosts.cursor
        daemon.tick(200)
        await console.press()
        assert fleet.hosts.cursor == chosen != "h2"


async def test_the_longest_state_fits_its_column(daemon: Daemon, socket: Path) -> None:
    daemon.fleet.states = {0: "QUARANTINED", 1: "MAINTENANCE"}
    async with console_on(socket, (80, 24)) as console:
        assert "quarantined " in console.text() and "maintenance " in console.text()
