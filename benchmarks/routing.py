"""Moves, a drain, a split and a merge through real HAProxy under constant load: what becomes of every request.

A daemon on four embedded hosts, two shards of one app and a spare behind HAProxy, clients that keep their
connections and count what was acknowledged. Afterwards every key is read: fewer is lost, more is duplicated.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from benchmarks.harness import Goal, Report, Sample, main
from benchmarks.harness import interleave as turns
from benchmarks.routing_stage import Account, Load, Stage, audit, staged
from sidestep.autopilot.protocol import ProposeMove
from sidestep.autopilot.protocol_reshard import ProposeReshard

#: requests under which each change is made, at least
FULL: Final = 20_000
QUICK: Final = 1_500
Act = Callable[[Stage], Awaitable[None]]


async def move(stage: Stage) -> None:
    """One shard to a host of its own."""
    await stage.plan(lambda: stage.call(ProposeMove("kv-0", str(stage.fleet.names[3]), "benchmark")))


async def drain(stage: Stage) -> None:
    """Everything off the host that has both shards by then."""
    for shard, host in (("kv-1", 3), ("kv-0", 0), ("kv-1", 1)):
        await stage.plan(lambda s=shard, h=host: stage.call(ProposeMove(s, str(stage.fleet.names[h]), "benchmark")))


async def split(stage: Stage) -> None:
    """The upper half of a shard's keys to the spare."""
    await stage.plan(lambda: stage.call(ProposeReshard("split", "kv-0", reason="benchmark")))


async def merge(stage: Stage) -> None:
    """And back."""
    await stage.plan(lambda: stage.call(ProposeReshard("merge", "kv-0", reason="benchmark")))


CHANGES: Final[dict[str, Act]] = {"move": move, "drain": drain, "split": split, "merge": merge}


async def change(stage: Stage, act: Act, least: int, total: Account) -> Sample:
    """One change in the middle of at least so many requests."""
    load = Load(stage.port)
    running = asyncio.create_task(load.run())
    await _reached(load, least // 3)
    await act(stage)
    await _reached(load, least)
    load.stop()
    await running
    total.acked.update(load.account.acked)
    lost, twice = await audit(stage, total)
    waits = sorted(load.account.waits)
    return {
        "requests": load.account.requests, "failed": len(load.account.failed), "lost": lost, "duplicated": twice,
        "p50_ms": waits[len(waits) // 2] * 1e3, "longest_ms": waits[-1] * 1e3,
    }  # fmt: skip


async def _reached(load: Load, requests: int) -> None:
    while load.account.requests < requests:  # noqa: ASYNC110 - clients are many tasks
        await asyncio.sleep(0.05)


async def measure(least: int) -> dict[str, Sample]:
    """Every change once, on one stage, one after the other."""
    with tempfile.TemporaryDirectory(prefix="sidestep-routing-") as folder:
        async with staged(Path(folder)) as stage:
            total = Account()
            return {name: await change(stage, act, least, total) for name, act in CHANGES.items()}


def run(quick: bool) -> Report:
    """Every change; the figures are those of the requests under which it was made."""
    least = QUICK if quick else FULL
    found = asyncio.run(measure(least))
    figures = turns({name: (lambda name=name: found[name]) for name in CHANGES}, 1)
    goals = tuple(
        Goal(f"{name}: {what}", found[name][what], "requests", 0, "==")
        for name in CHANGES
        for what in ("failed", "lost", "duplicated")
    )
    sent = tuple(Goal(f"{name}: requests", found[name]["requests"], "requests", least, ">=") for name in CHANGES)
    return Report("routing", (*goals, *sent), figures, 1, quick)


if __name__ == "__main__":
    main("routing", run)
