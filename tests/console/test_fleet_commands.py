"""``sidestep fleet``: what is wrong with a file, and what a file means, without any daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sidestep.autopilot.config_file import load_fleet
from sidestep.console.commandline import app
from sidestep.fleet.schema import schema

GOOD = '[fleet]\nname = "x"\n[hosts."w[1-2]"]\naddress = "w[1-2]"\nreserve_cpu = "10%"\n[groups.g]\nhosts = ["w2"]\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(GOOD)
    return path


def test_a_good_file_is_called_good(file: Path) -> None:
    ran = CliRunner().invoke(app, ["fleet", "check", str(file)])
    assert (ran.exit_code, ran.stdout) == (0, f"{file} is good: fleet x, 2 hosts, 0 shards, 1 file(s)\n")
    assert CliRunner().invoke(app, ["--fleet", str(file), "fleet", "check"]).stdout == ran.stdout


def test_every_problem_is_told_with_file_and_line_and_the_exit_code_is_2(file: Path) -> None:
    file.write_text(GOOD.replace("10%", "ten") + "port = 0\n")
    ran = CliRunner().invoke(app, ["fleet", "check", str(file)])
    assert ran.exit_code == 2
    assert f"{file}:5: hosts.w[1-2].reserve_cpu = 'ten'" in ran.stderr
    assert f"{file}:8: groups.g.port = 0" in ran.stderr
    assert "2 problems" in ran.stderr
    told = json.loads(CliRunner().invoke(app, ["fleet", "check", "--json", str(file)]).stdout)
    assert told["good"] is False
    assert [p["line"] for p in told["problems"]] == [5, 8]
    assert all(p["remedy"] for p in told["problems"])


def test_what_is_shown_is_worked_out_and_reads_back_equal(file: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["fleet", "show", str(file)]).stdout
    again = tmp_path / "again.toml"
    again.write_text(shown)
    assert load_fleet(again).hosts == load_fleet(file).hosts
    told = json.loads(CliRunner().invoke(app, ["fleet", "show", "--json", str(file)]).stdout)
    assert [(h["name"], h["groups"]) for h in told["hosts"]] == [("w1", []), ("w2", ["g"])]


def test_the_schema_is_printed(file: Path) -> None:
    assert json.loads(CliRunner().invoke(app, ["fleet", "schema"]).stdout) == schema()
