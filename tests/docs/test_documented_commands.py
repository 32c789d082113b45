"""Whatever the documentation has people type exists, with its options, and runs where that needs no fleet."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from documented import ROOT, Told, known_options, told

#: commands that read and need neither daemon nor hosts: run as they stand
READ_ONLY = {("fleet", "check"), ("fleet", "show"), ("fleet", "schema"), ("plugin", "list"),
             ("locate",), ("version",)}  # fmt: skip
EXAMPLE = """
[fleet]
name = "shop"
[hosts."web[1-3]"]
address = "192.0.2.[1-3]"
[shards.shop-01]
app = "shop"
host = "web1"
start = "exec shop --port $PORT"
"""


def run(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_CONFIG_HOME": str(home), "XDG_RUNTIME_DIR": str(home), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "sidestep", *words], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration folder with a fleet file."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "sidestep").mkdir()
    (folder / "sidestep" / "fleet.toml").write_text(EXAMPLE)
    return folder


def test_every_command_and_option_on_every_page_exists() -> None:
    found = list(told())
    assert len(found) > 100, "the pages were not read"
    wrong = [
        f"{each.page}: {each.line}: {option}"
        for each in found
        if not each.handed_on
        for option in each.options
        if option not in known_options(each.command)
    ]
    assert wrong == []
    # `sidestep` with words that are no command would open the console with them
    strays = [f"{each.page}: {each.line}" for each in found if not each.path and each.rest and not each.options]
    assert strays == []


def test_options_that_another_program_reads_are_those_of_its_help(home: Path) -> None:
    by_call: dict[tuple[str, ...], list[Told]] = defaultdict(list)
    for each in told():
        if each.handed_on:
            verb = each.rest[:1] if each.rest and each.rest[0].isalpha() and each.rest[0].islower() else ()
            by_call[*each.path, *verb].append(each)
    assert {call[0] for call in by_call} >= {"autopilot", "history", "record", "backtest", "analyze"}
    for call, lines in by_call.items():
        if options := {option for each in lines for option in each.options}:
            helped = run(*call, "--help", home=home)
            assert helped.returncode == 0, f"{call}: {helped.stderr}"
            assert {option for option in options if option not in helped.stdout} == set(), call


def test_what_only_reads_is_run_as_it_stands(home: Path) -> None:
    calls = {each.path + each.rest for each in told() if each.path in READ_ONLY and "my_app" not in each.rest}
    calls = {call for call in calls if not any(word.isupper() or word.startswith("[") for word in call)}
    assert {call[:2] for call in calls} >= {("fleet", "check"), ("plugin", "list")}
    for call in sorted(calls):
        ran = run(*call, home=home)
        assert ran.returncode == 0, f"{call}: {ran.stderr}"
        assert ran.stdout.strip()


def test_the_fleet_file_of_the_reference_is_good(tmp_path: Path) -> None:
    """The first example of docs/fleet-file.md, but for the user's key."""
    page = (ROOT / "docs" / "fleet-file.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "hosts.d").mkdir()
    (tmp_path / "hosts.d" / "more.toml").write_text('[hosts.extra]\naddress = "192.0.2.9"\n')
    (tmp_path / "fleet.toml").write_text(example)
    ran = run("fleet", "check", str(tmp_path / "fleet.toml"), home=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "43 hosts, 1 shards, 2 file(s)" in ran.stdout


def test_a_command_that_is_none_and_an_option_that_is_none_would_be_found() -> None:
    from documented import _resolved
    from typer.main import get_command

    from sidestep.console.commandline import app

    wrong = _resolved("p.md", "", "sidestep plan approve 12 --at-once", get_command(app))
    assert wrong.path == ("plan", "approve") and "--at-once" not in known_options(wrong.command)
    stray = _resolved("p.md", "", "sidestep daemon", get_command(app))
    assert not stray.path and stray.rest
