"""The Plans screen: what was shown is what is approved, and nothing else acts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from conftest import Console, console_on
from frames import START, Daemon, Fleet, make_plan, running, succeeded, view_of

from sidestep.autopilot.protocol import Approve, Done
from sidestep.console.panels.approve import ApprovePanel
from sidestep.console.screens.plans import PlansScreen
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import NoPlan, Reason


def plans_screen(console: Console) -> PlansScreen:
    screen = console.app.get_screen("plans")
    assert isinstance(screen, PlansScreen)
    return screen


async def test_a_plan_is_shown_with_reason_evidence_alternatives_and_undo(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("4")
        text = console.text()
        for part in (
            "plan #12 PROPOSED",
            "why: h2 is predicted above 80 %",
            "[contention]",
            "P(> 80%) = 0.83",
            "before 80 % peak  95%",
            "after  80 % peak  73%",
            "not h1: would itself run hot [capacity]",
            "12M, freeze ~38 ms",
            "start before ",
            "undo: move shop-01 back to h2",
            "95% → 73%",
            "without the forecast",
            "5m left",
        ):
            assert part in text, part


async def test_a_running_plan_shows_its_steps_with_milliseconds(daemon: Daemon, socket: Path) -> None:
    daemon.fleet.plans = (running(make_plan(11), 5),)
    async with console_on(socket, (120, 50)) as console:
        await console.press("4")
        lines = console.lines()
        assert any("✓ transfer" in line and "ms" in line for line in lines)
        assert any("▶ restore" in line for line in lines)
        assert any("· commit" in line for line in lines)
        daemon.fleet.plans = (running(make_plan(11), 7),)
        daemon.tick(1)
        await console.sees("▶ commit")


async def test_a_done_plan_shows_predicted_against_measured(daemon: Daemon, socket: Path) -> None:
    daemon.fleet.plans = (succeeded(make_plan(10)),)
    async with console_on(socket) as console:
        await console.press("4")
        row = next(line for line in console.lines() if "71%" in line)
        assert [part for part in row.split() if part.endswith("%")] == ["95%", "73%", "71%"]


async def test_approve_sends_the_shown_digest_although_a_newer_plan_has_arrived(daemon: Daemon, socket: Path) -> None:
    shown = daemon.fleet.plans[0]
    async with console_on(socket) as console:
        await console.press("4")
        assert plans_screen(console).shown == shown
        newer = view_of(make_plan(13, created=START + 5))
        daemon.fleet.plans = (newer, *daemon.fleet.plans)
        daemon.tick(1)
        await console.sees("#13")
        await console.press("a")
        assert f"digest {shown.digest[:12]}" in console.text()
        even_newer = view_of(make_plan(14, created=START + 6))
        daemon.fleet.plans = (even_newer, *daemon.fleet.plans)
        daemon.tick(1)
        await console.until(lambda: any(p.plan.number == 14 for p in console.app.given.feed.plans))
        await console.press("enter")
        await console.until(lambda: bool(daemon.approved))
        assert [request.digest for request in daemon.approved] == [shown.digest]
        await console.sees("plan #12 approved")


async def test_the_dialog_says_exactly_what_will_run(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("4", "a")
        text = console.text()
        assert "1. migrate shop-01  h2 → h4" in text
        assert f"run exactly {daemon.fleet.plans[0].digest[:12]}" in text
        assert "1 action, 12M in all" in text


async def test_escape_approves_nothing(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("4", "a", "escape")
        assert not isinstance(console.app.screen, ApprovePanel)
        assert not daemon.approved


async def test_a_plan_of_many_actions_wants_its_number_typed(daemon: Daemon, socket: Path) -> None:
    daemon.fleet.plans = (view_of(make_plan(13, actions=4)),)
    async with console_on(socket) as console:
        await console.press("4", "a", "enter")
        assert "not approved: type 13" in console.text()
        await console.press("9", "enter")
        assert isinstance(console.app.screen, ApprovePanel)
        assert not daemon.approved
        await console.press("backspace", "1", "3", "enter")
        await console.until(lambda: bool(daemon.approved))


async def test_three_actions_need_an_enter_only(daemon: Daemon, socket: Path) -> None:
    daemon.fleet.plans = (view_of(make_plan(13, actions=3)),)
    async with console_on(socket) as console:
        await console.press("4", "a", "enter")
        await console.until(lambda: bool(daemon.approved))


async def test_a_stale_refusal_shows_what_is_no_longer_so(daemon: Daemon, socket: Path) -> None:
    daemon.stale = ("shard shop-01: was on h2 (token 3), now on h3 (token 4)", "host h4: state was READY, now SUSPECT")
    async with console_on(socket) as console:
        await console.press("4", "a", "enter")
        await console.sees("was on h2 (token 3), now on h3 (token 4)")
        assert "host h4: state was READY, now SUSPECT" in console.text()
        assert "STALE" in console.text()


async def test_reject_sends_the_reason(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("4", "x", *"too late", "enter")
        await console.until(lambda: bool(daemon.rejected))
        assert daemon.rejected[0].reason == "too late"
        assert daemon.rejected[0].digest == daemon.fleet.plans[0].digest
        await console.sees("REJECTED")


async def test_a_read_only_console_says_why_it_does_not_act(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, read_only=True) as console:
        await console.press("4", "a")
        await console.sees("approve is disabled: this console is read-only")
        await console.press("x")
        await console.sees("reject is disabled")
        assert "READ-ONLY" in console.lines()[0]
        assert not daemon.approved


async def test_a_decided_plan_cannot_be_approved_and_it_says_why(daemon: Daemon, socket: Path) -> None:
    daemon.fleet.plans = (succeeded(make_plan(10)),)
    async with console_on(socket) as console:
        await console.press("4", "a")
        await console.sees("approve is disabled: plan #10 is")
        assert not daemon.approved


async def test_without_any_plan_the_acting_keys_say_so(socket: Path) -> None:
    async with Daemon(socket, Fleet()) as daemon, console_on(socket) as console:
        await console.press("4", "a")
        await console.sees("no plan is selected")
        assert not daemon.approved


async def test_no_plan_is_listed_with_its_reasons(daemon: Daemon, socket: Path) -> None:
    why = (Reason("gain", Label("no move lowers the predicted peak of h2")),)
    daemon.fleet.no_plan = NoPlan(created=START, snapshot=1, forecast="f", reasons=why)
    async with console_on(socket) as console:
        await console.press("4", "G")
        assert "gain: no move lowers the predicted peak of h2" in console.text()


async def test_approving_while_the_daemon_is_gone_says_so(socket: Path) -> None:
    async with Daemon(socket, Fleet(plans=(view_of(make_plan(12)),))) as daemon, console_on(socket) as console:
        await console.press("4")
        await daemon.server.aclose()
        await console.sees("daemon gone")
        await console.press("a")
        await console.sees("approve is disabled: the daemon is gone")


async def test_acting_keys_do_nothing_on_other_screens(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        for place in ("1", "2", "3", "5"):
            await console.press(place, "a", "x", "enter")
            assert console.app.screen is console.app.place
        assert not daemon.approved
        assert not daemon.rejected


async def test_outside_the_change_window_an_approval_says_why_it_cannot_wait(daemon: Daemon, socket: Path) -> None:
    """The daemon decides; the dialog knows what it will ask, says when a window opens, and sends the reason."""
    plan = msgspec.structs.replace(make_plan(13), policy=Policy(freezes=("2000-01-01..2100-01-01",)))
    daemon.fleet.plans = (view_of(plan),)
    async with console_on(socket) as console:
        await console.press("4", "a", "enter")
        assert "a freeze is on" in console.text() and "say why it cannot wait" in console.text()
        assert not daemon.approved
        await console.press(*"outage", "enter")
        await console.until(lambda: [each.outside for each in daemon.approved] == ["outage"])


async def test_what_became_of_a_decision_is_shown_before_the_next_picture(
    daemon: Daemon, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def approve(request: Approve, actor: Label) -> Done:
        daemon.fleet.plans = tuple(
            running(each.plan, 4) for each in daemon.fleet.plans if each.digest == request.digest
        )
        return Done(Label("plan 12 is approved by ana and runs"))

    monkeypatch.setattr(daemon, "approve", approve)
    async with console_on(socket) as console:
        await console.press("4", "a", "enter")
        await console.sees("plan #12 RUNNING")
