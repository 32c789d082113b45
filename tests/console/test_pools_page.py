"""The page of pools: what it says of each, worst first, and of every instance (S2.21)."""

from __future__ import annotations

from pathlib import Path

from conftest import console_on
from frames import START, Daemon, lively
from frames_pools import POOLS, pool
from msgspec.structs import replace

from sidestep.autopilot.protocol_pools import DrillPool
from sidestep.console.pooltext import PoolRows, condition, drilled, pool_lines
from sidestep.console.text import ASCII, UNICODE, plain
from sidestep.fleet.labels import Label


def test_a_pool_is_called_by_the_worst_that_is_wrong_with_it() -> None:
    fine = pool("web")
    cases = {
        "ok": fine,
        "filling": pool("web", wanted=3, drill_ok=True),
        "drill failed": pool("web", wanted=3, drill_ok=False),
        "short": pool("web", unmet=1, drill_ok=False),
    }
    assert {word: condition(found) for word, found in cases.items()} == {word: word for word in cases}
    assert condition(replace(fine, drill_ok=False, drill_ended=False)) == "ok"
    rows = PoolRows.of((replace(cases[word], name=Label(word)) for word in cases), START)
    assert rows.names == ("short", "drill failed", "filling", "ok")


def test_what_is_said_of_a_drill() -> None:
    fine = pool("web")
    assert drilled(replace(fine, drilled=0.0), START) == "none yet"
    assert drilled(replace(fine, drill_ended=False), START) == "under way"
    assert drilled(fine, START).startswith("ok, woke within 2") and "ago" in drilled(fine, START)
    assert drilled(pool("web", drill_ok=False), START).endswith("ago: it did not answer")


def test_every_instance_has_a_sign_a_word_and_a_colour_of_its_state() -> None:
    for glyphs in (UNICODE, ASCII):
        lines = pool_lines(pool("web", unmet=1), START, 100, glyphs)
        rows = [line for line in lines if plain(line)[3:].startswith("web-")]
        assert len(rows) == 6 and len({plain(row)[1] for row in rows[:3]}) == 2
        assert all(row[0].style == row[2].style for row in rows)
        assert glyphs.done in plain(rows[0]) and "ready" in plain(rows[0]) and "scrubbing *" in plain(rows[5])
        text = "\n".join(plain(line) for line in lines)
        assert "2 of 2 stand ready" in text and "forecast, measurement +1" in text
        assert all(len(plain(line)) <= 100 for line in lines)


async def test_the_page_follows_the_cursor_sorts_and_says_why_there_is_nothing(socket: Path) -> None:
    async with Daemon(socket, lively()) as daemon, console_on(socket, (120, 40)) as console:
        await console.press("o")
        await console.sees("pool web")
        table = console.app.place.table
        assert table is not None and list(table.keys) == ["web", "old", "batch"]
        await console.press("j")
        await console.sees("it did not answer")
        console.app.place.filter_by("state=filling")
        await console.sees("pool batch")
        assert console.app.place.crumbs() == ("pools", "batch")
        console.app.place.filter_by("")
        daemon.pools = replace(POOLS, pools=())
        await console.press("escape")
        await console.press("o")
        await console.sees("no pool is declared")


async def test_a_fire_drill_is_typed_for_the_pool_under_the_cursor_shown_and_confirmed(
    daemon: Daemon, socket: Path
) -> None:
    """S4.18: where it cannot begin, the key says why."""
    async with console_on(socket) as console:
        console.app.run_line("drill")
        await console.sees("drill which pool?")
        await console.press("o")
        await console.sees("pool web")
        await console.press("d", "enter")
        await console.sees("fire drill of web")
        assert "1 cold; the newest drill: ok, woke within 2s" in console.text() and not daemon.steered
        await console.press(*"before sale", "enter")
        await console.sees("web-5 on h2 is woken")
        assert daemon.steered == [DrillPool("web", "before sale")]
        console.app.run_line("drill nothere")
        await console.sees("there is no pool nothere")
        awake, busy = replace(pool("web"), states={"READY": 2}), replace(pool("web"), drill_ended=False)
        for row, why in ((awake, "has no cold instance to wake"), (busy, "one of pool web is under way")):
            daemon.pools = replace(POOLS, pools=(row,))
            console.app.run_line("drill web")
            await console.sees(why)
            await console.press("escape", "o")
            await console.sees("2 of 2 stand ready")
            console.app.clear_notifications()
            await console.press("d")
            await console.sees(why)
        assert len(daemon.steered) == 1


async def test_who_may_only_look_begins_no_drill_and_divides_no_shard(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, read_only=True) as console:
        await console.press("o")
        await console.sees("pool web")
        for press in (lambda: console.press("d"), lambda: console.app.run_line("drill web")):
            console.app.clear_notifications()
            await console.press()
            if (waiting := press()) is not None:
                await waiting
            await console.sees("drill is disabled: this console is read-only")
        console.app.run_line("split shop-01")
        await console.sees("split is disabled: this console is read-only")
        assert not daemon.steered and not daemon.resharded
