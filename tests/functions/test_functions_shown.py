"""What runs is shown by the daemon: blocks, the hosts they are on, their capsules, moves, ends, and loops (S2.23)."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest
from conftest import Workers, until

from sidestep.autopilot.functions import shown
from sidestep.autopilot.functions.calling import call_in
from sidestep.autopilot.functions.showing import Showing, loops_of
from sidestep.backends.functions.job import Block, Finished, Wishes
from sidestep.backends.functions.moving import move
from sidestep.backends.functions.sources import bundle
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.functionruns import BlockRow, FunctionRow, FunctionRun
from sidestep.fleet.labels import Label

pytestmark = pytest.mark.asyncio(loop_scope="module")


def of(run: FunctionRun, name: str) -> tuple[FunctionRow, BlockRow]:
    """A function and its newest call."""
    function = next(one for one in run.functions if one.name == name)
    return function, function.blocks[-1]


async def test_a_call_is_shown_where_it_runs_with_what_it_kept_where_it_moved_and_how_it_ended(
    workers: Workers, program: Path, tmp_path: Path
) -> None:
    """S2.23, S2.26: the watermark is the newest capsule's, and a move and the end are seen."""
    told: list[FunctionRun] = []
    showing = Showing(workers.conductor, told.append, lambda: 1000.0)
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    made = call_in(program.with_name("gated.py"), "gated", (40000, str(mark), str(gate)), {})
    running = asyncio.create_task(workers.conductor.call(made, Wishes(hosts=("h1", "h2"), every=0.2, shard=False)))

    async def row() -> BlockRow:
        return of(await showing.step(), "gated")[1]

    await until(mark.exists, "the call to begin")
    while not (found := await row()).sequence:
        await asyncio.sleep(0.05)
    assert (found.state, found.hosts, found.every) == ("RUNNING", ("h1",), 0.2)
    assert found.at == "gated" and found.line > 0 and found.nbytes > 0 and "h1" in found.holders
    assert 0 < found.captured <= 1000.0

    await move(workers.conductor, found.name, "h2")
    found = await row()
    assert found.hosts == ("h2",) and found.moves == 1
    assert found.events == ("moved from h1 to h2",)

    gate.touch()
    await running
    function, found = of(await showing.step(), "gated")
    assert (found.state, found.hosts, found.ended) == ("ENDED", ("h2",), 1000.0)
    assert found.events == ("moved from h1 to h2",)
    assert [(loop.depth, loop.verdict) for loop in function.loops] == [(0, "refused"), (1, "sequential")]
    assert "io" in function.loops[0].why
    assert sorted(told[-1].hosts) == ["h1", "h2", "h3"]


async def test_a_call_that_raises_is_shown_as_failed_with_what_it_said(workers: Workers, program: Path) -> None:
    """S2.23: an exception of the function's own."""
    showing = Showing(workers.conductor, lambda run: None, lambda: 1000.0)
    await workers.conductor.call(call_in(program, "refuses", (7,), {}), Wishes(shard=False))
    _, found = of(showing.said(), "refuses")
    assert found.state == "FAILED" and "ValueError" in found.events[-1]


async def test_a_call_that_no_host_could_run_is_shown_as_given_up(
    workers: Workers, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2.23: nobody tells its end, and it does not stay on the page as if it ran."""
    showing = Showing(workers.conductor, lambda run: None, lambda: 1000.0)
    begun, go = asyncio.Event(), asyncio.Event()

    async def nowhere(block: Block) -> Finished:
        begun.set()
        await go.wait()
        raise SidestepError("no host is left")

    monkeypatch.setattr(workers.conductor, "_alone", nowhere)
    running = asyncio.create_task(workers.conductor.call(call_in(program, "doubled", (1.0,), {}), Wishes(shard=False)))
    await begun.wait()
    assert of(await showing.step(), "doubled")[1].state == "STARTING"
    go.set()
    with pytest.raises(SidestepError):
        await running
    assert of(await showing.step(), "doubled")[1].state == "STARTING"
    found = of(await showing.step(), "doubled")[1]
    assert (found.state, found.ended) == ("FAILED", 1000.0)
    assert found.events == ("given up: no host could run it",)


async def test_loops_are_told_with_their_lines_verdicts_and_reasons(program: Path) -> None:
    """S1.11, S1.4: by the text alone; a function that is not there says so."""
    source = bundle(program.with_name("gated.py"))
    loops, problem = loops_of(source, "table")
    assert problem == ""
    assert [(loop.depth, loop.verdict, loop.text) for loop in loops] == [
        (0, "doall", "for i in range(n):"), (1, "reduction", "for j in range(50):"),
    ]  # fmt: skip
    assert loops_of(source, "nothing")[1] == "nothing is not at the top of its file"


async def test_a_file_is_read_only_when_it_is_whole_fresh_ones_own_and_of_a_process_that_lives(tmp_path: Path) -> None:
    """S2.23: what is shown comes from a folder that others might write to."""
    folder = shown.folder_beside(tmp_path / "daemon.sock")
    run = FunctionRun(pid=os.getpid(), time=100.0, functions=(), waiting=3, hosts=(Label("h1"),))
    shown.leave(folder, run)
    path = folder / f"{os.getpid()}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert shown.shown(folder, 101.0) == (run,)
    assert shown.shown(folder, 100.0 + shown.STALE + 1) == ()
    (folder / "1.json").write_bytes(path.read_bytes())  # its number is another's
    (folder / "2.json").write_text("{broken")
    (folder / "3.json").symlink_to(path)
    assert shown.shown(folder, 101.0) == (run,)
    assert shown.shown(folder, 101.0, alive=lambda pid: False) == ()
    assert not path.exists()
    shown.leave(folder, run)
    shown.withdraw(folder, os.getpid())
    assert shown.shown(folder, 101.0) == ()
