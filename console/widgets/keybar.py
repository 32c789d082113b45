"""The keys of a screen on one line; each can be clicked.

One line of our own instead of a widget per key: those cost a quarter of the time to the
first paint.
"""

from __future__ import annotations

from textual.events import Click

from sidestep.console.commands import Scope, on_screen, show_key
from sidestep.console.text import Line, Span, width_of
from sidestep.console.widgets.lines import LinePane


def key_line(scope: Scope) -> Line:
    """The screen's keys with their titles: a pair of spans for each, the key first."""
    shown = [command for command in on_screen(scope) if command.footer and command.keys]
    parts: list[Span] = []
    for command in shown:
        parts += [Span(f" {show_key(command.keys[0])} ", "accent"), Span(f"{command.title} ", "text")]
    return tuple(parts)


class KeyBar(LinePane):
    """The bottom line of every screen."""

    DEFAULT_CSS = "KeyBar { height: 1; background: $panel; overflow-y: hidden; }"

    def __init__(self, scope: Scope) -> None:
        super().__init__(id="keys")
        self.can_focus = False
        self._scope = scope
        self._keys = [command.keys[0] for command in on_screen(scope) if command.footer and command.keys]

    def on_mount(self) -> None:
        """Show the line."""
        self.show_lines([key_line(self._scope)])

    def on_click(self, event: Click) -> None:
        """Do what the clicked key does."""
        end = 0
        (line,) = self.lines
        for at, part in enumerate(line):
            end += width_of(part.text)
            if event.x < end:
                self.app.simulate_key(self._keys[at // 2])
                return
