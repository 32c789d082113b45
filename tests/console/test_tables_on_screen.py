"""Tables: sorted by any column, filtered, marked, frozen; what is off the screen costs nothing."""

from __future__ import annotations

from pathlib import Path

from conftest import Console, console_on
from frames import Daemon, Fleet

from sidestep.autopilot.protocol_capsules import CapsuleList, CapsuleRow
from sidestep.autopilot.protocol_queue import QueueRow, QueueView
from sidestep.console.sheet import Sheet
from sidestep.console.widgets.sheettable import SheetTable
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Reason


def table(console: Console, selector: str = "#shards") -> SheetTable:  # type: ignore[type-arg]
    return console.app.screen.query_one(selector, SheetTable)


async def test_any_column_sorts_by_key_by_mouse_and_by_word(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("2")
        shards = table(console)
        assert shards.sort == "cpu" and "CORES▾" in console.text()
        await console.press("less_than_sign")
        assert shards.sort == "host"
        places = [shards.data.figures.shard_host[shards.data.shard_rows[key]] for key in shards.keys]  # type: ignore[union-attr]
        assert places == sorted(places)
        await console.press("greater_than_sign", "greater_than_sign")
        assert shards.sort == "mem" and shards.keys[0] == "shop-11"
        await console.press("r")
        assert shards.keys[0] == "shop-00" and "MEM▴" in console.text()
        x = console.lines()[2].index("SHARD")
        await console.pilot.click(shards, offset=(x, 1))
        await console.press()
        assert shards.sort == "shard" and list(shards.keys) == sorted(shards.keys)
        await console.press("colon", *"sort bytes", "enter")
        assert shards.sort == "bytes"
        await console.press("colon", *"sort colour", "enter")
        await console.sees("no column colour here; there are: shard")


async def test_the_cursor_keeps_its_row_whatever_is_sorted_or_filtered(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("2")
        shards = table(console)
        shards.select("shop-05")
        await console.press("r", "greater_than_sign", "slash", *"cpu<0.2", "enter")
        assert shards.cursor == "shop-05" and set(shards.keys) == {"shop-00", "shop-05", "shop-10"}
        assert "3 of 12" in console.text() and "/cpu<0.2" in console.lines()[0]
        await console.press("escape")
        assert shards.cursor == "shop-05" and len(shards.keys) == 12


async def test_marked_rows_have_a_sign_and_can_be_shown_alone(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("2")
        shards = table(console)
        first, second = list(shards.keys)[:2]
        await console.press("space")
        assert any(f"◆· {first}" in line for line in console.lines()) and shards.cursor == second
        await console.press("slash", *"mark=1", "enter")
        assert list(shards.keys) == [first]
        await console.press("escape", "g", "space")
        assert not shards.marked


async def test_a_wrong_filter_says_why_beside_the_line_and_keeps_the_rows(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket) as console:
        await console.press("slash", *"risk>x")
        assert "x is no number" in console.lines()[-1]
        await console.press("backspace", "0", "period", "9", "enter")
        assert list(table(console, "#hosts").keys) == []
        await console.press("escape", "slash", "left_square_bracket", "enter")
        await console.sees("filter: [")
        assert len(table(console, "#hosts").keys) == 4


async def test_rows_off_the_screen_are_never_made(socket: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    made: list[int] = []
    line = Sheet.line
    monkeypatch.setattr(
        Sheet, "line", lambda self, data, row, *rest: (made.append(row), line(self, data, row, *rest))[1]
    )
    async with Daemon(socket, Fleet(hosts=40, shards=5000)), console_on(socket, (80, 24)) as console:
        await console.press("2")
        assert len(table(console).keys) == 5000
        made.clear()
        console.app.beat()
        await console.pilot.pause()
        assert len(set(made)) <= 24
        await console.press("G")
        assert any(f" {table(console).keys[-1]} " in line for line in console.lines())


async def test_the_log_follows_again_on_demand_and_says_whether_it_does(daemon: Daemon, socket: Path) -> None:
    from sidestep.fleet.events import Event
    from sidestep.fleet.labels import Label

    daemon.events += [Event(seq=n, time=1.0, kind="step", text=Label(f"row {n:03d}")) for n in range(3, 90)]
    async with console_on(socket, (120, 40)) as console:
        await console.press("5")
        await console.sees("row 089")
        await console.sees("following")
        await console.press("g")
        await console.sees("held: F follows")
        await console.press("F")
        await console.sees("row 089")
        await console.press("slash", *"kind=step !08", "enter")
        await console.sees("row 079")
        assert "row 089" not in console.text()


async def test_shards_say_how_old_what_is_kept_of_them_is_and_why_they_wait(daemon: Daemon, socket: Path) -> None:
    kept = {"owner": Label("h2"), "replicas": 1, "every": 10.0, "copies": (Label("h4"),)}
    rows = (
        CapsuleRow(shard=Label("shop-01"), age=7.0, stale=False, **kept),  # type: ignore[arg-type]
        CapsuleRow(shard=Label("shop-02"), age=90.0, stale=True, **kept),  # type: ignore[arg-type]
    )
    daemon.capsules = CapsuleList(rows=rows)
    why = Reason("NO_ROOM", Label("no host has room for it"))
    daemon.queue = QueueView(
        rows=(
            QueueRow(
                shard=Label("shop-03"), app=Label("shop"), priority=3, cause="preempted", deployment=Label(""),
                since=0.0, waited=42.0, benefit=1.0, host=Label("h1"), bytes=5, digest="", cpu=0.1, memory=1,
                reason=why, reasons=(), looked=0.0,
            ),
        )
    )  # fmt: skip
    async with console_on(socket, (140, 40)) as console:
        await console.press("2")
        await console.sees("● queued")
        row = {name: next(line for line in console.lines() if f" {name} " in line) for name in ("shop-01", "shop-02")}
        assert " 7s" in row["shop-01"] and "✗ 90s" in row["shop-02"]
        console.app.run_line("sort capsule")
        await console.press("g")
        assert console.app.place.table.cursor == "shop-02", "the oldest comes first"
        assert "90s old on h4, every 10s  older than it should be" in console.text()
        console.app.run_line("shard shop-03")
        await console.sees("queued for 42s: no host has room for it [NO_ROOM]")
