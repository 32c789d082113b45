"""The page of what-if: the predicted fleet if hosts were drained, lost or added, or load grew, with and without a plan.

Looking only: the daemon plans for a fleet that exists on paper, and proposes nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from sidestep.autopilot.protocol_plans import GetPlanning, NewPlan, Planning
from sidestep.console import whatif
from sidestep.console.context import Context, Picture
from sidestep.console.planningtext import bar
from sidestep.console.screens.asking import AskingScreen
from sidestep.console.screens.base import screen_bindings
from sidestep.console.text import Line, Span, span
from sidestep.console.widgets.lines import LinePane, entitle
from sidestep.console.widgets.linetable import LineReader
from sidestep.console.widgets.sheettable import SheetTable
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.questions import PlanAnswer
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY

#: seconds that a search may take before its best plan so far is the answer
LIMIT: Final = 10.0
_LOOK: Final = 0.25
_HELP: Final = (
    ("d", "drain the marked hosts, or this one"),
    ("l", "lose them"),
    ("z", "lose their zone"),
    ("+", "30 % more load; again for more"),
    ("n", "one more host like this one"),
    ("backspace", "take the last one back"),
)


class WhatIfPage(AskingScreen):
    """Changes on paper, asked of the planner; the hosts as they are, as asked, and with the plan."""

    SCOPE: ClassVar[str] = "whatif"
    TABLE: ClassVar[str] = "#outlook"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("whatif")

    def __init__(self, context: Context, changes: str = "", marked: Sequence[str] = ()) -> None:
        super().__init__(context)
        self.changes: tuple[str, ...] = tuple(changes.split())
        self.name_of = changes
        self.dimension = CPU
        self._marked = frozenset(marked)
        self._answer: PlanAnswer | None = None
        self._job: Planning | None = None
        self._problem = ""
        self._round, self._at = 0, 0.0

    def compose_body(self) -> ComposeResult:
        """What is asked; every host; the answer in words."""
        with Vertical(id="body", classes="body"):
            yield LinePane(id="asked")
            with Horizontal(id="lower"):
                yield SheetTable(whatif.OUTLOOK, self.given, id="outlook", classes=self.pane, leads=True)
                yield LineReader(id="said", classes=self.pane)

    def on_mount(self) -> None:
        """Name the panes, put the keys on the hosts, and ask if there is something to ask."""
        entitle(self.query_one("#said"), "what would happen")
        table = self.query_one("#outlook", SheetTable)
        table.marked = self._marked
        table.focus()
        self._plan()

    def crumbs(self) -> tuple[str, ...]:
        """The page; what is asked stands below."""
        return ("what if",)

    def hosts_meant(self) -> tuple[str, ...]:
        """The marked hosts, or the one under the cursor."""
        return self.query_one("#outlook", SheetTable).meant

    def show_body(self, picture: Picture) -> None:
        """Show what is asked, and the answer as far as it is there."""
        view = picture.present or picture.view
        assert view is not None
        glyphs, table, said = (
            self.given.glyphs,
            self.query_one("#outlook", SheetTable),
            self.query_one("#said", LineReader),
        )
        older = " (of the question before)" if self._answer is not None and (self._job or self._problem) else ""
        entitle(table, f"peaks within the horizon: {DIMENSIONS[self.dimension]}{older}")
        width = max(20, said.scrollable_content_region.width - 1)
        head: list[Line] = [(Span(" what if ", "ahead"), span("  " + ("; ".join(self.changes) or "nothing changes")))]
        if self._problem:
            head.append((Span(f" {glyphs.failed} ", "error"), span(self._problem, "error")))
        elif self._job is not None:
            head.append((Span(f" {glyphs.running} ", "accent"), span(bar(self._job, LIMIT))))
        lines: list[Line] = []
        if self._answer is not None:
            asked = whatif.Asked(self._answer, view, self.dimension)
            table.show_sheet(asked, self.query_now)
            if self._job is None and not self._problem:
                head.append(whatif.summary(asked, max(0.0, picture.now - self._at)))
            lines = [*whatif.said(asked, width, glyphs), ()]
        lines += [(Span(f" {key:<10}", "accent"), span(text, "muted")) for key, text in _HELP]
        lines += [(), (Span(" nothing here is proposed or run", "muted"),)]
        pane = self.query_one("#asked", LinePane)
        pane.show_lines(head if len(head) > 1 else [*head, ()])
        said.show_lines(lines)

    # -- asking

    def _plan(self) -> None:
        """Have the daemon plan for the changes; without any, for the fleet with nothing changed."""
        self._round += 1
        self._problem = ""
        self.run_worker(self._asking(self._round), exit_on_error=False)

    async def _asking(self, mine: int) -> None:
        call = self.given.feed.call
        try:
            job = await call(NewPlan(what_if=self.changes or ("load=+0%",), time_limit=LIMIT))
            while isinstance(job, Planning) and job.state in {"queued", "running"} and mine == self._round:
                self._job = job
                self.again()
                await asyncio.sleep(_LOOK)
                job = await call(GetPlanning(job.job))
        except SidestepError as error:
            problem = f"{error.args[0]}; {error.hint}" if error.hint else str(error.args[0])
        else:
            problem = ""
        if mine != self._round:
            return
        self._job = None
        if problem or not isinstance(job, Planning) or job.answer is None:
            self._problem = span(problem or "the daemon found no answer").text
        else:
            self._answer, self._at = job.answer, self.picture.now
            self.query_one("#outlook", SheetTable).forget()
        self.again()

    def _change(self, changes: tuple[str, ...]) -> None:
        if changes != self.changes:
            self.changes = changes
            self.name_of = " ".join(changes)
            self.query_one("#outlook", SheetTable).marked = frozenset()
            self._plan()
            self.again()

    def add(self, text: str) -> None:
        """Ask for these changes too."""
        self._change((*self.changes, *text.split()))

    # -- keys

    def do_try_drain(self) -> None:
        """Drain the hosts that are meant, on paper."""
        self._change(whatif.joined(self.changes, "drain", self.hosts_meant()))

    def do_try_lose(self) -> None:
        """Lose the hosts that are meant, on paper."""
        self._change(whatif.joined(self.changes, "lose", self.hosts_meant()))

    def do_try_zone(self) -> None:
        """Lose the zones of the hosts that are meant, on paper."""
        view = self.picture.present
        zones = (
            {view.hosts[view.rows[host]].zone for host in self.hosts_meant() if host in view.rows} if view else set()
        )
        if not any(zones):
            self.tell("no zone is known of this host; a rack: :what-if lose=rack:NAME")
            return
        self._change(whatif.joined(self.changes, "lose", [f"zone:{zone}" for zone in sorted(zones) if zone]))

    def do_try_load(self) -> None:
        """Thirty percent more load, on paper."""
        self._change(whatif.grown(self.changes))

    def do_try_host(self) -> None:
        """One more host like the one under the cursor, on paper."""
        view, cursor = self.picture.present, self.query_one("#outlook", SheetTable).cursor
        if view is None or cursor not in view.rows:
            self.tell("put the cursor on a host that is there")
            return
        self._change(whatif.added(self.changes, cursor))

    def do_try_less(self) -> None:
        """Take the last change back."""
        self._change(self.changes[:-1])

    def do_try_again(self) -> None:
        """Ask again, of the fleet as it is now."""
        self._plan()
        self.again()

    def do_dimension(self) -> None:
        """The other planned dimension."""
        self.dimension = MEMORY if self.dimension == CPU else CPU
        self.query_one("#outlook", SheetTable).forget()
        self.again()

    def do_open(self) -> None:
        """The page of the host under the cursor."""
        view, cursor = self.picture.present, self.query_one("#outlook", SheetTable).cursor
        if view is not None and cursor in view.rows:
            self.go("host", cursor)
