"""The main job end to end: a predicted contention is avoided on real processes.

Each run is ``sidestep demo --headless --json``: an embedded fleet whose plan is approved,
and, in the same minutes and from the same seed, a second one whose plan is rejected. The
rejected one is the peer: what the hosts would have seen without us. A story takes two and
a half minutes, so ``--quick`` times single moves under load instead, without a prediction:
an operator's plan from approval to its end.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import ChildClock, Goal, Report, Sample, interleave, main
from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.demo.stage import Stage
from sidestep.autopilot.protocol import Approve, GetPlan, PlanView, ProposeMove
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.machines import PLAN, PlanState, final

THRESHOLD = 0.8


def story(seed: int) -> Sample:
    """The figures of one headless demonstration; a story that failed counts as such."""
    sidestep = str(Path(sys.executable).with_name("sidestep"))
    with ChildClock() as clock:
        done = subprocess.run(
            [sidestep, "demo", "--headless", "--json", "--seed", str(seed)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    if not done.stdout.strip():
        raise RuntimeError(f"the demonstration told nothing (exit {done.returncode}): {done.stderr[-2000:]}")
    told = json.loads(done.stdout)
    return {
        "succeeded": float(done.returncode == 0),
        "wall_s": clock.wall,
        "lead_s": told["lead_s"] or 0.0,
        "freeze_ms": max(told["freeze_ms"] or [0.0]),
        "lost": told["lost"],
        "duplicated": told["duplicated"],
        "requests": told["requests"],
        "peak_after": told["peak_after"],
        "peak_without": told["peak_without"],
    }


async def moves(count: int) -> list[Sample]:
    """Moves of one shard after the other on a fleet of two hosts under load, and the audit after them."""
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="ss-") as folder:
        async with Stage(Path(folder), hosts=2, shards=4, seed=3) as stage:
            client = await stage.attach()
            for shard, destination in [("kv-01", "h2"), ("kv-01", "h1")] * (count // 2):
                samples.append(await one_move(client, shard, destination))
            audit = await stage.router().audit()
            await client.aclose()
    return [{**sample, "lost": audit["lost"], "duplicated": audit["duplicated"]} for sample in samples]


async def one_move(client: AsyncClient, shard: str, destination: str) -> Sample:
    """An operator's plan from approval to its end; waits first until its shard may move."""
    async with asyncio.timeout(40):
        while True:
            try:
                view = await client.call(ProposeMove(shard, destination, "benchmark"))
                break
            except SidestepError:
                await asyncio.sleep(0.2)
        assert isinstance(view, PlanView)
        started = time.perf_counter()
        await client.call(Approve(view.digest, "benchmark"))
        while view.status.state is not PlanState.SUCCEEDED:
            await asyncio.sleep(0.02)
            answer = await client.call(GetPlan(view.digest))
            assert isinstance(answer, PlanView)
            view = answer
            if final(PLAN, view.status.state):
                raise RuntimeError(f"the plan ended {view.status.state}: {view.status.note}")
    return {"move_s": time.perf_counter() - started, "freeze_ms": view.status.actions[0].freeze_ms}


def quick_report() -> Report:
    """Single moves: how long requests wait, and that none is lost."""
    samples = iter(asyncio.run(moves(4)))
    figures = interleave({"one move": lambda: next(samples)}, 4)
    ours = figures["one move"]
    goals = (
        Goal("requests wait (freeze)", ours["freeze_ms"].median, "ms", 1000, "<", {}),
        Goal("move, approval to end", ours["move_s"].median, "s", 10, "<", {}),
        Goal("requests lost", ours["lost"].high, "requests", 0, "==", {}),
        Goal("requests served twice", ours["duplicated"].high, "requests", 0, "==", {}),
    )
    return Report(
        "main_job", goals, figures, 4, True, ("single moves without a prediction; the story is the full run",)
    )


def run(quick: bool) -> Report:
    """The demonstration from three seeds; with --quick, single moves."""
    if quick:
        return quick_report()
    seeds = iter([7, 11, 23])
    runs = 3
    figures = interleave({"sidestep demo": lambda: story(next(seeds))}, runs)
    ours = figures["sidestep demo"]
    peers = {"same seed, plan rejected": ours["peak_without"].median}
    goals = (
        Goal("stories that succeeded", ours["succeeded"].low, "share", 1, "==", {}),
        Goal("wall time", ours["wall_s"].high, "s", 180, "<", {}),
        Goal("lead of the prediction", ours["lead_s"].low, "s", 20, ">=", {}),
        Goal("peak after, share of capacity", ours["peak_after"].high, "share", THRESHOLD, "<", peers),
        Goal("peak without, share of capacity", ours["peak_without"].low, "share", THRESHOLD, ">", {}),
        Goal("requests lost", ours["lost"].high, "requests", 0, "==", {}),
        Goal("requests served twice", ours["duplicated"].high, "requests", 0, "==", {}),
    )
    return Report("main_job", goals, figures, runs, quick)


if __name__ == "__main__":
    main("main_job", run)
