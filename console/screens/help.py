"""``?``: the keys of the screen one is on and what the signs mean, from the registry and the keymap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sidestep.console.commands import COMMANDS, Command, on_screen, show_key
from sidestep.console.context import Context
from sidestep.console.keymap import Keymap
from sidestep.console.panels.decision import TellPanel, tell_width
from sidestep.console.text import Glyphs, Line, Span, condition_style, fit, wrap

_MEANINGS = {
    "hot": "above the threshold, or predicted to be",
    "warming": "contention is possible, not yet predicted",
    "ok": "nothing predicted",
    "stale": "no fresh samples",
    "down": "does not answer",
    "held": "cordoned, draining or in maintenance",
}
#: columns of keys and words, left of what they do
_LEFT: Final = 28
_FILTERS = (
    ("db-0[12]", "a regular expression, in any case"),
    ("~dbx", "these letters in this order"),
    ("risk>0.6", "a column compared; also 80%, 2G, 5m"),
    ("state=hot", "a column of words; != for the others"),
    ("!...", "the opposite of any of these"),
)


def help_lines(
    scope: str,
    glyphs: Glyphs,
    *,
    read_only: bool,
    keymap: Keymap = Keymap(),  # noqa: B008 - frozen
    width: int = 400,
) -> Iterator[Line]:
    """Keys, words, filters, then signs; what is longer than ``width`` goes on below."""
    for command in on_screen(scope):
        if not keymap.keys(command):
            continue
        keys = " ".join(show_key(key) for key in keymap.keys(command))
        typed = f":{command.word}" if command.word else ""
        first = (Span(fit(f" {keys}", 18, glyphs), "accent"), Span(fit(typed, 10, glyphs), "muted"))
        yield from _said(first, command, read_only, width)
    yield ()
    for command in COMMANDS:
        if command.words and command.takes:
            typed = fit(f" :{command.word} {command.takes.upper()}", _LEFT, glyphs)
            yield from _said((Span(typed, "accent"),), command, read_only, width)
    yield ()
    for text, meaning in _FILTERS:
        yield (Span(fit(f" /{text}", _LEFT, glyphs), "accent"), Span(meaning))
    yield ()
    for condition, meaning in _MEANINGS.items():
        sign = f" {glyphs.conditions[condition]} {condition}"
        yield (Span(fit(sign, 18, glyphs), condition_style(condition)), Span(meaning))


def _said(first: Line, command: Command, read_only: bool, width: int) -> Iterator[Line]:
    """What a command does, beside how it is given; and that it is disabled, where it is."""
    left, off = max(24, width - _LEFT), "  (disabled: read-only)" if command.mutates and read_only else ""
    rows = wrap(command.help, left)
    if off and len(rows[-1]) + len(off) > left:
        rows.append("")
    for at, row in enumerate(rows):
        begins: Line = (Span(" " * _LEFT),) if at else first
        yield (*begins, Span(row), *((Span(off, "warn"),) if off and at == len(rows) - 1 else ()))


class HelpPanel(TellPanel):
    """The keys of one screen."""

    def __init__(self, context: Context, scope: str, width: int) -> None:
        lines = help_lines(
            scope, context.glyphs, read_only=context.read_only, keymap=context.keymap, width=tell_width(width)
        )
        super().__init__(context, f"keys of the {scope} screen", list(lines))
