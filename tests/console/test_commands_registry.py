"""One registry: what is documented is bound, what is bound is documented, and only Plans acts."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import console_on
from frames import Daemon

from sidestep.console import commands, manual
from sidestep.console.commands import COMMANDS, PAGES, PLANS, SCREENS, on_screen, words
from sidestep.console.panels.approve import ApprovePanel, HoldPanel, RejectPanel, ReleasePanel
from sidestep.console.panels.decision import TellPanel
from sidestep.console.screens.help import help_lines
from sidestep.console.text import UNICODE, plain
from sidestep.console.widgets.linetable import LineReader, LineTable

DOCS = Path(manual.__file__).resolve().parents[1] / "docs" / "cli.md"


#: what acts without a key
_TYPED = ("cordon", "uncordon", "drain", "set_level", "promote", "announce", "drill", "split", "merge")


def keys_of(scope: str) -> set[str]:
    return {key for command in on_screen(scope) for key in command.keys}


@pytest.mark.parametrize("scope", [*SCREENS, *PAGES])
def test_no_key_means_two_things_on_a_screen(scope: str) -> None:
    keys = [key for command in on_screen(scope) for key in command.keys]
    assert len(keys) == len(set(keys))


async def test_exactly_the_documented_keys_are_bound_and_every_command_can_be_run(daemon: Daemon, socket: Path) -> None:
    pages = {
        "host": "h2", "shard": "shop-01", "app": "shop", "plan": "12", "trust": "", "pools": "", "functions": "",
        "whatif": "", "page": "x",
    }  # fmt: skip
    async with console_on(socket) as console:
        for scope in (*SCREENS, *PAGES):
            if scope in pages:
                console.app.open_page(scope, pages[scope])
            else:
                console.app.action_command(scope)
            await console.press()
            screen = console.app.screen
            assert scope == console.app.place.SCOPE
            bound = {
                key
                for key, active in screen.active_bindings.items()
                if active.node is screen or isinstance(active.node, LineTable | LineReader)
            }
            inherited = {"left", "right", "ctrl+pageup", "ctrl+pagedown", "shift+tab", "ctrl+c", "super+c"}
            assert bound - inherited == keys_of(scope) - inherited, scope
            for command in on_screen(scope):
                if not command.scopes & {"list"} and command.keys:
                    ways = [screen, console.app]
                    assert any(hasattr(way, f"do_{command.id}") for way in ways), (scope, command.id)


@pytest.mark.parametrize("panel", [TellPanel, ApprovePanel, RejectPanel, HoldPanel, ReleasePanel])
def test_dialogs_bind_exactly_the_keys_of_dialogs(panel: type) -> None:
    wanted = {key for command in COMMANDS if "panel" in command.scopes for key in command.keys}
    assert {binding.key for binding in panel.BINDINGS} == wanted


def test_only_plans_have_keys_that_act_and_the_hold_is_everywhere() -> None:
    acting = {command.id: command.scopes for command in COMMANDS if command.mutates}
    assert acting.pop("hold") == {"any"}
    typed = {name: acting.pop(name) for name in _TYPED}
    assert not any(commands.BY_ID[name].keys for name in typed), (
        "orders about hosts, levels, events, pools and keys are typed and confirmed"
    )
    assert set(acting) == {"approve", "reject", "pause", "resume", "cancel_plan", "undo"}
    assert all(scopes == PLANS for scopes in acting.values())
    assert {word for command in COMMANDS if command.mutates for word in command.words} == {
        "hold",
        "release",
        "level",
        "event",
        *({*typed} - {"set_level", "announce"}),
    }


def test_words_are_those_of_the_command_line_where_it_has_them() -> None:
    import typer.main

    from sidestep.console.commandline import app

    known = set(typer.main.get_command(app).commands)
    assert {"shards", "hosts", "forecast", "log", "plan", "why", "hold", "release", "autopilot"} <= known & {*words()}


def test_the_manual_lists_every_key_and_word() -> None:
    text = DOCS.read_text()
    for command in COMMANDS:
        for key in command.keys:
            assert f"`{commands.show_key(key)}`" in text, key
        if command.word:
            assert f"`:{command.word}" in text


def test_the_page_in_docs_is_the_one_that_the_commands_make() -> None:
    assert DOCS.read_text() == manual.page(), "run: python -m sidestep.console.manual > docs/cli.md"


def test_the_page_of_the_console_has_the_table_of_ids_that_the_registry_makes() -> None:
    text = (DOCS.parent / "console.md").read_text()
    assert commands.ids() in text, "put there what this prints: python -m sidestep.console.manual ids"


def test_help_is_whole_on_a_small_terminal() -> None:
    for scope in (*SCREENS, *PAGES):
        for width in (66, 90):
            text = [plain(line) for line in help_lines(scope, UNICODE, read_only=True, width=width)]
            assert all(len(row) <= width for row in text), scope
            words = " ".join(" ".join(text).split())
            assert all(command.help in words for command in on_screen(scope) if command.keys), scope


def test_help_says_which_keys_are_disabled_in_a_read_only_console() -> None:
    lines = [plain(line) for line in help_lines("plans", UNICODE, read_only=True)]
    assert any(line.startswith(" a ") and "disabled: read-only" in line for line in lines)
    assert not any("disabled" in plain(line) for line in help_lines("plans", UNICODE, read_only=False))


@pytest.mark.parametrize(
    ("typed", "outcome"),
    [
        ("plans", ("plans", "")),
        ("fore", ("forecast", "")),
        ("theme day", ("theme", "day")),
        (" host  h3 ", ("to_host", "h3")),
        ("hosts", ("fleet", "")),
        ("why shop-01", ("to_shard", "shop-01")),
        ("filter", ("narrow", "")),
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
    assert commands.completions("pl", choices) == ("plan", "plans")
    assert commands.completions("host w", choices) == ("host web-1",)
    assert commands.completions("quit x", choices) == ()
