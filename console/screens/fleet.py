"""The Fleet screen: will anything run hot, where, when, and what is proposed about it.

Looking only: no key of this screen changes the fleet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from sidestep.console.context import Context, Picture
from sidestep.console.hostcolumns import HOSTS
from sidestep.console.hosttext import (
    account_sentence,
    fan_of,
    forecast_sentence,
    samples_sentence,
    trust_marks,
)
from sidestep.console.plantext import plan_line, short_line
from sidestep.console.screens.base import ConsoleScreen, screen_bindings
from sidestep.console.shardcolumns import ON_HOST
from sidestep.console.text import Line, Span, span
from sidestep.console.trusttext import Mark, mark_spans, reason_line
from sidestep.console.view import FleetView
from sidestep.console.widgets.fan import FanChart
from sidestep.console.widgets.heat import HeatMap, HeatStrip
from sidestep.console.widgets.lines import LinePane, entitle
from sidestep.console.widgets.linetable import LineTable, moved
from sidestep.console.widgets.sheettable import SheetTable
from sidestep.fleet.labels import scrub
from sidestep.fleet.machines import PlanState
from sidestep.fleet.resources import CPU, DIMENSIONS, PLANNED

#: plans of which something came: the last actions and their outcome
ENDED: Final = frozenset(
    {PlanState.SUCCEEDED, PlanState.PARTIAL, PlanState.FAILED, PlanState.CANCELLED, PlanState.UNDONE}
)


def spaced(*parts: Line) -> Line:
    """The parts that say anything, with room between them."""
    spans: list[Span] = []
    for part in parts:
        spans += [*((Span("  "),) if spans and part else ()), *part]
    return tuple(spans)


class FleetScreen(ConsoleScreen):
    """Hosts sorted calmly by time to contention; forecast, shards and plans as the terminal has room."""

    SCOPE: ClassVar[str] = "fleet"
    TABLE: ClassVar[str] = "#hosts"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("fleet")

    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(context)
        self._clock = clock
        self.dimension = CPU

    def compose_body(self) -> ComposeResult:
        """Left the tables, right the pictures; the style sheet decides what fits."""
        with Horizontal(id="body", classes="body"):
            with Vertical(id="left"):
                yield SheetTable(HOSTS, self.given, id="hosts", classes=self.pane, clock=self._now, leads=True)
                yield SheetTable(ON_HOST, self.given, id="shards", classes=self.pane)
            with Vertical(id="right"):
                heat = HeatStrip(self.given, id="heat")
                heat.add_class(*self.pane.split())
                yield heat
                fan = FanChart(self.given, id="fan")
                fan.add_class(*self.pane.split())
                yield fan
                yield LinePane(id="words")
                yield LinePane(id="plans", classes=self.pane)
        with Vertical(id="map", classes="body"):
            whole = HeatMap(self.given, id="heatmap")
            whole.add_class(*self.pane.split())
            yield whole
        yield LinePane(id="forecast", classes="body")
        yield LinePane(id="newest", classes="body")

    def on_mount(self) -> None:
        """Name the panes and put the keys on the hosts."""
        titles = {"hosts": "hosts by time to contention", "shards": "shards of the host", "plans": "plans"}
        chance = "chance of contention, all hosts"
        for name, title in {**titles, "fan": "forecast", "heat": chance, "heatmap": chance}.items():
            entitle(self.query_one(f"#{name}"), title)
        self.hosts.focus()

    def _now(self) -> float:
        return self._clock()

    @property
    def hosts(self) -> SheetTable[FleetView]:
        """The table of hosts."""
        return self.query_one("#hosts", SheetTable)

    def crumbs(self) -> tuple[str, ...]:
        """The fleet and the host under the cursor."""
        return ("fleet", self.hosts.cursor) if self.hosts.cursor else ("fleet",)

    def hosts_meant(self) -> tuple[str, ...]:
        """The marked hosts, or the one under the cursor."""
        return self.hosts.meant

    def show_body(self, picture: Picture) -> None:
        """Order, filter and show the hosts, then what hangs on the cursor."""
        view = picture.view
        assert view is not None
        self.hosts.show_sheet(view, self.query_now)
        if self.hosts.sort != HOSTS.first:
            entitle(self.hosts, f"hosts by {self.hosts.sort}")
        else:
            entitle(self.hosts, "hosts by time to contention")
        self._share_height(len(self.hosts.keys))
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
        self.again()

    @on(HeatMap.Chosen)
    def _chosen(self, event: HeatMap.Chosen) -> None:
        view = self.picture.view
        if view is None or not view.hosts:
            return
        at = view.rows.get(self.hosts.cursor, 0)
        to = moved(event.to, at, len(view.hosts) - 1, 20) if event.to else event.row
        self.hosts.select(view.host_names[to])

    def _show_host(self, view: FleetView) -> None:
        glyphs, host = self.given.glyphs, view.rows.get(scrub(self.hosts.cursor))
        found: tuple[Mark, ...]
        said: Line
        if self.query_one("#shards").display:
            rows = view.figures.shards_of(-2 if host is None else host)
            self.query_one("#shards", SheetTable).show_sheet(view, rows=rows)
        if host is None:
            self.query_one(FanChart).show(None)
            words: list[Line] = [(Span(" no host matches the filter", "muted"),)]
            found, said = (), ()
        else:
            present = self.picture.present
            assert present is not None
            drawn = view if self.picture.with_plan and not view.ahead else present
            self.query_one(FanChart).show(fan_of(drawn, host, self.dimension, view.ahead))
            title = f"{view.hosts[host].name} {DIMENSIONS[self.dimension]}  "
            words = [(span(title, "strong"), *forecast_sentence(view, host, self.dimension))]
            found = trust_marks(view, host, self.dimension)
            said, odd = mark_spans(found, glyphs), samples_sentence(view, host)
            words += [reason_line(found, glyphs)] if found else []
            words.append(spaced(odd, account_sentence(view)))
            for strip in ("#heatmap",) if self.has_class("-mapped") else ("#heat",):
                self.query_one(strip, HeatStrip).show(view, host)
        self.query_one("#words", LinePane).show_lines(words)
        # what is still learning says so in its sentence, and there is room for one line only
        brief = () if view.learning else said
        self.query_one("#forecast", LinePane).show_lines([(Span(" "), *spaced(words[0], brief))])
        self._title_fan(found)

    def _title_fan(self, found: tuple[Mark, ...]) -> None:
        """Say on the chart itself what it is not good for."""
        fan, doubts = self.query_one(FanChart), [mark.word for mark in found]
        entitle(fan, " - ".join(["forecast", *doubts]))
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
        ended = next(
            (item for item in picture.plans if item.status.state in ENDED and item is not picture.plans[0]), None
        )
        last: list[Line] = [short_line(ended, picture.now, glyphs)] if ended is not None else []
        newest.show_lines([first or (Span(" no plan yet", "muted"),), *last])
        newest.styles.height = 1 + len(last)

    def do_open(self) -> None:
        """The page of the host under the cursor, or of the shard."""
        shards = self.query_one("#shards", SheetTable)
        if shards.has_focus and shards.cursor:
            self.go("shard", shards.cursor)
        elif self.hosts.cursor:
            self.go("host", self.hosts.cursor)

    def do_view(self) -> None:
        """All hosts as a heat map, or as a table again."""
        mapped = not self.has_class("-mapped")
        self.set_class(mapped, "-mapped")
        (self.query_one("#heatmap") if mapped else self.hosts).focus()
        self.call_after_refresh(self.again)

    def do_dimension(self) -> None:
        """Draw the next planned dimension."""
        self.dimension = (self.dimension + 1) % PLANNED
        self.again()

    def leave(self) -> bool:
        """Close the map first, then drop the filter."""
        if self.has_class("-mapped"):
            self.do_view()
            return True
        return super().leave()
