"""Questions to the planner as a program: what is printed, what is asked of the daemon, and the exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from frames import Daemon
from msgspec.structs import replace
from test_command_line import ask, run

from sidestep.autopilot.protocol_plans import CancelPlanning, FindHost, GetPlanning, NewPlan, Planning
from sidestep.autopilot.protocol_resize import ProposeResize
from sidestep.console.planningtext import bar
from sidestep.fleet.labels import Label


def asked(daemon: Daemon) -> NewPlan:
    found = daemon.wanted[0]
    assert isinstance(found, NewPlan)
    return found


async def test_a_new_plan_is_shown_with_what_it_does_and_how_to_run_it(daemon: Daemon) -> None:
    """S1.28."""
    ran = await ask(daemon, "plan", "new")
    assert (ran.code, ran.err) == (0, "")
    for part in ("plan #12 PROPOSED", "shop-01", "h2 -> h4", "no plan needs fewer", "h2 cpu 83% in 31s",
                 "contention after the plan: none", "sidestep plan approve 12 --digest"):  # fmt: skip
        assert part in ran.out
    assert asked(daemon) == NewPlan()


async def test_a_what_if_is_only_shown(daemon: Daemon) -> None:
    """S1.9."""
    texts = ("drain=h3,h4", "load=app:kv:+50%")
    ran = await ask(daemon, "plan", "new", *(word for text in texts for word in ("--what-if", text)),
                    "--policy", "proactive", "--time-limit", "30s", "--without-forecast")  # fmt: skip
    assert ran.code == 0 and "what if: drain=h3,h4; load=app:kv:+50%" in ran.out
    assert "nothing is proposed" in ran.out and "plan approve" not in ran.out
    assert "1 kept, 1 changed, 1 new, 1 dropped" in ran.out
    assert asked(daemon) == NewPlan(policy="proactive", what_if=texts, time_limit=30.0, compare=True)
    (row,) = [line for line in ran.out.splitlines() if "new-1" in line]
    assert row.split()[2] == "-", "an added host has no present"


async def test_no_plan_is_exit_code_3_with_reasons(daemon: Daemon) -> None:
    """S1.13: the answer is an explanation."""
    ran = await ask(daemon, "plan", "new", "--policy", "none")
    assert (ran.code, ran.err) == (3, "")
    assert "NO_ROOM" in ran.out and "proven: no migration plan exists" in ran.out
    assert "activate h9: one more host would do [ACTIVATE]" in ran.out
    ran = await ask(daemon, "plan", "new", "--policy", "none", "--json")
    assert ran.code == 3 and json.loads(ran.out)["no_plan"]["reasons"][0]["code"] == "NO_ROOM"


async def test_a_policy_file_is_read_here_and_sent_as_text(daemon: Daemon, tmp_path: Path) -> None:
    """S3.14."""
    file = tmp_path / "mine.toml"
    file.write_text('does = "less"\n')
    await ask(daemon, "plan", "new", "--policy", str(file))
    assert asked(daemon).policy_text == 'does = "less"\n' and asked(daemon).policy == str(file)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "new", "--policy", "best"), "no policy best"),
        (("plan", "new", "--policy", "./nowhere.toml"), "nowhere.toml"),
        (("plan", "new", "--time-limit", "soon"), "--time-limit soon"),
        (("why", "nothing"), "no shard nothing"),
        (("why",), "SHARD is missing"),
        (("why-not", "shop-01"), "HOST is missing"),
        (("best-host",), "--cpu 2 --memory 4G"),
        (("best-host", "--memory", "much"), "not a size"),
        (("drain", "h2"), "--yes"),
        (("drain", "--dry-run"), "HOST is missing"),
    ],
)
async def test_what_cannot_be_asked_is_exit_code_2_and_one_message(
    daemon: Daemon, arguments: tuple[str, ...], said: str
) -> None:
    ran = await ask(daemon, *arguments)
    assert ran.code == 2 and said in ran.err and ran.out == "" and "Traceback" not in ran.err


async def test_a_job_that_failed_is_exit_code_1(daemon: Daemon) -> None:
    daemon.failed = "ZeroDivisionError: a bug"
    ran = await ask(daemon, "plan", "new")
    assert ran.code == 1 and "a bug" in ran.err and ran.out == ""


async def test_without_a_terminal_no_bar_is_drawn(daemon: Daemon) -> None:
    daemon.steps = [Planning(job=4, state="running", elapsed=float(n), done=n, total=9, moves=3) for n in range(3)]
    ran = await ask(daemon, "plan", "new")
    assert (ran.code, ran.err) == (0, "")
    assert sum(isinstance(each, GetPlanning) for each in daemon.wanted) == 4


async def test_on_a_terminal_a_bar_is_drawn_and_wiped_before_the_plan_is_printed(daemon: Daemon) -> None:
    daemon.steps = [Planning(job=4, state="running", elapsed=2.0, done=n, total=2, moves=3, bound=2) for n in range(2)]
    mine, its = os.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sidestep", "plan", "new", stdout=asyncio.subprocess.PIPE, stderr=its,
            env={**os.environ, "SIDESTEP_SOCKET": str(daemon.server.path)},
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        os.set_blocking(mine, False)
        drawn = os.read(mine, 10_000).decode()
    finally:
        os.close(mine)
        os.close(its)
    assert process.returncode == 0 and b"plan #12" in out and b"gap" not in out
    first, second, *wiped = [part for part in drawn.split("\r") if part]
    assert "best 3 moves  at least 2  gap 33%" in first and second.startswith("[############....")
    assert wiped == [" " * len(second)]


async def test_an_interrupt_takes_the_best_plan_so_far(daemon: Daemon) -> None:
    """Anytime: what was found until then is the answer."""
    daemon.steps = [Planning(job=4, state="running", elapsed=1.0)] * 100_000
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidestep", "plan", "new", stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "SIDESTEP_SOCKET": str(daemon.server.path)},
    )  # fmt: skip
    while not any(isinstance(each, GetPlanning) for each in daemon.wanted):
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        while not any(isinstance(each, CancelPlanning) for each in daemon.wanted):
            await asyncio.sleep(0.01)
        daemon.steps.clear()
        out, _ = await process.communicate()
    assert process.returncode == 0 and b"plan #12" in out


def test_the_bar_says_how_far_how_good_and_how_much_better_it_could_be() -> None:
    job = Planning(job=1, state="running", elapsed=12.0, done=50, total=100, moves=8, bound=6)
    assert bar(job, 0.0) == "[############............]  running 12s  best 8 moves  at least 6  gap 25%"
    assert bar(replace(job, total=0, moves=-1, bound=-1), 24.0).startswith("[############....")
    assert bar(replace(job, total=0, moves=0, bound=0), 0.0).endswith("best 0 moves  at least 0")


async def test_two_plans_side_by_side(daemon: Daemon) -> None:
    ran = await ask(daemon, "plan", "diff", "11", "12")
    assert ran.code == 0 and "#11 -> #12: 1 kept, 1 changed, 1 new, 1 dropped" in ran.out
    assert "destination was h3, now h4" in ran.out and "predicted peak was 88%, now 95%" in ran.out


async def test_why_a_shard_moves_and_why_it_stays(daemon: Daemon) -> None:
    """S3.14."""
    moves, stays = await ask(daemon, "why", "shop-01"), await ask(daemon, "why", "shop-02")
    assert "shop-01 moves" in moves.out and "plan #12" in moves.out and "not h1" in moves.out
    assert "shop-02 stays" in stays.out and "NO_CONTENTION" in stays.out and "h4: lacks 0.40 cores" in stays.out


async def test_why_not_names_amount_and_instant(daemon: Daemon) -> None:
    ran = await ask(daemon, "why-not", "shop-01", "h1")
    assert ran.code == 0 and "1. NO_ROOM: lacks 0.40 cores of cpu 31s from now" in ran.out
    assert "on h4, which was chosen: 20%" in ran.out


async def test_the_best_next_host_is_one_word_away_for_scripts(daemon: Daemon) -> None:
    """S1.28, S5.17."""
    ran = await ask(daemon, "best-host", "--cpu", "2", "--memory", "4G", "--app", "shop", "--near", "h4", "--json")
    assert ran.code == 0 and json.loads(ran.out)["offers"][0]["host"] == "h4"
    assert daemon.wanted == [FindHost(cpu=2.0, memory=4 * 2**30, app="shop", near="h4")]
    assert "h4" in (await ask(daemon, "best-host", "--cpu", "2")).out.splitlines()[1]
    none = await ask(daemon, "best-host", "--cpu", "9")
    assert none.code == 3 and "h1 NO_ROOM: lacks 0.40 cores" in none.out and "and 3 more" in none.out


async def test_sizes_and_policies_are_lists(daemon: Daemon) -> None:
    """S3.24."""
    assert "GROW" in (await ask(daemon, "right-size")).out
    listed = await ask(daemon, "policies")
    assert "proactive (the fleet's own)" in listed.out and "goals was headroom" in listed.out
    assert json.loads((await ask(daemon, "policies", "--json")).out)[1]["name"] == "cost-aware"


async def test_a_drain_that_is_blocked_says_what_would_unblock_it(daemon: Daemon) -> None:
    fine = await ask(daemon, "drain", "h2", "--dry-run")
    assert fine.code == 0 and "h2 can be emptied: 3 shards" in fine.out
    daemon.possible = False
    ran = await ask(daemon, "drain", "h2", "--dry-run")
    assert ran.code == 3 and "PINNED: shop-02" in ran.out and "remove pinned from shop-02" in ran.out


async def test_hostile_words_of_an_answer_do_not_reach_the_terminal(daemon: Daemon) -> None:
    daemon.failed = str(Label("\x1b[2J"))
    ran = await ask(daemon, "plan", "new")
    assert "\x1b" not in ran.err + ran.out


async def test_without_a_daemon_the_place_looked_at_is_named(socket: Path) -> None:
    ran = await run("plan", "new", "--socket", str(socket))
    assert ran.code == 1 and f"no daemon at {socket}" in ran.err


async def test_a_resize_says_only_what_is_to_change(daemon: Daemon) -> None:
    """S3.2: what is left out stays as it is; 0 is no limit."""
    ran = await ask(daemon, "plan", "resize", "shop-01", "--cpu", "1.5", "--read", "50M", "--write", "0")
    assert (ran.code, ran.err) == (0, "")
    assert "resizes shop-01" in ran.out and "sidestep plan approve 8" in ran.out
    assert daemon.resharded == [ProposeResize("shop-01", cpu=1.5, read=50 << 20, write=0)]


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--read", "lots"), "--read lots: not a size"), ((), "no limit is given"), (("--cpu", "-1"), "cpu")],
)
async def test_a_resize_that_makes_no_sense_asks_nobody(daemon: Daemon, words: tuple[str, ...], said: str) -> None:
    ran = await ask(daemon, "plan", "resize", "shop-01", *words)
    assert ran.code == 2 and said in ran.err and not daemon.resharded
