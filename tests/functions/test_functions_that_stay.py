"""Blocks that do not stop when they are asked to: they say why, end where they are, and may be asked again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from conftest import Workers, until

from sidestep.autopilot.functions.calling import call_in, value_of
from sidestep.backends.functions.job import Wishes
from sidestep.backends.functions.moving import move
from sidestep.fleet.errors import SidestepError

pytestmark = [pytest.mark.fleet, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_a_block_that_cannot_be_stopped_says_why(workers: Workers, program: Path, tmp_path: Path) -> None:
    """A move of a block without safepoints is refused with the reason, and the block ends where it is."""
    gate = str(tmp_path / "gate")
    run = asyncio.create_task(workers.conductor.call(call_in(program, "waits", (gate,), {}), Wishes(shard=False)))
    block = await until(lambda: next((b for b in workers.conductor.blocks.values() if b.at), None), "the block")
    (host,) = block.at.values()
    with pytest.raises(SidestepError, match="it has no loop"):
        await move(workers.conductor, block.name, next(h for h in workers.cluster.workers if h != host))
    Path(gate).touch()
    assert value_of(await run) == gate


async def test_a_block_that_was_not_at_a_safepoint_once_may_move_later(
    workers: Workers, program: Path, tmp_path: Path
) -> None:
    gate, end = tmp_path / "gate", tmp_path / "end"
    os.mkfifo(gate)
    call = call_in(program.with_name("gated.py"), "late", (str(gate), str(end)), {})
    run = asyncio.create_task(workers.conductor.call(call, Wishes(shard=False)))
    block = await until(lambda: next((b for b in workers.conductor.blocks.values() if b.at), None), "the block")
    ((token, host),) = block.at.items()
    guard = workers.conductor.guard
    with pytest.raises(SidestepError, match="it reached no safepoint"):
        await guard.next(host, block.name, token, None, seconds=0.5)
    await asyncio.to_thread(gate.write_text, "go")
    moved = await move(workers.conductor, block.name, next(h for h in workers.cluster.workers if h != host))
    assert moved.source == host
    end.touch()
    finished = await run
    assert value_of(finished) == str(end) and finished.moves == 1
