"""What the console's benchmark looks at: a large synthetic fleet behind the real server, and the peer applications.

``python -m benchmarks.console_stage serve SOCKET HOSTS SHARDS lively|quiet`` sends a picture every half second: every
number of every host and shard moves, or none. ``... table SOCKET`` is a DataTable of the same hosts and
cells, of which only visible ones that changed are updated; ``... lines SOCKET`` is our table in its place, sorting and
all; ``... nothing SOCKET`` draws nothing of what it gets.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from textual.app import App, ComposeResult
from textual.filter import LineFilter
from textual.screen import Screen
from textual.widgets import DataTable, Static

from sidestep import themes
from sidestep.autopilot.protocol import (
    HOST_STATES,
    SHARD_STATES,
    VERSION,
    EventList,
    GetLog,
    HostStrings,
    ListPlans,
    PlanList,
    ShardStrings,
    SnapshotFrame,
    Welcome,
)
from sidestep.autopilot.server import Server
from sidestep.console.compositing import LineCompositor
from sidestep.console.context import Context
from sidestep.console.feed import Feed
from sidestep.console.guard import TerminalGuard
from sidestep.console.hostcolumns import HOSTS
from sidestep.console.sessions import Attached
from sidestep.console.skin import skin
from sidestep.console.text import UNICODE
from sidestep.console.widgets.sheettable import SheetTable
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState

BEAT = 0.5
PAST, FUTURE = 90, 30
START = 1790000000.0
GIB = 1024.0**3


class Stage:
    """The service of a fleet whose numbers wander, or stand still."""

    def __init__(self, hosts: int, shards: int, *, lively: bool) -> None:
        rng = np.random.default_rng(7)
        self._lively, self.number = lively, 1
        self._phase, self._base = rng.uniform(0, 6.28, (hosts, 2)), rng.uniform(0.15, 0.6, (hosts, 2))
        self._shard = rng.uniform(0.05, 0.4, (shards, 2))
        self._shard_host = rng.integers(0, hosts, shards).astype("<i4")
        self._hosts = tuple(HostStrings(Label(f"web-{h:04d}"), Label(f"z{h % 3}")) for h in range(hosts))
        self._shards = tuple(ShardStrings(Label(f"shop-{s:05d}"), Label(f"app-{s % 40}")) for s in range(shards))
        self._bytes = rng.uniform(1e6, 1e9, shards).astype("<f4")
        limit = np.full((hosts, 6), np.nan)
        limit[:, 0], limit[:, 1] = 16.0, 64 * GIB
        self._allocatable = limit.astype("<f4").tobytes()

    def load(self, time: float) -> Any:
        """(H, 2) fractions at a time."""
        return self._base + 0.25 * np.sin(time / 23 + self._phase)

    def frame(self) -> SnapshotFrame:
        """The picture of now."""
        hosts, shards = len(self._hosts), len(self._shards)
        time = START + (self.number * BEAT if self._lively else 0.0)
        now = self.load(time)
        past = np.stack([self.load(time - PAST + 1 + at) for at in range(PAST)], axis=2)
        ahead = np.stack([self.load(time + 10 * at) for at in range(1, FUTURE + 1)], axis=2)
        spread = 0.01 * np.sqrt(np.arange(1, FUTURE + 1))
        future = ahead[..., None] + spread[:, None] * np.array([-1.645, -0.842, 0.0, 0.842, 1.645])
        use = np.column_stack([now[:, 0] * 16, now[:, 1] * 64 * GIB, now * 100, now * 1e6])
        wave = 1 + 0.2 * np.sin(time / 7) if self._lively else 1.0
        return SnapshotFrame(
            number=self.number, time=time, generation=3, level="advise", lag=0.0, oracle=Label(""),
            model=Label("trend"), confidence="ok", tables=1, hosts=self._hosts, shards=self._shards,
            allocatable=self._allocatable, shard_priority=np.full(shards, 3, "<i4").tobytes(),
            host_state=bytes([HOST_STATES.index(HostState.READY)]) * hosts, reasons={},
            use=use.astype("<f4").tobytes(), age=np.full(hosts, 0.4, "<f4").tobytes(),
            shard_state=bytes([SHARD_STATES.index(ShardState.RUNNING)]) * shards,
            shard_host=self._shard_host.tobytes(),
            shard_use=(self._shard * wave * [1.0, 1e9]).astype("<f4").tobytes(), shard_bytes=self._bytes.tobytes(),
            past=past.astype("<f2").tobytes(), past_steps=PAST, past_step=1.0,
            future=future.astype("<f2").tobytes(), future_steps=FUTURE, future_step=10.0,
            risk=np.clip((ahead.max(axis=2) - 0.5) * 2, 0, 1).astype("<f4").tobytes(),
            threshold_cpu=0.8, threshold_memory=0.85, trust=b"\x01" * (hosts * 2),
            quality=np.zeros((hosts, 4), "<f4").tobytes(),
        )  # fmt: skip

    def welcome(self, actor: Label) -> Welcome:
        """Who answers."""
        return Welcome(
            version=VERSION, daemon="0", fleet=Label("bench"), level="advise", banner=Label(""), notice=Label(""),
            pid=1, actor=actor,
        )  # fmt: skip

    async def list_plans(self, request: ListPlans) -> PlanList:
        """None."""
        return PlanList((), None)

    async def get_log(self, request: GetLog) -> EventList:
        """Nothing."""
        return EventList(())

    async def _none(self, *_: object) -> NoReturn:
        raise SidestepError("not here")

    get_plan = approve = reject = propose_move = propose_reshard = set_level = steer = levels = app_locks = _none
    get_instance = _none
    list_queue = retry = get_demand = oracle = planning = shutdown = _none


async def serve(path: Path, hosts: int, shards: int, *, lively: bool) -> None:
    """Serve until ended."""
    stage = Stage(hosts, shards, lively=lively)
    server = Server(path, stage)
    server.claim()
    await server.start()
    while True:
        await asyncio.sleep(BEAT)
        stage.number += 1
        server.announce()


class Peer(App[None]):
    """The same feed and beat, drawn by a DataTable, by our own table, or not at all."""

    def __init__(self, path: Path, drawn: str) -> None:
        self._guard = TerminalGuard()
        super().__init__()
        self._feed, self._drawn, self._width = Feed(Attached(path)), drawn, 196
        self._shown: dict[tuple[int, str], str] = {}

    def compose(self) -> ComposeResult:
        """A table, or a word."""
        if self._drawn == "table":
            yield DataTable(cursor_type="row", zebra_stripes=False)
        elif self._drawn == "lines":
            yield SheetTable(HOSTS, Context(feed=self._feed, glyphs=UNICODE))
        else:
            yield Static("nothing is drawn", markup=False)

    def get_default_screen(self) -> Screen[Any]:
        """Our table on a screen that is painted as the console's are."""
        screen: Screen[Any] = Screen(id="_default")
        if self._drawn == "lines":
            screen._compositor = LineCompositor()
        return screen

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Our table under the filters that it has in the console."""
        return [self._guard] if self._drawn == "lines" else super().get_line_filters()

    def on_mount(self) -> None:
        """Begin."""
        theme = skin(themes.load())
        self.register_theme(theme)
        self.theme = theme.name
        self.run_worker(self._feed.run())
        self.set_interval(BEAT, self.beat)

    def beat(self) -> None:
        """Bring the visible rows up to date."""
        view = self._feed.view
        if view is None or self._drawn == "nothing":
            return
        if self._drawn == "lines":
            self.query_one(SheetTable).show_sheet(view)
            return
        from rich.text import Text  # noqa: PLC0415

        table = self.query_one(DataTable)
        columns = HOSTS.shown(self._width)
        if not table.columns:
            for column, width in columns:
                table.add_column(column.title, key=column.id, width=width)
            for name in HOSTS.names(view):
                table.add_row(*("" for _ in columns), key=name)
        top = round(table.scroll_y)
        visible = range(top, min(len(view.hosts), top + table.size.height))
        HOSTS.ready(view, visible)
        for row in visible:
            for column, width in columns:
                text = "".join(span.text for span in column.cells(view, row, width, UNICODE))
                if self._shown.get((row, column.id)) != text:
                    self._shown[row, column.id] = text
                    table.update_cell(view.hosts[row].name, column.id, Text(text))


if __name__ == "__main__":
    what, path, *rest = sys.argv[1:]
    if what == "serve":
        asyncio.run(serve(Path(path), int(rest[0]), int(rest[1]), lively=rest[2] == "lively"))
    else:
        Peer(Path(path), what).run()
