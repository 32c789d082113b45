"""``?``: the keys of the screen one is on and what the signs mean, from the registry."""

from __future__ import annotations

from collections.abc import Iterator

from sidestep.console.commands import Scope, on_screen, show_key
from sidestep.console.context import Context
from sidestep.console.panels.approve import TellPanel
from sidestep.console.text import Glyphs, Line, Span, condition_style, fit

_MEANINGS = {
    "hot": "above the threshold, or predicted to be",
    "warming": "contention is possible, not yet predicted",
    "ok": "nothing predicted",
    "stale": "no fresh samples",
    "down": "does not answer",
    "held": "cordoned, draining or in maintenance",
}


def help_lines(scope: Scope, glyphs: Glyphs, *, read_only: bool) -> Iterator[Line]:
    """Keys, then signs."""
    for command in on_screen(scope):
        if not command.keys:
            continue
        keys = " ".join(show_key(key) for key in command.keys)
        typed = f":{command.word}" if command.word else ""
        why = "  (disabled: read-only)" if command.mutates and read_only else ""
        yield (
            Span(fit(f" {keys}", 18, glyphs), "accent"),
            Span(fit(typed, 10, glyphs), "muted"),
            Span(command.help),
            Span(why, "warn"),
        )
    yield ()
    yield (Span(" :theme NAME, :host NAME", "accent"), Span("  colours, and going to a host"))
    yield ()
    for condition, meaning in _MEANINGS.items():
        sign = f" {glyphs.conditions[condition]} {condition}"
        yield (Span(fit(sign, 18, glyphs), condition_style(condition)), Span(meaning))


class HelpPanel(TellPanel):
    """The keys of one screen."""

    def __init__(self, context: Context, scope: Scope) -> None:
        lines = list(help_lines(scope, context.glyphs, read_only=context.read_only))
        super().__init__(context, f"keys of the {scope} screen", lines)
