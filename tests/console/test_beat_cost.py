"""What a beat does not do: make, keep or repaint what is the same."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import msgspec
from conftest import console_on
from frames import START, Daemon, Fleet, lively, make_plan, view_of
from textual.events import Key
from textual.geometry import Region
from textual.widgets import Input

from sidestep.console.hostcolumns import host_line
from sidestep.console.hosttext import fan_of
from sidestep.console.panels.command import PromptPanel
from sidestep.console.planlive import share
from sidestep.console.plantext import approval_lines, plan_when
from sidestep.console.settling import MANY, Settling
from sidestep.console.text import UNICODE, percent, plain, steps, thin, whole
from sidestep.console.view import decode
from sidestep.console.widgets.fan import FanChart
from sidestep.console.widgets.heat import HeatStrip
from sidestep.console.widgets.lines import LinePane, stripes
from sidestep.fleet.machines import ActionState
from sidestep.fleet.plans import ActionStatus
from sidestep.fleet.resources import CPU, MEMORY


async def test_a_picture_with_the_same_numbers_repaints_nothing(socket: Path) -> None:
    async with Daemon(socket, lively(30, 60)) as daemon, console_on(socket, (200, 60)) as console:
        await console.sees("trust advise")
        before = {pane: pane.painted for pane in console.app.place.query(LinePane)}
        rows = [chart._rows for chart in console.app.place.query(FanChart)]
        feed = console.app.given.feed
        assert feed.view is not None
        feed.view = decode(msgspec.structs.replace(feed.view.frame, number=daemon.number + 1), feed.view)
        console.app.beat()
        await console.pilot.pause()
        assert {pane: pane.painted for pane in before} == before
        assert all(chart._rows is old for chart, old in zip(console.app.place.query(FanChart), rows, strict=True))
        assert not any(strip._repaint_required for strip in console.app.place.query(HeatStrip))


def test_a_picture_is_freed_without_the_collector() -> None:
    view = decode(Fleet().frame(START, 1))
    assert view.figures.load.shape[0] == len(view.hosts)
    seen = weakref.ref(view)
    gc.disable()
    try:
        del view
        assert seen() is None
    finally:
        gc.enable()


def test_trends_of_all_hosts_are_those_of_each() -> None:
    view = decode(lively(9, 20).frame(START, 1))
    view.figures.ready(range(9))
    for host in range(9):
        row = view.figures.row(host)
        assert row.trend == steps(thin(view.history(host, CPU), 12))
        assert (row.cpu, row.memory) == (view.load(host, CPU), view.load(host, MEMORY))
        assert row.chance == view.chance(host) == view.chance(host, row.likeliest)
        assert [whole(each) for each in row.percents] == [
            percent(each) for each in (row.chance, row.cpu, row.memory, row.peak)
        ]
        assert row.condition == view.condition(host)
        assert row.shards == len(view.figures.shards_of(host)) and row.peak == view.peak(host, CPU)


def test_names_are_frozen_once_and_only_when_there_are_many() -> None:
    settling, few, many = Settling(), tuple(range(MANY - 1)), tuple(range(MANY))
    gc.unfreeze()
    try:
        assert [settling.look(names) for names in (few, many, many)] == [False, True, False]
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.freeze()  # what the tests stand on, as before


def test_changed_lines_are_told_in_blocks() -> None:
    assert stripes([0, 1, 2, 5, 7, 8], 9) == [Region(0, 0, 9, 3), Region(0, 5, 9, 1), Region(0, 7, 9, 2)]
    assert stripes([], 9) == []


def test_a_plan_that_would_not_begin_any_more_says_so_before_it_is_approved() -> None:
    item = view_of(make_plan(12, actions=2))
    latest = item.plan.actions[0].latest_start
    assert plan_when(item, latest - 1) != "too late" == plan_when(item, latest + 1)
    said = [" ".join(map(plain, approval_lines(item, at, 90, UNICODE))) for at in (latest - 1, latest + 3)]
    assert [text.count("will not begin, too late") for text in said] == [0, 2]


def test_an_action_that_never_began_is_not_drawn_as_done() -> None:
    action = make_plan(12).actions[0]
    assert share(action, ActionStatus(id=action.id, state=ActionState.CANCELLED)) == 0.0
    assert share(action, ActionStatus(id=action.id, state=ActionState.DONE)) == 1.0


async def test_what_is_typed_before_the_line_is_ready_is_not_lost(socket: Path) -> None:
    async with Daemon(socket, lively()), console_on(socket, (120, 40)) as console:
        console.app.action_command("command")
        for sign in "host":  # at once, as a terminal hands over what was pasted
            console.app.post_message(Key(sign, sign))
        await console.pilot.pause()
        await console.pilot.pause()
        panel = console.app.screen
        assert isinstance(panel, PromptPanel)
        assert panel.query_one(Input).value == "host"
        assert console.app.place.SCOPE == "fleet"


def test_a_host_that_is_down_has_no_forecast() -> None:
    fleet = lively()
    fleet.states = {1: "DEAD"}
    view = decode(fleet.frame(START, 1))
    gone, here = fan_of(view, 1, CPU), fan_of(view, 3, CPU)
    assert (gone.median, gone.bands) == ((), ()) and here.median and here.bands
    assert "→" not in plain(host_line(view, 1, 100, UNICODE)) and "→" in plain(host_line(view, 3, 100, UNICODE))
