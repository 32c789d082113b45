"""The console's own options are read the same with and without the command line's library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from sidestep.console import cli, firstrun
from sidestep.console.cli import Straight, straight
from sidestep.console.commandline import app


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], Straight()),
        (["--ascii", "--read-only"], Straight(ascii_only=True, read_only=True)),
        (["--fleet", "f.toml", "--theme", "day"], Straight(fleet="f.toml", theme="day")),
        (["--socket", "/tmp/d.sock"], Straight(socket="/tmp/d.sock")),
    ],
)
def test_plain_options_open_the_console(arguments: list[str], options: Straight) -> None:
    assert straight(arguments, {}) == options


@pytest.mark.parametrize(
    "arguments",
    [["demo"], ["--help"], ["--fleet"], ["--fleet", "--ascii"], ["--theme=day"], ["--no"], ["plan", "list"]],
)
def test_anything_else_is_left_to_the_command_line(arguments: list[str]) -> None:
    assert straight(arguments, {}) is None


def test_the_socket_may_stand_in_the_environment() -> None:
    assert straight([], {"SIDESTEP_SOCKET": "/tmp/e.sock"}) == Straight(socket="/tmp/e.sock")
    assert straight(["--socket", "/tmp/d.sock"], {"SIDESTEP_SOCKET": "/tmp/e.sock"}) == Straight(socket="/tmp/d.sock")


def test_both_ways_know_the_same_options() -> None:
    declared = {name for option in get_command(app).params for name in option.opts}
    ours = {*cli._VALUES, *cli._FLAGS}
    assert ours == {name for name in declared if name.startswith("--")} - {
        "--install-completion", "--show-completion", "--help",
    }  # fmt: skip


def test_without_a_fleet_it_says_what_to_try(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    environment.pop("SIDESTEP_SOCKET", None)
    done = subprocess.run(
        [sys.executable, "-m", "sidestep"], capture_output=True, text=True, env=environment, check=False, timeout=30
    )
    assert done.returncode == 2
    assert "sidestep demo" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_first_time_it_shows_the_ways_to_a_fleet_with_what_is_found_here(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host web1 web2\n  User ops\nHost=db1\nHost *.internal !x\n  User y\n")
    inventory = tmp_path / "inventory.ini"
    inventory.write_text("[web]\nweb1\n")
    said = "\n".join(firstrun.lines(tmp_path / "fleet.toml", tmp_path, tmp_path))
    ways = [" ".join(row.split()) for row in said.splitlines()]
    assert f"sidestep init --ssh-config 3 hosts in {tmp_path}/.ssh/config" in ways
    assert f"sidestep init --ansible {inventory}" in said and "sidestep demo" in said and "sidestep trust HOST" in said
    empty = "\n".join(firstrun.lines(tmp_path / "fleet.toml", tmp_path / "no", tmp_path / "no"))
    assert "--ssh-config" not in empty and "sidestep init --hosts FILE" in empty
