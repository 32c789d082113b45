"""What it costs to be able to stop anywhere, what a capsule weighs, and how long a move stands still (Show 3).

``--data DIR`` besides runs every function of a folder of modules that its doctests call, stopping and going on again
and again, and compares bit for bit.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from benchmarks.capsules_corpus import Outcome, corpus
from benchmarks.capsules_kernels import ARRAYS, KERNELS, PLAIN
from benchmarks.harness import Goal, Report, Spread, main_with
from sidestep.sharding.capsules import Chain, HostKey, MemoryChunks, Origin, opened
from sidestep.sharding.capsules.base import Base
from sidestep.sharding.codec import Encoded, decode, loads, same
from sidestep.sharding.resume import Program, Suspended, suspender

KEY = HostKey.new()
MIB = 1 << 20
ENDLESS = (
    "def main(n):\n t = 0\n for i in range(n):\n  for j in range(9):\n   t = (t * 31 + i * j) % 65521\n return t\n"
)
HOLDING = """
import numpy as np
def main(n, turns):
    held, t = np.arange(n, dtype=np.uint8), 0
    held *= 31
    for i in range(turns):
        t = (t * 31 + i) % 65521
        if n:
            held[t % n] = t % 251
    return t, held
"""


def origin(program: Program) -> Origin:
    return Origin("bench", "bench/b0", 1, program=program.digest)


def overheads(processes: int, times: int) -> dict[str, list[tuple[float, float]]]:
    """Of every plain kernel what ``capsules_unarmed`` found in each of so many processes, one after the other."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in PLAIN}
    for _ in range(processes):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.capsules_unarmed", str(times)], stdout=subprocess.PIPE, check=True
        )
        for name, (ratio, noise) in json.loads(done.stdout).items():
            found[name].append((ratio, noise))
    return found


def latencies(count: int) -> tuple[list[float], list[float]]:
    """Wall and CPU milliseconds from a request by another thread to the capture, in a pure-Python loop."""
    program = Program(ENDLESS)
    asks: Any = suspender(program)
    wall: list[float] = []
    cpu: list[float] = []

    def ask() -> None:
        for _ in range(count):
            time.sleep(random.uniform(0.002, 0.01))
            done = threading.Event()
            begun = time.process_time()

            def kept(_: Encoded, done: threading.Event = done, begun: float = begun) -> None:
                wall.append(asks.latency * 1e3)
                cpu.append((time.process_time() - begun) * 1e3)
                done.set()

            asks.request(kept)
            done.wait(20)
        asks.request()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        program.run("main", 1 << 60)
    except Suspended:
        pass
    finally:
        thread.join()
        asks.close()
    return wall, cpu


def captures(source: str, args: Sequence[Any], count: int) -> tuple[Program, list[Encoded], int]:
    """So many captures spread over one run, and what cloudpickle makes of all locals at the last."""
    program = Program(source)
    asks = suspender(program)
    kept: list[Encoded] = []
    heads = counted(program, args)
    step, size = max(1, heads // (count + 1)), 0

    def keep(captured: Encoded) -> None:
        nonlocal size
        kept.append(captured)
        frame: Any = sys._getframe()
        while frame.f_code not in program.codes:
            frame = frame.f_back
        values = {name: one for name, one in frame.f_locals.items() if not name.startswith("_ss_")}
        try:
            size = len(cloudpickle.dumps(values))
        except (TypeError, AttributeError):
            size = 0
        if len(kept) < count:
            asks.request(keep, skip=step)

    try:
        asks.request(keep, skip=step)
        program.run("main", *copy.deepcopy(args))
    finally:
        asks.close()
    return program, kept, size


def counted(program: Program, args: Sequence[Any]) -> int:
    """How many loop heads one run passes."""
    asks: Any = suspender(program)
    most = 1 << 50
    try:
        asks.request(skip=most)
        program.run("main", *copy.deepcopy(args))
        return most - int(asks._skip)
    finally:
        asks.close()


def weights(name: str, count: int) -> dict[str, float]:
    """Bytes of a full capsule, of cloudpickle and of the process; later capsules as a share of the first."""
    source, args = KERNELS[name]
    program, kept, pickled = captures(source, args, count)
    # The chain is not cut here, so that every later capsule shows what changed.
    chain = Chain(KEY, longest=None)
    sizes = [len(chain.make(one, origin(program)).data) for one in kept]
    full = [len(Chain(KEY).make(one, origin(program)).data) for one in kept]
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    state = [one.nbytes for one in kept]
    return {
        "state_kb": statistics.mean(state) / 1e3,
        "capsule_kb": statistics.mean(full) / 1e3,
        "cloudpickle_kb": pickled / 1e3,
        "rss_kb": resident / 1e3,
        "later_pct": 100 * statistics.mean(sizes[1:]) / statistics.mean(state),
    }


def pauses(size: int, count: int) -> tuple[list[float], list[float], float]:
    """Wall and CPU milliseconds for which a function with ``size`` bytes stands still in a move that was pre-copied.

    From the loop head where it stops to the first one of the new program: capture, final delta, signature, opening,
    what changed put into the state that went ahead, decoding; CPU without the capture. And what stopping and starting
    anew costs: running up to the same point again.
    """
    turns = 4000
    wall, cpu, restart = [], [], 0.0
    for _ in range(count):
        here = Program(HOLDING)
        chain, chunks, base = Chain(KEY), MemoryChunks(), Base()
        ahead: list[Encoded] = []
        asks: Any = suspender(here)
        begun = time.process_time()
        asks.request(ahead.append, skip=turns // 2)
        try:
            here.run("main", size, turns)
            restart = (time.process_time() - begun) / 2 * 1e3
            base.settle(base.follow(opened(chain.make(ahead[0], origin(here)).data, chunks).header, chunks))
            asks.request(skip=turns // 2 + 200)
            here.run("main", size, turns)
        except Suspended as stopped:
            times = time.perf_counter() - asks.took, time.process_time()
            sealed = opened(chain.make(stopped.captured, origin(here)).data, chunks)
            decode(base.follow(sealed.header, chunks), copy=False)
            wall.append((time.perf_counter() - times[0]) * 1e3)
            cpu.append((time.process_time() - times[1]) * 1e3)
        finally:
            asks.close()
    return wall, cpu, restart


def hopping(name: str, hops: int) -> bool:
    """Whether a kernel that stops in ``hops`` processes, each with other hashes, ends with the same bits."""
    source, args = KERNELS[name]
    heads = counted(Program(source), args)
    carried = b""
    for hop in range(hops + 1):
        skip = heads // (hops + 2) if hop < hops else -1
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.capsules_hop", name, str(skip)],
            input=carried, stdout=subprocess.PIPE, check=True, env={**os.environ, "PYTHONHASHSEED": str(hop + 1)},
        )  # fmt: skip
        carried = done.stdout
    # Not their bytes: where an array of the last process lies is among them, and is no part of a value.
    return same(loads(carried), Program(source).run("main", *args))


def percentile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share))


def run(arguments: argparse.Namespace) -> Report:
    """Overhead, latency, bytes, pauses, hops."""
    quick = arguments.quick
    times = 3 if quick else 15
    figures: dict[str, dict[str, Spread]] = {}
    goals = []
    ratios = overheads(2 if quick else 25, 5 if quick else 20)
    for name, pairs in ratios.items():
        figures[f"unarmed {name}"] = {
            "ratio": Spread.of([ratio for ratio, _ in pairs]), "second_copy": Spread.of([noise for _, noise in pairs]),
        }  # fmt: skip
    middle = {name: statistics.median(ratio for ratio, _ in pairs) for name, pairs in ratios.items()}
    noise = max(statistics.median(noise for _, noise in pairs) for pairs in ratios.values())
    goals.append(
        Goal("unarmed overhead, worst of 9", max(middle.values()), "x", 1.01, "<=", {"a second copy, worst": noise})
    )
    goals.append(
        Goal("unarmed overhead, geometric mean of 9", statistics.geometric_mean(middle.values()), "x", 1.01, "<=")
    )
    wall, cpu = latencies(20 if quick else 200)
    figures["suspend"] = {"wall_ms": Spread.of(wall), "cpu_ms": Spread.of(cpu)}
    goals.append(Goal("suspend latency p99 (wall)", percentile(wall, 0.99), "ms", 5.0, "<="))
    goals.append(Goal("suspend latency p99 (CPU)", percentile(cpu, 0.99), "ms", 5.0, "<="))
    later = []
    for name in ARRAYS:
        found = weights(name, 4 if quick else 10)
        figures[f"bytes {name}"] = {key: Spread.of([value]) for key, value in found.items()}
        later.append(found["later_pct"])
    goals.append(Goal("later capsule of full state, median", statistics.median(later), "%", 12.0, "<="))
    for size in (0, 1, 10, 16, 64):
        wall, cpu, restart = pauses(size * MIB, 3 if quick else 30)
        figures[f"pause {size} MiB"] = {
            "wall_ms": Spread.of(wall), "wall_p99_ms": Spread.of([percentile(wall, 0.99)]), "cpu_ms": Spread.of(cpu),
            "restart_cpu_ms": Spread.of([restart]),
        }  # fmt: skip
        if size <= 10:
            goals.append(Goal(f"pause {size} MiB pre-copied, p99", percentile(wall, 0.99), "ms", 50.0, "<="))
    chosen = ("sieve",) if quick else (*PLAIN, *ARRAYS)
    alike = sum(hopping(name, 5) for name in chosen)
    goals.append(Goal("bit-identical after 5 hops", alike, f"of {len(chosen)}", len(chosen), ">="))
    notes = ["pauses are within one machine: no network", "wall figures are what the machine's load leaves of them"]
    if arguments.data is not None:
        goals += told(corpus(arguments.data, arguments.limit), notes)
    return Report("capsules", tuple(goals), figures, times, quick, tuple(notes))


def told(outcome: Outcome, notes: list[str]) -> list[Goal]:
    """What the corpus run found, as goals and notes."""
    notes.append(
        f"corpus: {outcome.modules} modules, {outcome.unread} not loaded; {outcome.loops} functions with loops, "
        f"{outcome.resumable} resumable; {outcome.tested} with calls in doctests, {outcome.stopped} of them stopped, "
        f"{outcome.hops} times in all; refused: {outcome.refused}"
    )
    notes += outcome.wrong[:20]
    return [
        Goal("corpus: functions with another result", len(outcome.wrong), "", 0, "<="),
        Goal("corpus: functions that stopped", 100 * outcome.stopped / max(1, outcome.tested), "%", 80.0, ">="),
    ]


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=run.__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of Python modules with doctests")
    parser.add_argument("--limit", type=int, default=1 << 30, metavar="N", help="of so many modules only")
    return parser


if __name__ == "__main__":
    main_with("capsules", run, options())
