"""Pages of one host, one shard and one app: everything about it, and the way on to what it is made of."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from sidestep.autopilot.protocol_capsules import GetCapsules
from sidestep.autopilot.protocol_oracle import ForecastView, GetForecast
from sidestep.autopilot.protocol_plans import AskWhy, WhyView
from sidestep.autopilot.protocol_queue import ListQueue
from sidestep.console.context import Context, Picture
from sidestep.console.hosttext import account_sentence, fan_of, forecast_sentence, samples_sentence, trust_marks
from sidestep.console.oracletext import fan_of_series
from sidestep.console.pagetext import app_lines, plans_about, shard_lines
from sidestep.console.planningtext import why_lines
from sidestep.console.screens.asking import AskingScreen
from sidestep.console.screens.base import screen_bindings
from sidestep.console.shardcolumns import ON_HOST, SHARDS
from sidestep.console.shardnotes import Notes
from sidestep.console.text import Line, Span, condition_style, span
from sidestep.console.trusttext import reason_line
from sidestep.console.widgets.fan import FanChart
from sidestep.console.widgets.lines import LinePane, entitle
from sidestep.console.widgets.linetable import LineReader, LineTable
from sidestep.console.widgets.sheettable import SheetTable
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY


class Page(AskingScreen):
    """A page of something that has a name; escape goes back to where one came from."""

    KIND: ClassVar[str] = ""

    def __init__(self, context: Context, name: str) -> None:
        super().__init__(context)
        self.name_of = name

    def crumbs(self) -> tuple[str, ...]:
        """What it is a page of."""
        return (f"{self.SCOPE}s", self.name_of)

    def charts(self) -> ComposeResult:
        """Two forecasts side by side, cpu and memory at first."""
        with Horizontal(id="charts"):
            for name in ("fan", "other"):
                fan = FanChart(self.given, id=name)
                fan.add_class(*self.pane.split())
                yield fan

    def _gone(self, pane: str) -> None:
        self.query_one(pane, LinePane).show_lines([(span(f" no {self.SCOPE} is called {self.name_of}", "warn"),)])


class HostPage(Page):
    """One host: both charts, its shards, and the plans about it."""

    SCOPE: ClassVar[str] = "host"
    TABLE: ClassVar[str] = "#shards"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("host")

    def __init__(self, context: Context, name: str) -> None:
        super().__init__(context, name)
        self.dimension = CPU

    def compose_body(self) -> ComposeResult:
        """Words, charts, shards and plans."""
        with Vertical(id="body", classes="body"):
            yield LinePane(id="words")
            yield from self.charts()
            with Horizontal(id="lower"):
                yield SheetTable(ON_HOST, self.given, id="shards", classes=self.pane)
                yield LineReader(id="plans", classes=self.pane)

    def on_mount(self) -> None:
        """Name the panes and put the keys on the shards."""
        entitle(self.query_one("#shards"), "its shards")
        entitle(self.query_one("#plans"), "plans about it")
        self.query_one("#shards").focus()

    def hosts_meant(self) -> tuple[str, ...]:
        """This host."""
        return (self.name_of,)

    def show_body(self, picture: Picture) -> None:
        """Show the host, if it is still there."""
        view, glyphs = picture.view, self.given.glyphs
        assert view is not None
        host = view.rows.get(self.name_of)
        if host is None:
            self._gone("#words")
            return
        condition = view.condition(host)
        head = f" {glyphs.conditions[condition]} {view.word(host)}"
        zone = f"  zone {view.hosts[host].zone}" if view.hosts[host].zone else ""
        words: list[Line] = [
            (Span(head, condition_style(condition)), span(zone, "muted"), span(f"  {view.reason(host)}", "warn"))
        ]
        order = (self.dimension, MEMORY if self.dimension == CPU else CPU)
        present = picture.present or view
        for name, dimension in zip(("fan", "other"), order, strict=True):
            chart = self.query_one(f"#{name}", FanChart)
            entitle(chart, DIMENSIONS[dimension])
            drawn = view if picture.with_plan and not view.ahead else present
            chart.show(fan_of(drawn, host, dimension, view.ahead))
            words.append((Span(f" {DIMENSIONS[dimension]:<7}", "strong"), *forecast_sentence(view, host, dimension)))
        if found := trust_marks(view, host, self.dimension):
            words.append((Span(" "), *reason_line(found, glyphs)))
        if odd := samples_sentence(view, host):
            words.append((Span(" "), *odd))
        words.append((Span(" "), *account_sentence(view)))
        pane = self.query_one("#words", LinePane)
        pane.show_lines(words)
        pane.styles.height = len(words)
        self.query_one("#shards", SheetTable).show_sheet(view, self.query_now, rows=view.figures.shards_of(host))
        self.query_one("#plans", LineReader).show_lines(plans_about(picture, self.name_of, glyphs))

    @on(LineTable.Selected, "#shards")
    def _selected(self) -> None:
        self.again()

    def do_dimension(self) -> None:
        """The other dimension first; the only one where there is room for one."""
        self.dimension = MEMORY if self.dimension == CPU else CPU
        self.again()

    def do_open(self) -> None:
        """The page of the shard under the cursor."""
        if cursor := self.query_one("#shards", LineTable).cursor:
            self.go("shard", cursor)


class SeriesPage(Page):
    """A page with the forecast of one series of its own, which the oracle is asked for."""

    def series(self, metric: str) -> GetForecast:
        """What is asked."""
        return GetForecast(self.name_of, metric, self.SCOPE)

    def show_series(self) -> None:
        """Show the charts as far as they are known."""
        for name, metric in (("#fan", "cpu"), ("#other", "memory")):
            chart, asked = self.query_one(name, FanChart), self.series(metric)
            answer = self.ask(asked)
            if isinstance(answer, ForecastView):
                entitle(chart, span(f"{metric}, model {answer.model}").text)
                chart.show(fan_of_series(answer))
            else:
                said = self.refusal(asked)
                entitle(chart, span(f"{metric}: {said}" if said else f"{metric}: asking the oracle").text)


class ShardPage(SeriesPage):
    """One shard: where it is and why, what it needs, its forecast, and its moves."""

    SCOPE: ClassVar[str] = "shard"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("shard")

    def __init__(self, context: Context, name: str) -> None:
        super().__init__(context, name)
        self._notes = Notes()

    def compose_body(self) -> ComposeResult:
        """Words, charts, why."""
        with Vertical(id="body", classes="body"):
            yield LinePane(id="words")
            yield from self.charts()
            yield LineReader(id="why", classes=self.pane)

    def on_mount(self) -> None:
        """Name the pane and put the keys on it."""
        entitle(self.query_one("#why"), "why it is there, and its moves")
        self.query_one("#why").focus()

    def shard_meant(self) -> str:
        """This one."""
        return self.name_of

    def show_body(self, picture: Picture) -> None:
        """Show the shard, if it is still there."""
        view, glyphs = picture.view, self.given.glyphs
        assert view is not None
        row = view.shard_rows.get(self.name_of)
        if row is None:
            self._gone("#words")
            return
        self._notes.take(self.ask(GetCapsules(self.name_of)), self.ask(ListQueue()))
        words = [*shard_lines(view, row, glyphs), *self._notes.words(self.name_of, glyphs)]
        pane = self.query_one("#words", LinePane)
        pane.show_lines(words)
        pane.styles.height = len(words)
        self.show_series()
        reader, asked = self.query_one("#why", LineReader), AskWhy(self.name_of)
        width = max(20, reader.scrollable_content_region.width - 1)
        answer, lines = self.ask(asked), list[Line]()
        if isinstance(answer, WhyView):
            lines += why_lines(answer.why, width, glyphs)
        elif said := self.refusal(asked):
            lines.append((span(said, "warn"),))
        reader.show_lines([*lines, (), *plans_about(picture, self.name_of, glyphs)])


class AppPage(SeriesPage):
    """One app: its totals, its forecast, its shards."""

    SCOPE: ClassVar[str] = "app"
    TABLE: ClassVar[str] = "#shards"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("app")

    def compose_body(self) -> ComposeResult:
        """Words, charts, shards."""
        with Vertical(id="body", classes="body"):
            yield LinePane(id="words")
            yield from self.charts()
            yield SheetTable(SHARDS, self.given, id="shards", classes=self.pane)

    def on_mount(self) -> None:
        """Name the pane and put the keys on it."""
        entitle(self.query_one("#shards"), "its shards")
        self.query_one("#shards").focus()

    def show_body(self, picture: Picture) -> None:
        """Show the app, if there is one."""
        view = picture.view
        assert view is not None
        rows = view.apps.get(self.name_of)
        if not rows:
            self._gone("#words")
            return
        words = app_lines(view, self.name_of, rows, self.given.glyphs)
        pane = self.query_one("#words", LinePane)
        pane.show_lines(words)
        pane.styles.height = len(words)
        self.query_one("#shards", SheetTable).show_sheet(view, self.query_now, rows=rows)
        self.show_series()

    def do_open(self) -> None:
        """The page of the shard under the cursor."""
        if cursor := self.query_one("#shards", LineTable).cursor:
            self.go("shard", cursor)
