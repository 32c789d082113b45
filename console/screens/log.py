"""The Log screen: what happened and why, as the daemon's journal has it."""

from __future__ import annotations

from typing import ClassVar, Final

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType

from sidestep.autopilot.protocol import EventList, GetLog
from sidestep.console.commands import Scope
from sidestep.console.context import Context, Picture
from sidestep.console.screens.base import ConsoleScreen, screen_bindings
from sidestep.console.text import Line, Span, StyleName, clock, fit, span, wrap
from sidestep.console.view import matches
from sidestep.console.widgets.linetable import LineReader
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.events import Event

KEPT: Final = 2000
#: columns before the text of a row
_HEAD: Final = 24
_KINDS: Final[dict[str, StyleName]] = {
    "error": "error",
    "approve": "accent",
    "plan": "accent",
    "outcome": "ok",
    "host": "warn",
    "daemon": "strong",
}


def event_lines(event: Event, width: int) -> list[Line]:
    """One row of the journal, wrapped: errors with a log's tail are long, and all of it counts."""
    plan = f"#{event.plan}" if event.plan else ""
    actor = f"  ({event.actor})" if event.actor else ""
    first, *rest = wrap(span(f"{event.text}{actor}").text, max(20, width - _HEAD))
    head: Line = (
        Span(f" {clock(event.time)} ", "muted"),
        Span(fit(event.kind, 9), _KINDS.get(event.kind, "muted")),
        Span(fit(plan, 5), "muted"),
        Span(first),
    )
    return [head, *((Span(" " * _HEAD), Span(text)) for text in rest)]


class LogScreen(ConsoleScreen):
    """Newest at the bottom; follows as long as the bottom is in view."""

    SCOPE: ClassVar[Scope] = "log"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("log")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._events: list[Event] = []
        self._asking = False

    def compose_body(self) -> ComposeResult:
        """The rows."""
        yield LineReader(id="events", classes=f"body {self.pane}")

    def on_mount(self) -> None:
        """Name the pane and put the keys on it."""
        self.query_one("#events").border_title = "log"
        self.query_one("#events").focus()

    def show_body(self, picture: Picture) -> None:
        """Show what is known and ask for what is new."""
        pane = self.query_one("#events", LineReader)
        follow = pane.scroll_offset.y >= pane.max_scroll_y
        width = pane.scrollable_content_region.width - 1
        found = (event for event in self._events if matches(f"{event.kind} {event.text}", self.pattern))
        lines = [line for event in found for line in event_lines(event, width)]
        pane.show_lines(lines or [(Span(" nothing yet", "muted"),)])
        if follow:
            pane.scroll_end(animate=False)
        if not self._asking and not picture.frozen and picture.status.kind == "live":
            self._ask()

    @work(exit_on_error=False)
    async def _ask(self) -> None:
        self._asking = True
        try:
            answer = await self.given.feed.call(
                GetLog(since=self._events[-1].seq if self._events else -KEPT, limit=KEPT)
            )
        except SidestepError:
            return  # the top line says that the daemon is gone
        finally:
            self._asking = False
        if isinstance(answer, EventList) and answer.events:
            self._events = [*self._events, *answer.events][-KEPT:]
