"""The console's own options are read the same with and without the command line's library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from sidestep.console import cli
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
