"""Functions that run on hosts: every call, where it is, what its loss would cost, and why a loop is no shards."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from sidestep.autopilot.protocol_functions import FunctionsView, ListFunctions
from sidestep.console.context import Picture
from sidestep.console.functiontext import CALLS, CallRows, call_lines
from sidestep.console.screens.asking import AskingScreen
from sidestep.console.screens.base import screen_bindings
from sidestep.console.text import Line, span
from sidestep.console.widgets.lines import entitle
from sidestep.console.widgets.linetable import LineReader, LineTable
from sidestep.console.widgets.sheettable import SheetTable

_ASKED = ListFunctions()


class FunctionsPage(AskingScreen):
    """For looking: whoever runs a function moves and ends it."""

    SCOPE: ClassVar[str] = "functions"
    TABLE: ClassVar[str] = "#calls"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("functions")

    def compose_body(self) -> ComposeResult:
        """All calls, and the one under the cursor."""
        with Vertical(id="body", classes="body"):
            yield SheetTable(CALLS, self.given, id="calls", classes=self.pane, leads=True)
            yield LineReader(id="call", classes=self.pane)

    def on_mount(self) -> None:
        """Name the panes and put the keys on the calls."""
        entitle(self.query_one("#calls"), "calls of functions")
        self.query_one("#calls").focus()

    def crumbs(self) -> tuple[str, ...]:
        """The functions and the call under the cursor."""
        cursor = self.query_one("#calls", SheetTable).cursor
        return ("functions", cursor) if cursor else ("functions",)

    def show_body(self, picture: Picture) -> None:
        """Show what the daemon says of them, asked every second."""
        table, pane = self.query_one("#calls", SheetTable), self.query_one("#call", LineReader)
        answer = self.ask(_ASKED, 1.0)
        if not isinstance(answer, FunctionsView):
            pane.show_lines([(span(f" {self.refusal(_ASKED) or 'asking'}", "muted"),)])
            return
        rows = CallRows.of(answer.runs, picture.now)
        table.show_sheet(rows, self.query_now)
        chosen = next((call for call in rows.calls if call.key == table.cursor), None)
        width = max(20, pane.scrollable_content_region.width - 1)
        entitle(pane, f"call {chosen.key}" if chosen else "call")
        none = "no call matches the filter" if rows.calls else "no function runs; see docs/functions.md"
        lines: list[Line] = [(span(f" {none}", "muted"),)]
        pane.show_lines(call_lines(chosen, picture.now, width, self.given.glyphs) if chosen else lines)

    @on(LineTable.Selected, "#calls")
    def _selected(self) -> None:
        self.again()
