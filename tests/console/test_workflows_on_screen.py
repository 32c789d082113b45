"""The eight workflows of docs/workflows.md, key by key; ``scripts.workflows`` walks them on a live fleet."""

from __future__ import annotations

from pathlib import Path

import msgspec
from conftest import console_on
from frames import Daemon, Fleet, make_plan, running, succeeded

from sidestep.autopilot.protocol_control import HoldAll
from sidestep.autopilot.protocol_hosts import DrainHosts, UncordonHosts
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState


async def test_1_the_worst_host_of_two_hundred_and_its_cause_take_no_key(socket: Path) -> None:
    fleet = Fleet(hosts=200, shards=600, states={5: "DEAD"}, plans=(succeeded(make_plan(10)),))
    async with Daemon(socket, fleet) as daemon:
        daemon.time += 45
        async with console_on(socket) as console:
            await console.until(lambda: console.app.place.crumbs() == ("fleet", "h2"))
            text = console.text()
            assert "P(cpu > 80 %)" in text and "shop-01" in text and "hot" in text
            assert "x h6" in text and "down" in text, "what is gone is not at the end of two hundred rows"


async def test_2_a_plan_is_read_approved_and_followed_to_what_was_measured(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("4")
        assert "why: h2 is predicted" in console.text() and "not h1: would itself run hot" in console.text()
        await console.press("a", *"peak", "enter")
        await console.until(lambda: [each.reason for each in daemon.approved] == ["peak"])
        daemon.fleet.plans = (running(make_plan(12), 4),)
        await console.press("enter")
        daemon.tick(1)
        await console.sees("▶ transfer")
        daemon.tick(1)
        await console.sees("1s of about 1s")
        daemon.fleet.plans = (succeeded(make_plan(12)),)
        daemon.tick(1)
        await console.sees("predicted and measured peaks")


async def test_3_hosts_are_emptied_for_maintenance_and_opened_again(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press(":", *"drain h2", "enter")
        await console.sees("h2 can be emptied: 3 shards")
        await console.press(*"kernel", "tab", *"2h", "enter")
        await console.until(lambda: bool(daemon.steered))
        assert isinstance(daemon.steered[0], DrainHosts) and daemon.steered[0].reason == "kernel"
        daemon.fleet.states = {1: "DRAINED"}
        daemon.tick(1)
        await console.sees("‖ h2")
        await console.press(":", *"uncordon h2", "enter")
        await console.press("enter")
        await console.until(lambda: daemon.steered[-1] == UncordonHosts(("h2",), ""))


async def test_4_the_autopilot_goes_up_by_its_name_and_stops_by_one_key(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("t")
        await console.sees("ADVISE holds")
        assert "NO_SKILL" in console.text(), "why it was taken down stands there"
        await console.press(":", *"level semi app shop", "enter")
        await console.sees("level semi for app shop")
        await console.press(*"semi", "enter")
        await console.until(lambda: daemon.fleet.level == "semi")
        daemon.tick(1)
        await console.sees(" AUTOPILOT SEMI ")
        await console.press("H", "enter")
        await console.until(lambda: daemon.steered[-1:] == [HoldAll("")])


async def test_5_a_lost_host_and_a_stuck_step_say_host_step_command_and_log(daemon: Daemon, socket: Path) -> None:
    plan = make_plan(11)
    stuck = running(plan, 5, failed=True)
    note = Label("h4: restore: ./load exited with 3; log: no space left on device")
    first = msgspec.structs.replace(stuck.status.actions[0], note=note)
    status = msgspec.structs.replace(stuck.status, actions=(first,), state=PlanState.FAILED)
    daemon.fleet.states = {1: "DEAD"}
    daemon.fleet.plans = (msgspec.structs.replace(stuck, status=status),)
    async with console_on(socket) as console:
        assert "x h2" in console.text() and "1 dead" in console.text()
        await console.press("4")
        await console.sees("./load exited with 3; log: no space left on device")
        assert "✗ restore" in console.text()
        await console.press("u")
        await console.sees("is proposed")


async def test_6_a_hot_shard_is_the_first_row_and_its_page_says_why_it_stays(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("2")
        hottest = console.app.place.table.cursor
        await console.press("g", "enter")
        await console.until(lambda: console.app.place.SCOPE == "shard")
        await console.sees("hosts that could be asked" if hottest != "shop-01" else "why:")


async def test_7_a_known_peak_is_announced_and_tried_on_paper(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, (160, 50)) as console:
        await console.press(":", *"event sale at +30m lasts 1h effect 1.5", "enter")
        await console.sees("demand times 1.5")
        await console.press("enter")
        await console.until(lambda: bool(daemon.occasions))
        await console.press("3")
        await console.sees("sale")
        await console.press("i", "plus")
        await console.sees("what if   load=+30%")
        await console.sees("if 1, with the plan 0")


async def test_8_last_night_is_told_by_the_log_and_played_again(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("5", "slash", *"kind=plan", "enter")
        await console.sees("proposed: move 1 shard off h2")
        assert "started in level advise" not in console.text()
