"""The Forecast screen: what is predicted of every host, how right such predictions were, and what is to come."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from sidestep.autopilot.protocol_oracle import GetOracle, GetScores, ListOccasions, OccasionList, OracleView, ScoreList
from sidestep.console.context import Context, Picture
from sidestep.console.forecastcolumns import FORECASTS
from sidestep.console.hosttext import account_sentence, fan_of, forecast_sentence, trust_marks
from sidestep.console.oracletext import coming_lines, oracle_lines, score_lines
from sidestep.console.screens.asking import AskingScreen
from sidestep.console.screens.base import screen_bindings
from sidestep.console.text import Line, Span
from sidestep.console.trusttext import reason_line
from sidestep.console.widgets.fan import FanChart
from sidestep.console.widgets.lines import LinePane, entitle
from sidestep.console.widgets.linetable import LineReader, LineTable
from sidestep.console.widgets.sheettable import SheetTable
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY


class ForecastScreen(AskingScreen):
    """Hosts by what is predicted of them; the charts of one; the board of accuracy."""

    SCOPE: ClassVar[str] = "forecast"
    TABLE: ClassVar[str] = "#hosts"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("forecast")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.dimension = CPU

    def compose_body(self) -> ComposeResult:
        """Left the hosts and the board, right the charts."""
        with Horizontal(id="body", classes="body"):
            with Vertical(id="left"):
                yield SheetTable(FORECASTS, self.given, id="hosts", classes=self.pane, leads=True)
                yield LineReader(id="board", classes=self.pane)
            with Vertical(id="right"):
                for name in ("fan", "other"):
                    fan = FanChart(self.given, id=name)
                    fan.add_class(*self.pane.split())
                    yield fan
                yield LinePane(id="words")

    def on_mount(self) -> None:
        """Name the panes and put the keys on the hosts."""
        entitle(self.query_one("#hosts"), "what is predicted")
        entitle(self.query_one("#board"), "how right it was, and what is to come")
        self.query_one("#hosts").focus()

    def crumbs(self) -> tuple[str, ...]:
        """The screen and the host."""
        cursor = self.query_one("#hosts", LineTable).cursor
        return ("forecast", cursor) if cursor else ("forecast",)

    def hosts_meant(self) -> tuple[str, ...]:
        """The marked hosts, or the one under the cursor."""
        return self.query_one("#hosts", SheetTable).meant

    def show_body(self, picture: Picture) -> None:
        """Show the hosts, the charts of the one under the cursor, and the board."""
        view, glyphs = picture.view, self.given.glyphs
        assert view is not None
        table = self.query_one("#hosts", SheetTable)
        table.show_sheet(view, self.query_now)
        host, present = view.rows.get(table.cursor), picture.present
        words: list[Line] = []
        order = (self.dimension, MEMORY if self.dimension == CPU else CPU)
        for name, dimension in zip(("fan", "other"), order, strict=True):
            fan = self.query_one(f"#{name}", FanChart)
            entitle(fan, DIMENSIONS[dimension])
            if host is None or present is None:
                fan.show(None)
                continue
            drawn = view if picture.with_plan and not view.ahead else present
            fan.show(fan_of(drawn, host, dimension, view.ahead))
            words.append((Span(f" {DIMENSIONS[dimension]}  ", "strong"), *forecast_sentence(view, host, dimension)))
            if found := trust_marks(view, host, dimension):
                words.append((Span("   "), *reason_line(found, glyphs)))
        words.append((Span(" "), *account_sentence(view)))
        self.query_one("#words", LinePane).show_lines(words or [(Span(" no host matches the filter", "muted"),)])
        self._show_board()

    def _show_board(self) -> None:
        board = self.query_one("#board", LineReader)
        if not board.display:
            return
        width, glyphs = max(20, board.scrollable_content_region.width - 1), self.given.glyphs
        oracle, scores, coming = self.ask(GetOracle()), self.ask(GetScores(limit=12)), self.ask(ListOccasions())
        lines: list[Line] = []
        if isinstance(oracle, OracleView):
            lines += oracle_lines(oracle, glyphs, width)
        if isinstance(scores, ScoreList):
            lines += [(), *score_lines(scores, glyphs)]
        if isinstance(coming, OccasionList):
            lines += [(), *coming_lines(coming, self.picture.now, width, glyphs)]
        board.show_lines(lines or [(Span(" asking the oracle", "muted"),)])

    @on(LineTable.Selected, "#hosts")
    def _selected(self) -> None:
        self.again()

    def do_open(self) -> None:
        """The page of the host under the cursor."""
        if cursor := self.query_one("#hosts", LineTable).cursor:
            self.go("host", cursor)

    def do_dimension(self) -> None:
        """The other dimension first; the only one where there is room for one."""
        self.dimension = MEMORY if self.dimension == CPU else CPU
        self.again()
