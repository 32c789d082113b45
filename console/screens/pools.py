"""Pools of pre-initialised instances: how many stand ready, what that rests on, and every instance."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from sidestep.autopilot.protocol_pools import ListPools, PoolsView
from sidestep.console.context import Picture
from sidestep.console.pooltext import POOLS, PoolRows, no_drill, pool_lines
from sidestep.console.screens.asking import AskingScreen
from sidestep.console.screens.base import screen_bindings
from sidestep.console.text import Line, span
from sidestep.console.widgets.lines import entitle
from sidestep.console.widgets.linetable import LineReader, LineTable
from sidestep.console.widgets.sheettable import SheetTable

_ASKED = ListPools()


class PoolsPage(AskingScreen):
    """For looking; ``d`` types the order of a fire drill, which is confirmed as any order is."""

    SCOPE: ClassVar[str] = "pools"
    TABLE: ClassVar[str] = "#pools"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("pools")

    def compose_body(self) -> ComposeResult:
        """All pools, and the one under the cursor."""
        with Vertical(id="body", classes="body"):
            yield SheetTable(POOLS, self.given, id="pools", classes=self.pane, leads=True)
            yield LineReader(id="pool", classes=self.pane)

    def on_mount(self) -> None:
        """Name the panes and put the keys on the pools."""
        entitle(self.query_one("#pools"), "pools")
        self.query_one("#pools").focus()

    def pool_names(self) -> tuple[str, ...]:
        """The pool under the cursor, then the others."""
        table = self.query_one("#pools", SheetTable)
        return tuple(sorted(table.keys, key=lambda name: (name != table.cursor, name)))

    def do_type_drill(self) -> None:
        """Type the order for the pool under the cursor, or say why there can be none."""
        answer, name = self.ask(_ASKED, 2.0), self.query_one("#pools", SheetTable).cursor
        pools = answer.pools if isinstance(answer, PoolsView) else ()
        chosen = next((pool for pool in pools if pool.name == name), None)
        if why := self.app.disabled("drill") or no_drill(chosen):  # type: ignore[attr-defined]
            self.tell(why)
        else:
            self.app.type_line(f"drill {name}")  # type: ignore[attr-defined]

    def crumbs(self) -> tuple[str, ...]:
        """The pools and the one under the cursor."""
        cursor = self.query_one("#pools", SheetTable).cursor
        return ("pools", cursor) if cursor else ("pools",)

    def show_body(self, picture: Picture) -> None:
        """Show what the daemon says of them, asked every few seconds."""
        table, pane = self.query_one("#pools", SheetTable), self.query_one("#pool", LineReader)
        answer = self.ask(_ASKED, 2.0)
        if not isinstance(answer, PoolsView):
            pane.show_lines([(span(f" {self.refusal(_ASKED) or 'asking'}", "muted"),)])
            return
        table.show_sheet(PoolRows.of(answer.pools, picture.now), self.query_now)
        chosen = next((pool for pool in answer.pools if pool.name == table.cursor), None)
        width = max(20, pane.scrollable_content_region.width - 1)
        entitle(pane, f"pool {chosen.name}" if chosen else "pool")
        none = "no pool matches the filter" if answer.pools else "no pool is declared; see docs/pool.md"
        lines: list[Line] = [(span(f" {none}", "muted"),)]
        pane.show_lines(pool_lines(chosen, picture.now, width, self.given.glyphs) if chosen else lines)

    @on(LineTable.Selected, "#pools")
    def _selected(self) -> None:
        self.again()
