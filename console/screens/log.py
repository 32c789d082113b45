"""The Log screen: what happened and why, as the daemon's journal has it."""

from __future__ import annotations

from typing import ClassVar, Final

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType

from sidestep.autopilot.protocol import EventList, GetLog
from sidestep.console.context import Context, Picture
from sidestep.console.query import lets_through
from sidestep.console.screens.base import ConsoleScreen, screen_bindings
from sidestep.console.text import Line, Span, StyleName, clock, fit, span, wrap
from sidestep.console.widgets.lines import entitle
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
    """Newest at the bottom; ``F`` stays there, scrolling up lets go."""

    SCOPE: ClassVar[str] = "log"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("log")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._events: list[Event] = []
        self._asking = False
        self._made: tuple[object, ...] = ()
        #: whether the newest row is to stay in view, and where the pane was left
        self._following, self._left = True, 0

    def compose_body(self) -> ComposeResult:
        """The rows."""
        yield LineReader(id="events", classes=f"body {self.pane}")

    def on_mount(self) -> None:
        """Name the pane and put the keys on it."""
        self.query_one("#events").focus()

    @property
    def comparable(self) -> tuple[str, ...]:
        """What a filter may compare."""
        return ("actor", "kind", "name", "plan", "seq", "text")

    def show_body(self, picture: Picture) -> None:
        """Show what is known and ask for what is new."""
        pane = self.query_one("#events", LineReader)
        if round(pane.scroll_offset.y) != self._left:  # somebody scrolled
            self._following = pane.scroll_offset.y >= pane.max_scroll_y
        follow = self._following
        glyphs = self.given.glyphs
        entitle(pane, f"log {glyphs.running} following" if follow else f"log {glyphs.pending} held: F follows")
        width = pane.scrollable_content_region.width - 1
        made = (self._events[-1].seq if self._events else -1, len(self._events), self.pattern, width)
        if made != self._made:  # two thousand rows are not made again for nothing
            self._made = made
            pane.show_lines(self._lines(width) or [(Span(" nothing yet", "muted"),)])
            if follow:
                pane.scroll_end(animate=False, immediate=True)
        self._left = round(pane.scroll_offset.y)
        if not self._asking and not picture.frozen and picture.status.kind == "live":
            self._asking = True  # at once: another beat may come before the question is on its way
            self._ask()

    def _lines(self, width: int) -> list[Line]:
        return [
            line
            for event in self._events
            if not self.query_now or lets_through(self.query_now, **_words(event))
            for line in event_lines(event, width)
        ]

    def forget(self) -> None:
        """Ask for everything again: in a replay, time may go back."""
        self._events = []

    def do_follow(self) -> None:
        """To the newest row, and stay there."""
        pane = self.query_one("#events", LineReader)
        pane.scroll_end(animate=False, immediate=True)
        self._following, self._left = True, round(pane.scroll_offset.y)
        self.again()

    @work(exit_on_error=False)
    async def _ask(self) -> None:
        try:
            answer = await self.given.feed.call(
                GetLog(since=self._events[-1].seq if self._events else -KEPT, limit=KEPT)
            )
        except SidestepError:
            return  # the top line says that the daemon is gone
        finally:
            self._asking = False
        if isinstance(answer, EventList) and answer.events:
            last = self._events[-1].seq if self._events else -1
            self._events = [*self._events, *(event for event in answer.events if event.seq > last)][-KEPT:]


def _words(event: Event) -> dict[str, str]:
    return {
        "name": f"{event.kind} {event.text} {event.actor}",
        "kind": event.kind,
        "text": event.text,
        "actor": event.actor,
        "plan": str(event.plan),
        "seq": str(event.seq),
    }
