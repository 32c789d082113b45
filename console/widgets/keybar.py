"""The keys of a screen on one line; each can be clicked.

One line of our own instead of a widget per key: those cost a quarter of the time to the
first paint.
"""

from __future__ import annotations

from textual.events import Click

from sidestep.console.commands import SCREENS, on_screen
from sidestep.console.keymap import Keymap
from sidestep.console.text import Line, Span, StyleName, width_of
from sidestep.console.widgets.lines import LinePane


def key_parts(scope: str, keymap: Keymap, width: int = 400) -> list[tuple[str, str, str]]:
    """(key, shown key, title) of what stands on the line: what comes first goes on as long as it fits."""
    shown = [c for c in on_screen(scope) if c.footer and keymap.keys(c)]
    kept = [*SCREENS, "hold"]  # the hold is on every screen, whatever has no room
    order = sorted(shown, key=lambda c: kept.index(c.id) if c.id in kept else len(kept))
    parts = [(keymap.keys(c)[0], keymap.shown(c), c.title) for c in order]
    always = {*range(len(kept)), len(parts) - 1}  # the last one is how to leave
    room = width - sum(_width(part) for at, part in enumerate(parts) if at in always)
    found = []
    for at, part in enumerate(parts):
        if at not in always:
            if _width(part) > room:
                continue
            room -= _width(part)
        found.append(part)
    return found


def _width(part: tuple[str, str, str]) -> int:
    """Columns that a key takes with its title."""
    return width_of(part[1]) + width_of(part[2]) + 3


def key_line(scope: str, keymap: Keymap = Keymap(), width: int = 400) -> Line:  # noqa: B008 - frozen
    """The screen's keys with their titles: a pair of spans for each, the key first; the screen itself stands out."""
    parts: list[Span] = []
    for _, key, title in key_parts(scope, keymap, width):
        here = title.casefold() == scope
        red: StyleName = "danger" if title == "HOLD" else "bar" if here else "text"
        parts += [Span(f" {key} ", "accent"), Span(f"{title} ", red)]
    return tuple(parts)


class KeyBar(LinePane):
    """The bottom line of every screen: tabs and keys, all of which can be clicked."""

    DEFAULT_CSS = "KeyBar { height: 1; background: $panel; overflow-y: hidden; }"

    def __init__(self, scope: str, keymap: Keymap) -> None:
        super().__init__(id="keys")
        self.can_focus = False
        self._scope, self._keymap = scope, keymap

    def on_mount(self) -> None:
        """Show the line."""
        self.relay()

    def relay(self) -> None:
        """Make the line for the present width."""
        self.show_lines([key_line(self._scope, self._keymap, self.size.width or 400)])

    def on_click(self, event: Click) -> None:
        """Do what the clicked key does."""
        end = 0
        keys = key_parts(self._scope, self._keymap, self.size.width or 400)
        (line,) = self.lines
        for at, part in enumerate(line):
            end += width_of(part.text)
            if event.x < end:
                self.app.simulate_key(keys[at // 2][0])
                return
