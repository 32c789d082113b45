"""The Plans screen: what is proposed and why, and where plans are acted on.

Approve binds to the plan that was on screen: the whole digest of what was shown is sent,
whatever arrived meanwhile.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from sidestep.autopilot.protocol import PlanView
from sidestep.console.context import Context, Picture
from sidestep.console.plancolumns import NO_PLAN, PLANS, PlanRows
from sidestep.console.planlive import progress_line
from sidestep.console.plantext import no_plan_lines, plan_lines
from sidestep.console.screens.acting import ActingScreen
from sidestep.console.screens.base import screen_bindings
from sidestep.console.text import Line, Span
from sidestep.console.widgets.lines import entitle
from sidestep.console.widgets.linetable import LineReader, LineTable
from sidestep.console.widgets.sheettable import SheetTable


class PlansScreen(ActingScreen):
    """The list of plans and everything about the one under the cursor."""

    SCOPE: ClassVar[str] = "plans"
    TABLE: ClassVar[str] = "#list"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("plans")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._shown: PlanView | None = None
        self._read = ""

    @property
    def shown(self) -> PlanView | None:
        """The plan whose details are on screen."""
        return self._shown

    def compose_body(self) -> ComposeResult:
        """The list, and the details beside or under it."""
        with Vertical(id="body", classes="body"):
            yield SheetTable(PLANS, self.given, id="list", classes=self.pane)
            yield LineReader(id="detail", classes=self.pane)

    def on_mount(self) -> None:
        """Name the panes and put the keys on the list."""
        entitle(self.query_one("#list"), "plans")
        entitle(self.query_one("#detail"), "what will run, and why")
        self.query_one("#list").focus()

    def crumbs(self) -> tuple[str, ...]:
        """The screen and the plan."""
        return ("plans", f"#{self._shown.plan.number}") if self._shown is not None else ("plans",)

    def show_body(self, picture: Picture) -> None:
        """Show the list, then what is under the cursor."""
        rows = PlanRows(picture.plans, picture.no_plan, picture.now)
        table = self.query_one("#list", SheetTable)
        table.show_sheet(rows, self.query_now)
        self._show_detail(picture, table.cursor)

    @on(LineTable.Selected, "#list")
    def _selected(self) -> None:
        self.again()

    def _show_detail(self, picture: Picture, cursor: str) -> None:
        detail, glyphs = self.query_one("#detail", LineReader), self.given.glyphs
        width = max(20, detail.scrollable_content_region.width - 1)
        self._shown = next((item for item in picture.plans if item.digest == cursor), None)
        lines: list[Line]
        if self._shown is not None:
            bar = progress_line(self._shown, width, glyphs)
            lines = [*([bar] if bar else []), *plan_lines(self._shown, picture.now, width, glyphs)]
        elif cursor == NO_PLAN and picture.no_plan is not None:
            lines = list(no_plan_lines(picture.no_plan, width))
        else:
            lines = [(Span("no plan matches the filter" if self.pattern else "no plan yet", "muted"),)]
        detail.show_lines(lines)
        if cursor != self._read:
            self._read = cursor
            detail.scroll_to(y=0, animate=False)

    def do_open(self) -> None:
        """The page of the plan under the cursor."""
        if self._shown is not None:
            self.go("plan", self._shown.digest)
