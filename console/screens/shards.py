"""The Shards screen: every shard as a table, or all of them on their hosts as a map."""

from __future__ import annotations

from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from sidestep.autopilot.protocol_capsules import GetCapsules
from sidestep.autopilot.protocol_queue import ListQueue
from sidestep.console import placement, timeline
from sidestep.console import query as queries
from sidestep.console.context import Context, Picture
from sidestep.console.screens.asking import AskingScreen
from sidestep.console.screens.base import screen_bindings
from sidestep.console.shardcolumns import SHARDS
from sidestep.console.shardnotes import Notes, noted
from sidestep.console.text import Span
from sidestep.console.view import FleetView
from sidestep.console.widgets.lines import LinePane, entitle
from sidestep.console.widgets.linetable import LineTable
from sidestep.console.widgets.sheettable import SheetTable

#: seconds between questions about capsules and the queue, which a picture does not tell of
_NOTES_EVERY: Final = 20.0


class ShardsScreen(AskingScreen):
    """Sorted, filtered, marked; ``v`` shows the placement map with a cursor of its own."""

    SCOPE: ClassVar[str] = "shards"
    TABLE: ClassVar[str] = "#shards"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("shards")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._at, self._notes = 0, Notes()
        self._shown: frozenset[int] | None = None

    def compose_body(self) -> ComposeResult:
        """The table, the map, and a line on the shard under the cursor."""
        with Vertical(id="body", classes="body"):
            yield SheetTable(noted(self._notes), self.given, id="shards", classes=self.pane)
            yield LineTable(id="map", classes=self.pane)
            yield LinePane(id="words")

    def on_mount(self) -> None:
        """Put the keys on the table."""
        entitle(self.query_one("#map"), "placement")
        self.query_one("#shards").focus()

    @property
    def mapped(self) -> bool:
        """Whether the map is shown."""
        return self.has_class("-mapped")

    def shard_meant(self) -> str:
        """The one under the table's cursor."""
        return "" if self.mapped else self.query_one("#shards", SheetTable).cursor

    def crumbs(self) -> tuple[str, ...]:
        """The screen and what is under the cursor."""
        at = self.query_one("#map" if self.mapped else "#shards", LineTable).cursor
        return ("shards", *(("map",) if self.mapped else ()), *((at,) if at else ()))

    def show_body(self, picture: Picture) -> None:
        """Show the table or the map."""
        view = picture.view
        assert view is not None
        table = self.query_one("#shards", SheetTable)
        if self.mapped:
            self._show_map(picture, view)
            return
        self._notes.take(self.ask(GetCapsules(), _NOTES_EVERY), self.ask(ListQueue(), _NOTES_EVERY))
        table.show_sheet(view, self.query_now)
        count, all_of = len(table.keys), len(view.shards)
        filtered = f" of {all_of:,}" if self.query_now else ""
        entitle(table, f"shards by {table.sort}: {count:,}{filtered}")
        row = view.shard_rows.get(table.cursor)
        comes = self._comes(picture)
        line = (Span(" no shard matches the filter" if self.query_now else " no shards", "muted"),)
        glyphs = self.given.glyphs
        words = [placement.shard_words(view, row, comes, glyphs) if row is not None else line]
        words += self._notes.words(table.cursor, glyphs)
        pane = self.query_one("#words", LinePane)
        pane.styles.height = len(words)
        pane.show_lines(words)

    def _comes(self, picture: Picture) -> frozenset[int]:
        if picture.chosen is None or picture.present is None or not picture.with_plan:
            return frozenset()
        return frozenset(shard for shard, _, _ in timeline.moves(picture.present, picture.chosen))

    def _show_map(self, picture: Picture, view: FleetView) -> None:
        table, glyphs, comes = self.query_one("#map", LineTable), self.given.glyphs, self._comes(picture)
        shown = None
        if self.query_now:
            mask = queries.passes(self.query_now, len(view.shards), SHARDS.fields(view))
            shown = frozenset(int(row) for row in mask.nonzero()[0])
        chosen = self._chosen(view)

        def line(name: str, width: int) -> tuple[Span, ...]:
            host = view.rows[name]
            return placement.map_line(view, host, width, glyphs, chosen=chosen, comes=comes, shown=shown)

        table.show_rows(view.host_names, lambda width: placement.map_heading(width, glyphs), line)
        nothing = (Span(" no shard on this host", "muted"),)
        words = placement.shard_words(view, chosen, comes, glyphs) if chosen >= 0 else nothing
        self.query_one("#words").styles.height = 1
        self.query_one("#words", LinePane).show_lines([words])

    def _chosen(self, view: FleetView) -> int:
        """The shard under the map's cursor; -1 for none."""
        host = view.rows.get(self.query_one("#map", LineTable).cursor, 0)
        shards = view.figures.shards_of(host)
        return shards[min(self._at, len(shards) - 1)] if shards else -1

    @on(LineTable.Selected)
    def _selected(self) -> None:
        self.again()

    def do_left(self) -> None:
        """The shard before, on the map."""
        self._at = max(0, self._at - 1)
        self.again()

    def do_right(self) -> None:
        """The next shard, on the map."""
        view = self.picture.view
        if view is not None:
            host = view.rows.get(self.query_one("#map", LineTable).cursor, 0)
            self._at = min(max(0, len(view.figures.shards_of(host)) - 1), self._at + 1)
        self.again()

    def do_view(self) -> None:
        """The map, or the table again."""
        self.toggle_class("-mapped")
        self.query_one("#map" if self.mapped else "#shards").focus()
        self.call_after_refresh(self.again)

    def do_open(self) -> None:
        """The page of the shard under the cursor."""
        view = self.picture.view
        if view is None:
            return
        if not self.mapped:
            name = self.query_one("#shards", LineTable).cursor
        else:
            chosen = self._chosen(view)
            name = view.shard_names[chosen] if chosen >= 0 else ""
        if name:
            self.go("shard", name)

    def leave(self) -> bool:
        """Close the map first, then drop the filter."""
        if self.mapped:
            self.do_view()
            return True
        return super().leave()
