"""The Fleet screen: will anything run hot, where, when, and what is proposed about it.

Looking only: no key of this screen changes the fleet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from sidestep.console.commands import Scope
from sidestep.console.context import Context, Picture
from sidestep.console.hosttext import (
    account_sentence,
    fan_of,
    forecast_sentence,
    host_heading,
    host_line,
    samples_sentence,
    shard_heading,
    shard_line,
    trust_marks,
)
from sidestep.console.plantext import plan_line, short_line
from sidestep.console.screens.base import ConsoleScreen, screen_bindings
from sidestep.console.sorting import Order, settle
from sidestep.console.text import Line, Span, span
from sidestep.console.trusttext import Mark, mark_spans, reason_line
from sidestep.console.view import FleetView, matches
from sidestep.console.widgets.fan import FanChart
from sidestep.console.widgets.heat import HeatStrip
from sidestep.console.widgets.lines import LinePane
from sidestep.console.widgets.linetable import LineTable
from sidestep.fleet.labels import Label
from sidestep.fleet.resources import CPU, DIMENSIONS, PLANNED


def _spaced(*parts: Line) -> Line:
    """The parts that say anything, with room between them."""
    spans: list[Span] = []
    for part in parts:
        spans += [*((Span("  "),) if spans and part else ()), *part]
    return tuple(spans)


class FleetScreen(ConsoleScreen):
    """Hosts sorted calmly by risk; forecast, shards and plans beside them as the terminal has room."""

    SCOPE: ClassVar[Scope] = "fleet"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("fleet")

    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(context)
        self._clock = clock
        self._order = Order()
        self.dimension = CPU

    def compose_body(self) -> ComposeResult:
        """Left the tables, right the pictures; the style sheet decides what fits."""
        with Horizontal(id="body", classes="body"):
            with Vertical(id="left"):
                yield LineTable(id="hosts", classes=self.pane)
                yield LineTable(id="shards", classes=self.pane)
            with Vertical(id="right"):
                heat = HeatStrip(self.given, id="heat")
                heat.add_class(*self.pane.split())
                yield heat
                fan = FanChart(self.given, id="fan")
                fan.add_class(*self.pane.split())
                yield fan
                yield LinePane(id="words")
                yield LinePane(id="plans", classes=self.pane)
        yield LinePane(id="forecast", classes="body")
        yield LinePane(id="newest", classes="body")

    def on_mount(self) -> None:
        """Name the panes and put the keys on the hosts."""
        titles = {"hosts": "hosts by risk", "shards": "shards of the host", "heat": "chance of contention, all hosts"}
        for name, title in {**titles, "fan": "forecast", "plans": "plans"}.items():
            self.query_one(f"#{name}").border_title = title
        self.hosts.focus()

    @property
    def hosts(self) -> LineTable:
        """The table of hosts."""
        return self.query_one("#hosts", LineTable)

    def crumbs(self) -> tuple[str, ...]:
        """The fleet and the host under the cursor."""
        return ("fleet", self.hosts.cursor) if self.hosts.cursor else ("fleet",)

    def show_body(self, picture: Picture) -> None:
        """Order, filter and show the hosts, then what hangs on the cursor."""
        view, glyphs = picture.view, self.given.glyphs
        assert view is not None
        scores: dict[str, float] = {words.name: view.urgency(row) for row, words in enumerate(view.hosts)}
        self._order = settle(self._order, scores, self._clock())
        names = [name for name in self._order.names if matches(name, self.pattern)]
        self.hosts.show_rows(
            names,
            lambda width: host_heading(width, glyphs),
            lambda name, width: host_line(view, view.rows[Label(name)], width, glyphs),
        )
        self._share_height(len(names))
        self._show_host(view)
        self._show_plans(picture)

    def _share_height(self, rows: int) -> None:
        """A small fleet's table takes what it needs and leaves the rest to the shards."""
        room = self.query_one("#left").size.height
        if self.query_one("#shards").display and room:
            self.hosts.styles.height = max(6, min(rows + 3, room * 3 // 5))
        else:
            self.hosts.styles.height = "1fr"

    @on(LineTable.Selected, "#hosts")
    def _host_selected(self) -> None:
        if self.picture.view is not None:
            self.show(self.picture)

    def _show_host(self, view: FleetView) -> None:
        glyphs, host = self.given.glyphs, view.rows.get(Label(self.hosts.cursor))
        found: tuple[Mark, ...]
        said: Line
        shards = view.shards_by_host.get(-2 if host is None else host, [])
        rows = {str(view.shards[shard].name): shard for shard in shards}
        self.query_one("#shards", LineTable).show_rows(
            list(rows),
            lambda width: shard_heading(width, glyphs),
            lambda name, width: shard_line(view, rows[name], width, glyphs),
        )
        if host is None:
            self.query_one(FanChart).show(None)
            words: list[Line] = [(Span(" no host matches the filter", "muted"),)]
            found, said = (), ()
        else:
            self.query_one(FanChart).show(fan_of(view, host, self.dimension))
            title = f"{view.hosts[host].name} {DIMENSIONS[self.dimension]}  "
            words = [(span(title, "strong"), *forecast_sentence(view, host, self.dimension))]
            found = trust_marks(view, host, self.dimension)
            said, odd = mark_spans(found, glyphs), samples_sentence(view, host)
            words += [reason_line(found, glyphs)] if found else []
            words.append(_spaced(odd, account_sentence(view)))
            self.query_one(HeatStrip).show(view, host)
        self.query_one("#words", LinePane).show_lines(words)
        # what is still learning says so in its sentence, and there is room for one line only
        brief = () if view.learning else said
        self.query_one("#forecast", LinePane).show_lines([(Span(" "), *_spaced(words[0], brief))])
        self._title_fan(found)

    def _title_fan(self, found: tuple[Mark, ...]) -> None:
        """Say on the chart itself what it is not good for."""
        fan, doubts = self.query_one(FanChart), [mark.word for mark in found]
        fan.border_title = " - ".join(["forecast", *doubts])
        for pane in (fan, self.query_one("#words")):
            pane.set_class(bool(doubts), "-doubtful")

    def _show_plans(self, picture: Picture) -> None:
        glyphs = self.given.glyphs
        pane, newest = self.query_one("#plans", LinePane), self.query_one("#newest", LinePane)
        width = max(20, pane.size.width)
        lines: list[Line] = [plan_line(item, picture.now, width, glyphs) for item in picture.plans[:20]]
        first: Line = short_line(picture.plans[0], picture.now, glyphs) if picture.plans else ()
        if picture.no_plan is not None and not any(p.status.state == "PROPOSED" for p in picture.plans):
            reason = picture.no_plan.reasons[0].text if picture.no_plan.reasons else "nothing to do"
            lines.insert(0, (Span(f" {glyphs.none} no plan: ", "muted"), span(reason)))
            first = first or lines[0]
        pane.show_lines(lines or [(Span(" no plan yet", "muted"),)])
        newest.show_lines([first or (Span(" no plan yet", "muted"),)])

    def do_open(self) -> None:
        """Forecast and shards of the host over the whole screen."""
        self.toggle_class("-opened")

    def do_dimension(self) -> None:
        """Draw the next planned dimension."""
        self.dimension = (self.dimension + 1) % PLANNED
        self.show(self.picture)

    def leave(self) -> bool:
        """Close the opened host first, then drop the filter."""
        if self.has_class("-opened"):
            self.remove_class("-opened")
            return True
        return super().leave()
