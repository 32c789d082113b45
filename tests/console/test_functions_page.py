"""The page of functions: every call, where it is, what its loss would cost, and why a loop is no shards (S2.23)."""

from __future__ import annotations

from pathlib import Path

from conftest import console_on
from frames import START, Daemon, lively
from frames_functions import FUNCTIONS, block, run
from msgspec.structs import replace

from sidestep.console.functiontext import STATES, Call, CallRows, call_lines, exposure, watermark
from sidestep.console.text import ASCII, UNICODE, plain
from sidestep.fleet.functionruns import BLOCK_STATES


def test_what_a_loss_costs_is_counted_from_the_newest_capsule_else_from_the_beginning() -> None:
    assert round(exposure(block("b1", "RUNNING"), START), 3) == 0.4
    assert exposure(block("b1", "RUNNING", every=0.0), START) == 90.0
    assert exposure(block("b1", "ENDED"), START) == 0.0
    assert watermark(block("b1", "RUNNING")) == "relaxed:21 #44"
    assert watermark(block("b1", "RUNNING", every=0.0)) == "nothing kept"


def test_calls_that_failed_or_move_stand_first_and_those_that_ended_last() -> None:
    rows = CallRows.of((run(),), START)
    assert [call.block.state for call in rows.calls] == ["FAILED", "MOVING", "STARTING", "RUNNING", "ENDED"]
    assert len(set(rows.names)) == 5


def test_every_state_has_a_sign_a_word_and_a_colour() -> None:
    assert set(STATES) == set(BLOCK_STATES)
    for glyphs in (UNICODE, ASCII):
        signs = {getattr(glyphs, sign) for sign, _ in STATES.values()}
        assert len(signs) == len(STATES)


def test_a_call_tells_where_it_is_what_it_kept_what_happened_and_each_loop_at_its_line() -> None:
    runs = run()
    call = Call(runs, runs.functions[0], runs.functions[0].blocks[1])
    text = "\n".join(plain(line) for line in call_lines(call, START, 100, UNICODE))
    assert "moving h2 to h4" in text and "token 3" in text
    assert "kept #44 at relaxed:21, 10M of state on h2, h3" in text
    assert "the loss of its host costs 400ms" in text
    assert "h1 was lost: 0.4 s of work" in text and "moved from h2 to h3" in text
    assert "2 more calls wait for a place" in text
    lines = text.split("\n")
    at = next(n for n, line in enumerate(lines) if "for step in range(steps):" in line)
    assert lines[at].split()[0] == "20" and "in order" in lines[at] and "loop-carried-scalar (energy)" in lines[at + 1]
    assert any("12 for i in range(n):" in line and "shards" in line for line in lines)


def test_what_hosts_say_is_shown_as_text_however_it_looks() -> None:
    runs = run("[bold]\x1b[31m\u202eevil")
    for row in CallRows.of((runs,), START).calls:
        for line in call_lines(row, START, 80, ASCII):
            assert plain(line).isprintable()


async def test_the_page_follows_the_cursor_filters_and_says_why_there_is_nothing(socket: Path) -> None:
    async with Daemon(socket, lively()) as daemon, console_on(socket, (120, 40)) as console:
        await console.press("b")
        await console.sees("call report/4711.b5")
        table = console.app.place.table
        assert table is not None and list(table.keys)[1] == "relaxed/4711.b2"
        await console.press("j")
        await console.sees("moving h2 to h4")
        console.app.place.filter_by("relaxed/4711.b1")
        await console.sees("call relaxed/4711.b1")
        assert console.app.place.crumbs() == ("functions", "relaxed/4711.b1")
        console.app.place.filter_by("")
        daemon.functions = replace(FUNCTIONS, runs=())
        await console.press("escape")
        await console.press("b")
        await console.sees("no function runs")
