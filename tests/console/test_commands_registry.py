"""One registry: what is documented is bound, what is bound is documented, and only Plans acts."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import console_on
from frames import Daemon

from sidestep.console import commands, manual
from sidestep.console.commands import COMMANDS, SCREENS, Scope, on_screen
from sidestep.console.panels.approve import ApprovePanel, RejectPanel, TellPanel
from sidestep.console.screens.help import help_lines
from sidestep.console.text import UNICODE, plain
from sidestep.console.widgets.linetable import LineReader, LineTable

DOCS = Path(manual.__file__).resolve().parents[1] / "docs" / "cli.md"


def keys_of(scope: Scope) -> set[str]:
    return {key for command in on_screen(scope) for key in command.keys}


@pytest.mark.parametrize("scope", SCREENS)
def test_no_key_means_two_things_on_a_screen(scope: Scope) -> None:
    keys = [key for command in on_screen(scope) for key in command.keys]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("scope", SCREENS)
async def test_exactly_the_documented_keys_are_bound(daemon: Daemon, socket: Path, scope: Scope) -> None:
    async with console_on(socket) as console:
        console.app.action_command(scope)
        await console.press()
        bound = {
            key
            for key, active in console.app.screen.active_bindings.items()
            if active.node is console.app.screen or isinstance(active.node, LineTable | LineReader)
        }
        inherited = {"left", "right", "ctrl+pageup", "ctrl+pagedown", "shift+tab", "ctrl+c", "super+c"}
        assert bound - inherited == keys_of(scope)


@pytest.mark.parametrize("panel", [TellPanel, ApprovePanel, RejectPanel])
def test_dialogs_bind_exactly_the_keys_of_dialogs(panel: type) -> None:
    wanted = {key for command in COMMANDS if command.scope == "panel" for key in command.keys}
    assert {binding.key for binding in panel.BINDINGS} == wanted


def test_only_the_plans_screen_has_keys_that_act() -> None:
    assert {command.scope for command in COMMANDS if command.mutates} == {"plans"}
    assert not any(command.word for command in COMMANDS if command.mutates)


async def test_every_command_can_be_run_where_it_is_offered(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        for scope in SCREENS:
            screen = console.app.get_screen(scope)
            for command in on_screen(scope):
                if command.scope != "list" and command.keys:
                    assert hasattr(screen, f"do_{command.id}") or hasattr(console.app, f"do_{command.id}")


def test_the_manual_lists_every_key_and_word() -> None:
    text = DOCS.read_text()
    for command in COMMANDS:
        for key in command.keys:
            assert f"`{commands.show_key(key)}`" in text
        if command.word:
            assert f"`:{command.word}" in text


def test_the_page_in_docs_is_the_one_that_the_commands_make() -> None:
    assert DOCS.read_text() == manual.page(), "run: python -m sidestep.console.manual > docs/cli.md"


def test_help_says_which_keys_are_disabled_in_a_read_only_console() -> None:
    lines = [plain(line) for line in help_lines("plans", UNICODE, read_only=True)]
    assert any(line.startswith(" a ") and "disabled: read-only" in line for line in lines)
    assert not any("disabled" in plain(line) for line in help_lines("plans", UNICODE, read_only=False))


@pytest.mark.parametrize(
    ("typed", "outcome"),
    [
        ("plans", ("plans", "")),
        ("pl", ("plans", "")),
        ("theme day", ("theme", "day")),
        (" host  h3 ", ("host", "h3")),
        ("f", "no command"),
        ("approve", "no command"),
        ("theme", "needs a theme"),
        ("quit now", "takes nothing"),
        ("", "no command"),
    ],
)
def test_typed_commands_are_understood_or_explained(typed: str, outcome: object) -> None:
    parsed = commands.parse(typed)
    if isinstance(outcome, str):
        assert isinstance(parsed, str)
        assert outcome in parsed
    else:
        assert not isinstance(parsed, str)
        assert (parsed[0].id, parsed[1]) == outcome


def test_completion_offers_words_then_their_arguments() -> None:
    choices: dict[commands.Takes, tuple[str, ...]] = {"host": ("db-1", "web-1"), "theme": ("dusk",)}
    assert commands.completions("th", choices) == ("theme",)
    assert commands.completions("host w", choices) == ("host web-1",)
    assert commands.completions("quit x", choices) == ()
