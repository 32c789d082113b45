"""Pause, resume, cancel, hold and release as a program: what is printed and what is asked of the daemon."""

from __future__ import annotations

import json
from pathlib import Path

from frames import Daemon
from test_command_line import ask, run

from sidestep.autopilot.hold import Hold
from sidestep.autopilot.protocol_control import CancelPlan, HoldAll, PausePlan, ReleaseHold, ResumePlan, UndoPlan


async def test_a_plan_is_paused_and_goes_on(daemon: Daemon) -> None:
    paused = await ask(daemon, "plan", "pause", "12", "--reason", "lunch")
    assert (paused.code, paused.out) == (0, "plan #12 paused; what runs goes on to its end\n")
    assert (await ask(daemon, "plan", "resume", "12")).out == "plan #12 goes on\n"
    assert daemon.steered == [PausePlan("12", "lunch"), ResumePlan("12")]


async def test_a_cancel_says_what_it_does_to_each_action_before_it_does_it(daemon: Daemon) -> None:
    ran = await ask(daemon, "plan", "cancel", "12", "--reason", "wrong one", "--yes")
    assert ran.code == 0
    assert "does not begin" in ran.out and ran.out.endswith("plan #12 CANCELLING\n")
    asked, done = daemon.steered
    assert asked == CancelPlan("12", dry=True)
    assert isinstance(done, CancelPlan) and (done.reason, done.dry, len(done.ref)) == ("wrong one", False, 64)


async def test_a_dry_run_and_nobody_to_ask_cancel_nothing(daemon: Daemon) -> None:
    dry = await ask(daemon, "plan", "cancel", "12", "--dry-run", "--json")
    assert (dry.code, json.loads(dry.out)["done"]) == (0, False)
    alone = await ask(daemon, "plan", "cancel", "12")
    assert alone.code == 2 and "nobody is there to confirm" in alone.err
    assert all(isinstance(one, CancelPlan) and one.dry for one in daemon.steered)


async def test_a_hold_goes_through_the_daemon_that_answers(daemon: Daemon) -> None:
    assert "network work" in (await ask(daemon, "hold", "--reason", "network work")).out
    assert (await ask(daemon, "release")).code == 0
    assert daemon.steered == [HoldAll("network work"), ReleaseHold()]


async def test_a_hold_works_without_a_daemon_that_answers(tmp_path: Path) -> None:
    """By the file that it looks for, whenever it looks."""
    ran = await run("hold", "--reason", "network work", "--socket", str(tmp_path / "f.sock"), "--state", str(tmp_path))
    assert ran.code == 0 and "held, by" in ran.out
    assert Hold(tmp_path).why().endswith(": network work")
    again = await run("hold", "--socket", str(tmp_path / "f.sock"), "--state", str(tmp_path / "nowhere"))
    assert again.code == 1 and "nothing is held" in again.err


async def test_an_undo_is_shown_with_how_to_run_it(daemon: Daemon) -> None:
    ran = await ask(daemon, "undo", "12", "--reason", "wrong one")
    assert ran.code == 0 and "proposed; to run it: sidestep plan approve" in ran.out
    assert daemon.steered == [UndoPlan("12", "wrong one")]
