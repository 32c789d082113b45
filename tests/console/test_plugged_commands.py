"""X6: a command of a plugin is listed without being imported, runs like ours, and fails like a plugin."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest
import typer
from typer.testing import CliRunner

from sidestep.console.commandline import app
from sidestep.fleet import extensions
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.extensions import COMMANDS, PluginError

theirs = typer.Typer(help="Of somebody.")


@theirs.command()
def backup_all(where: str, often: int = 1) -> None:
    """Say where."""
    if where == "nowhere":
        raise RuntimeError("there is\x1b[31m no such place")
    if where == "asked":
        raise UsageError("ask otherwise")
    if where == "refused":
        raise typer.BadParameter("not there")
    print(f"to {where} {often} times")


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "theirs": EntryPoint("theirs", f"{__name__}:theirs", COMMANDS),
        "broken": EntryPoint("broken", "no_such_module_anywhere:app", COMMANDS),
        "odd": EntryPoint("odd", "sidestep.fleet.labels:LIMIT", COMMANDS),
        "status": EntryPoint("status", f"{__name__}:theirs", COMMANDS),
    }
    monkeypatch.setattr(extensions, "entries", lambda group: found if group == COMMANDS else {})


def test_help_names_it_and_imports_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EntryPoint, "load", lambda self: pytest.fail("imported for a list"))
    said = CliRunner().invoke(app, ["--help"])
    assert said.exit_code == 0
    assert all(name in said.stdout for name in ("theirs", "broken", "odd"))
    assert "no_such_module_anywhere" not in sys.modules


def test_it_runs_with_its_own_arguments_and_help() -> None:
    assert CliRunner().invoke(app, ["theirs", "attic", "--often", "3"]).stdout == "to attic 3 times\n"
    assert "--often" in CliRunner().invoke(app, ["theirs", "--help"]).stdout


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (["broken"], PluginError, "plugin broken .* cannot be loaded: ModuleNotFoundError"),
        (["odd"], PluginError, "command odd is none: int is no typer.Typer"),
        (["theirs", "nowhere"], PluginError, "command theirs failed: RuntimeError: there is.* no such place"),
        (["theirs", "asked"], UsageError, "ask otherwise"),
    ],
)
def test_what_goes_wrong_is_an_error_that_names_the_plugin(
    words: list[str], kind: type[SidestepError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert "\x1b" not in str(caught.value)


def test_a_mistake_in_what_was_typed_is_exit_code_2() -> None:
    for words in (["theirs"], ["theirs", "refused"], ["theirs", "attic", "--often", "x"], ["nobodys"]):
        assert CliRunner().invoke(app, words).exit_code == 2, words


def test_a_name_of_ours_is_ours() -> None:
    assert "Of somebody" not in CliRunner().invoke(app, ["status", "--help"]).stdout
