"""The command line as a program: what it prints, and the exit codes that docs/cli.md promises."""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
from pathlib import Path

import pytest
from frames import START, Daemon, lively
from programs import Ran, fresh, run

from sidestep import __version__
from sidestep.fleet.events import Event
from sidestep.fleet.labels import Label


async def ask(daemon: Daemon, *arguments: str, **environment: str) -> Ran:
    return await run(*arguments, SIDESTEP_SOCKET=str(daemon.server.path), **environment)


async def test_version_and_places_need_no_daemon(socket: Path) -> None:
    assert await fresh("version") == Ran(0, f"sidestep {__version__}\n", "")
    places = json.loads((await run("locate", "--json")).out)
    assert places["sockets"].startswith(str(socket.parent))
    assert places["themes"].endswith("sidestep/themes")


async def test_every_list_prints_text_and_json(daemon: Daemon) -> None:
    expected = {
        ("hosts",): "h2",
        ("shards",): "shop-01",
        ("demand", "shop", "--at", "+15m"): "shop",
        ("log",): "started in level advise",
        ("level",): "advise",
        ("plan", "list"): "PROPOSED",
        ("plan", "show", "12"): "h2",
    }
    for command, part in expected.items():
        text = await ask(daemon, *command)
        assert (text.code, text.err) == (0, ""), command
        assert part in text.out
        assert "{" not in text.out
        as_json = await ask(daemon, *command, "--json")
        assert as_json.code == 0
        assert part in json.dumps(json.loads(as_json.out))


async def test_json_has_null_for_unknown_numbers_and_nothing_raw(daemon: Daemon) -> None:
    daemon.fleet.names = ("evil\x1b]0;x\x07\u202e",)
    ran = await ask(daemon, "hosts", "--json")
    assert ran.out.isascii()
    assert "\x1b" not in ran.out
    hosts = json.loads(ran.out)
    assert {host["use"]["read_ops"] for host in hosts} == {5.0}
    shards = json.loads((await ask(daemon, "shards", "--json")).out)
    assert shards[1]["host"] == "h2"


async def test_json_says_how_well_samples_come(daemon: Daemon) -> None:
    daemon.fleet.quality = {1: (12.0, 2.0, 1.0, math.nan)}
    hosts = {host["name"]: host for host in json.loads((await ask(daemon, "hosts", "--json")).out)}
    odd = hosts["h2"]["samples"]
    assert [odd[key] for key in ("gaps", "restarts", "resets", "skew")] == [12.0, 2.0, 1.0, None]
    assert hosts["h1"]["samples"]["gaps"] == 0.0 and hosts["h1"]["samples"]["age"] == pytest.approx(0.4)


async def test_round_trips_are_shown_and_in_json(daemon: Daemon) -> None:
    """S1.16, S2.5: to every host from the controller, and between hosts as far as it was measured."""
    hosts = {host["name"]: host["round_trip"] for host in json.loads((await ask(daemon, "hosts", "--json")).out)}
    assert hosts["h2"] == {"here": 0.0011, "between": [{"host": "h1", "seconds": 0.0004, "age": 12.0}]}
    assert hosts["h1"]["here"] is None and [each["host"] for each in hosts["h1"]["between"]] == ["h2"]
    assert hosts["h3"] == {"here": None, "between": []}, "a host that nothing is known of"
    table = (await ask(daemon, "hosts")).out.splitlines()
    assert table[0].endswith(" RTT")
    assert {line.split()[0]: line.split()[-1] for line in table[1:]}["h2"] == "1.1ms"


async def test_plain_text_is_scrubbed(daemon: Daemon) -> None:
    daemon.fleet.names = ("evil\x1b]0;x\x07",)
    ran = await ask(daemon, "hosts")
    assert "\x1b" not in ran.out
    assert "evil<1b>]0;x<07>" in ran.out


async def test_approve_prints_what_runs_and_sends_that_digest(daemon: Daemon) -> None:
    item = daemon.fleet.plans[0]
    ran = await ask(daemon, "plan", "approve", "12", "--digest", item.digest[:8], "--yes", "--reason", "ok")
    assert ran.code == 0
    assert "1. migrate shop-01  h2 -> h4" in ran.out
    assert [(r.digest, r.reason) for r in daemon.approved] == [(item.digest, "ok")]


async def test_approve_refuses_another_digest(daemon: Daemon) -> None:
    ran = await ask(daemon, "plan", "approve", "12", "--digest", "abcdef", "--yes")
    assert ran.code == 1
    assert "nothing was approved" in ran.err
    assert not daemon.approved


async def test_approve_without_anybody_to_ask_is_bad_input(daemon: Daemon) -> None:
    ran = await ask(daemon, "plan", "approve", "12")
    assert ran.code == 2
    assert "--yes" in ran.err
    assert not daemon.approved


async def test_a_stale_plan_is_refused_with_its_differences(daemon: Daemon) -> None:
    daemon.stale = ("shard shop-01: was on h2 (token 3), now on h3 (token 4)",)
    ran = await ask(daemon, "plan", "approve", "12", "--yes")
    assert ran.code == 1
    assert "now on h3 (token 4)" in ran.err
    assert "Traceback" not in ran.err


async def test_reject_move_and_level_reach_the_daemon(daemon: Daemon) -> None:
    assert (await ask(daemon, "plan", "reject", "12", "--reason", "late")).code == 0
    assert daemon.rejected[0].reason == "late"
    moved = await ask(daemon, "plan", "move", "shop-03", "h1")
    assert moved.code == 0
    assert "sidestep plan approve" in moved.out
    assert (await ask(daemon, "level", "full")).out == "level is full\n"
    assert daemon.fleet.level == "full"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "show", "99"), "no plan is 99"),
        (("plan", "move", "shop-01", "nowhere"), "no host is called nowhere"),
        (("level", "sideways"), "sideways is no level"),
        (("demand", "--at", "soon"), "not a duration"),
        (("hosts", "--bogus"), "No such option"),
        (("dance",), "No such command"),
        (("plan", "list", "--limit", "0"), "--limit"),
        (("picture", "--out", "x.svg", "--size", "big"), "not a size"),
        (("picture", "--out", "x.svg", "--screen", "attic"), "no such screen"),
    ],
)
async def test_bad_input_is_exit_code_2_and_one_message(daemon: Daemon, arguments: tuple[str, ...], said: str) -> None:
    ran = await ask(daemon, *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


async def test_without_a_daemon_commands_say_where_they_looked(socket: Path) -> None:
    ran = await run("hosts")
    assert ran.code == 2
    assert str(socket.parent) in ran.err
    assert "sidestep demo" in ran.err
    gone = await run("hosts", "--socket", str(socket))
    assert gone.code == 1
    assert f"no daemon at {socket}" in gone.err


async def test_without_a_fleet_file_the_console_names_the_file_and_the_demo(socket: Path, tmp_path: Path) -> None:
    for arguments in ((), ("--fleet", str(tmp_path / "my.toml"))):
        ran = await run(*arguments)
        assert ran.code == 2
        assert (arguments[1] if arguments else "config/sidestep/fleet.toml") in ran.err
        assert "sidestep demo" in ran.err
        assert "Traceback" not in ran.err


async def test_the_only_daemon_that_runs_is_found(socket: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sidestep"
    folder.mkdir(mode=0o700)
    async with Daemon(folder / "one.sock", lively()):
        assert "h2" in (await run("hosts")).out
        async with Daemon(folder / "two.sock", lively()):
            ran = await run("hosts")
            assert ran.code == 2
            assert "two.sock" in ran.err


async def test_the_console_needs_a_terminal(daemon: Daemon) -> None:
    ran = await ask(daemon)
    assert ran.code == 2
    assert "needs a terminal" in ran.err


async def test_an_unknown_theme_is_bad_input(daemon: Daemon) -> None:
    ran = await ask(daemon, "picture", "--out", os.devnull, "--theme", "neon")
    assert ran.code == 2
    assert "no theme is called 'neon'" in ran.err


async def test_a_picture_of_a_screen_is_an_svg_of_what_it_shows(daemon: Daemon, tmp_path: Path) -> None:
    out = tmp_path / "plans.svg"
    ran = await ask(daemon, "picture", "--size", "120x40", "--screen", "plans", "--out", str(out))
    assert (ran.code, ran.err) == (0, "")
    svg = out.read_text().replace("&#160;", " ")
    assert svg.startswith("<svg")
    assert "#12" in svg
    assert "PROPOSED" in svg


async def test_completion_works_in_bash(tmp_path: Path) -> None:
    program = tmp_path / "sidestep"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from sidestep.console.cli import main; import sys; '
                       'sys.argv[0] = \'sidestep\'; main()" "$@"\n')  # fmt: skip
    program.chmod(0o755)
    script = (
        'eval "$(_SIDESTEP_COMPLETE=source_bash sidestep)"\n'
        "for line in 'sidestep plan' 'sidestep plan ap' 'sidestep hosts --js'; do\n"
        '  COMP_WORDS=($line); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()\n'
        '  _sidestep_completion sidestep; echo "${COMPREPLY[@]}"\n'
        "done\n"
    )  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        "bash", "--norc", "-c", script,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert out.decode().split() == ["plan", "approve", "--json"], err.decode()


async def test_log_prints_the_newest_rows(daemon: Daemon) -> None:
    daemon.events += [Event(seq=n, time=START, kind="host", text=Label(f"row {n}")) for n in range(3, 700)]
    rows = (await ask(daemon, "log", "--limit", "3")).out.splitlines()
    assert [row.split()[-1] for row in rows] == ["697", "698", "699"]
    rows = (await ask(daemon, "log", "--since", "4", "--limit", "1")).out.splitlines()
    assert [row.split()[-1] for row in rows] == ["5"]
