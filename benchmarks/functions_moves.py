"""For how long a running block stands while it moves between two hosts, by its own marks (Show 3, S2.29).

Real SSH, real workers, TLS, signatures and digests; two embedded hosts of this machine, so without a network's latency.
The block changes 16 chunks of its state all the time. Every ten steps it writes the time into a file: the longest gap
between two marks around a move is the pause, whatever the conductor says. Moves without pre-copy are beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.functions_hosts import hosts_of
from benchmarks.functions_lost import until
from benchmarks.harness import Goal, Report, Spread, main_with
from sidestep.autopilot.functions.calling import call_in
from sidestep.backends.functions.cluster import Cluster
from sidestep.backends.functions.job import Conductor, Wishes
from sidestep.backends.functions.moving import move

GOAL: Final = 50.0
PROGRAM: Final = '''
import os
import time


def note(log):
    with open(log, "a") as file:
        file.write(f"{time.monotonic()}\\n")


def held(mib, log, gate):
    """Keeps so much, changes some of it, and says every ten steps that it lives."""
    data, t = bytearray(os.urandom(mib << 20)), 1
    for i in range(1 << 50):
        for j in range(300):
            t = (t * 31 + i * j) % 65521
        if mib:
            data[(i * 16384) % 262144] = t % 251
        if i % 10 == 0:
            note(log)
            if os.path.exists(gate):
                break
    return len(data)
'''
Pauses = dict[str, list[float]]


class Bench:
    """Two hosts with workers, and what their blocks told."""

    def __init__(self, conductor: Conductor, program: Path) -> None:
        self.conductor, self.program = conductor, program
        self.truth: Pauses = {}
        self.said: Pauses = {}

    async def moves(self, mib: int, runs: int) -> None:
        """A block of so much state, moved to and fro, with pre-copy and without in turns."""
        folder = self.program.parent
        log, gate = folder / f"log-{mib}", folder / f"gate-{mib}"
        call = call_in(self.program, "held", (mib, str(log), str(gate)), {})
        running = asyncio.create_task(self.conductor.call(call, Wishes(shard=False)))
        await until(log.exists, "the block's first mark")
        ((name, block),) = self.conductor.blocks.items()
        for turn in range(2 * runs):
            await asyncio.sleep(0.3)
            ((_, source),) = block.at.items()
            (target,) = [host for host in self.conductor.cluster.workers if host != source]
            key = f"{mib} MiB{', no pre-copy' if turn % 2 else ''}"
            before = len(marks(log))
            moved = await move(self.conductor, name, target, precopy=not turn % 2)
            await asyncio.sleep(0.2)
            self.truth.setdefault(key, []).append(float(np.diff(marks(log)[before - 1 :]).max()) * 1e3)
            self.said.setdefault(key, []).append(moved.pause * 1e3)
        gate.touch()
        finished = await running
        assert finished.moves == 2 * runs
        print(mib, {key: [round(one) for one in values] for key, values in self.truth.items()}, file=sys.stderr)


def marks(log: Path) -> list[float]:
    """When the block was seen to live, whole lines only."""
    return [float(line) for line in log.read_text().split("\n")[:-1]]


async def measure(sizes: tuple[int, ...], runs: int) -> Bench:
    """All sizes on one fleet of workers."""
    with tempfile.TemporaryDirectory(prefix="sidestep-bench-") as name:
        program = Path(name) / "held.py"
        program.write_text(PROGRAM)
        async with hosts_of(2, embedded=True) as hosts, Cluster(hosts.sites(), log=Path(name) / "log") as cluster:
            bench = Bench(Conductor(cluster), program)
            for mib in sizes:
                # Large ones take seconds each, and no goal is set for them.
                await bench.moves(mib, runs if mib <= 10 else max(3, runs // 3))
            return bench


def run(options: argparse.Namespace) -> Report:
    """Pauses by size of the state."""
    runs = 3 if options.quick else options.runs
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    # As ``sidestep run`` does.
    gc.freeze()
    bench = asyncio.run(measure((0, 1, 10) if options.quick else (0, 1, 10, 16, 64), runs))
    figures: dict[str, Any] = {
        key: {
            "pause_ms": Spread.of(values),
            "pause_ms p99": Spread.of([float(np.quantile(values, 0.99))]),
            "pause_ms by the conductor's account": Spread.of(bench.said[key]),
        }
        for key, values in bench.truth.items()
    }
    goals = tuple(
        Goal(f"pause {mib} MiB pre-copied, p99", float(np.quantile(bench.truth[f"{mib} MiB"], 0.99)), "ms", GOAL, "<=")
        for mib in (0, 1, 10)
    )
    notes = (f"processes that wanted each of the machine's cores when it began: {load:.1f}",)
    return Report("functions_moves", goals, figures, runs, options.quick, notes)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, metavar="N", help="moves of each size and kind")
    return parser


if __name__ == "__main__":
    main_with("functions_moves", run, options())
