"""The page of a plugin: its lines, and what is wrong with it in the same place."""

from __future__ import annotations

import time
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType

from sidestep.console.context import Context, Picture
from sidestep.console.plugged import Given, Working
from sidestep.console.screens.base import ConsoleScreen, screen_bindings
from sidestep.console.text import Line, Span, span
from sidestep.console.widgets.lines import entitle
from sidestep.console.widgets.linetable import LineReader

#: seconds between two askings, and after which a page that says nothing is said to be slow
EVERY: Final = 1.0
SLOW: Final = 5.0


class PluggedPage(ConsoleScreen):
    """Lines that somebody else's code makes of the picture; it has no other way to the screen."""

    SCOPE: ClassVar[str] = "page"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("page")

    def __init__(self, context: Context, name: str) -> None:
        super().__init__(context)
        self.name_of = name
        self._working = Working(name, self._answered)
        self._asked = -EVERY

    def compose_body(self) -> ComposeResult:
        """One pane."""
        yield LineReader(id="page", classes=f"{self.pane} body")

    def on_mount(self) -> None:
        """Name the pane."""
        entitle(self.query_one("#page"), f"{self.name_of} (plugin)")
        self.query_one("#page").focus()

    def crumbs(self) -> tuple[str, ...]:
        """Whose page it is."""
        return ("page", self.name_of)

    def show_body(self, picture: Picture) -> None:
        """Show the newest lines, and ask for newer ones."""
        assert picture.view is not None
        pane, now = self.query_one("#page", LineReader), time.monotonic()
        if now - self._asked >= EVERY:
            room = pane.scrollable_content_region
            given = Given(
                picture.view,
                str(picture.welcome.fleet) if picture.welcome is not None else "",
                width=max(20, room.width - 1),
                height=room.height,
                ascii_only=self.given.glyphs.ascii,
            )
            if self._working.ask(given):
                self._asked = now
        pane.show_lines([*self._said(now), *self._working.lines])

    def _said(self, now: float) -> list[Line]:
        working = self._working
        if working.problem:
            head = f" {self.given.glyphs.failed} PLUGIN FAILED  "
            first, *more = working.problem.splitlines() or [""]
            return [(Span(head, "error"), span(first, "error")), *((span(f"   {line}", "muted"),) for line in more)]
        if working.busy and now - self._asked >= SLOW:
            return [(span(f" ? the page has not answered for {now - self._asked:.0f} s", "warn"),)]
        return [] if working.lines else [(span(" asking the plugin", "muted"),)]

    def _answered(self) -> None:
        """From the page's thread: show it, unless the console is gone."""
        if self.is_attached and self.app.is_running:
            self.app.call_later(self.again)
