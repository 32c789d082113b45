"""A range of slots gets hot on a real Redis Cluster: moved because it is forecast, and moved because it is.

The same traffic is replayed in turns. Some slots of one master are asked for more and more, up to more than one thread
can do; each request takes a known time of its node's processor, and is due when it is due. ``sidestep cluster watch``
looks at the cluster either way, by what it overhears, and moves by the same mover; the difference is the forecast. A
third turn, in which nothing is moved, says what would have been.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.harness import Goal, Report, Sample, Spread, main_with
from benchmarks.redis_stage import quantile
from scripts.rediscluster import Cluster, running
from sidestep.autopilot.cluster.watching import Settings, Tick, Watch
from sidestep.backends.redis_cluster.access import Access
from sidestep.backends.redis_cluster.client import Nodes
from sidestep.backends.redis_cluster.job import Ledger, Leg, job
from sidestep.backends.redis_cluster.look import agreed
from sidestep.backends.redis_cluster.mover import Mover, inherited
from sidestep.backends.redis_cluster.ranges import slot_of
from sidestep.backends.redis_cluster.topology import View
from sidestep.fleet.errors import UsageError

#: runs of each; seconds of calm, and of the shape
FULL: Final = (3, 4.0, 10.5)
QUICK: Final = (1, 4.0, 10.5)
CLIENTS: Final = 4
#: slots of the hot range, keys of all; cores that the hot range asks for at its highest, and all other keys
HOT, COLD = 24, 300
PEAK, BASE = 1.1, 0.12
#: seconds of the processor that one request takes, about
COST: Final = 0.002
#: requests in a row by which that is found out, and how often
BATCH, CALIBRATIONS = 150, 4
STEP: Final = 0.25
LIMIT: Final = 0.75
SCRIPT: Final = "local x = 0 for i = 1, ARGV[1] do x = x + i % 7 end return 1"
MODES: Final = ("predictive", "reactive", "nothing")


@dataclass
class Turn:
    """One replay: what clients waited, how much each node did, and what was moved when (seconds since its begin)."""

    waits: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    use: list[tuple[float, float]] = field(default_factory=list)
    moves: list[tuple[float, float, int]] = field(default_factory=list)


class Stage:
    """The cluster, its script, and the keys of the hot range and of all."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.seeds = [("127.0.0.1", server.port) for server in cluster.servers[: cluster.masters]]
        (self.sha,) = {cluster.text(at, "SCRIPT", "LOAD", SCRIPT) for at in range(cluster.masters)}
        names = [f"k{index}" for index in range(200_000)]
        by: dict[int, str] = {}
        for name in names:
            by.setdefault(slot_of(name.encode()), name)
        self.hot = [by[slot] for slot in range(1000, 1000 + HOT)]
        self.cold = [by[slot] for slot in sorted(by)[:: max(1, len(by) // COLD)]]
        self.turns = self._calibrated()
        self.home = asyncio.run(self._look())

    def _calibrated(self) -> int:
        """Rounds of the script that take COST of a node's processor when it is at it all the time."""
        import redis  # noqa: PLC0415

        turns = 20_000.0
        with redis.Redis(port=self.cluster.servers[0].port) as client:
            for _ in range(CALIBRATIONS):
                before = self._cpu(0)
                pipe = client.pipeline(transaction=False)
                for _ in range(BATCH):
                    pipe.evalsha(self.sha, 1, self.hot[0], int(turns))
                pipe.execute()
                turns *= COST / ((self._cpu(0) - before) / BATCH)
        return int(turns)

    def _cpu(self, at: int) -> float:
        """CPU seconds of a node."""
        fields = dict(line.split(":", 1) for line in self.cluster.text(at, "INFO", "cpu").splitlines() if ":" in line)
        return float(fields["used_cpu_user"]) + float(fields["used_cpu_sys"])

    async def _look(self) -> View:
        nodes = Nodes(Access())
        try:
            return await agreed(nodes, self.seeds)
        finally:
            await nodes.aclose()

    def back(self) -> None:
        """All slots where they were."""
        asyncio.run(self._back())

    async def _back(self) -> None:
        seen = await self._look()
        ids, was = [one.id for one in seen.masters], [one.id for one in self.home.masters]
        by: dict[tuple[str, str], list[int]] = {}
        for slot, (now, then) in enumerate(zip(seen.owners.tolist(), self.home.owners.tolist(), strict=True)):
            if ids[now] != was[then]:
                by.setdefault((ids[now], was[then]), []).append(slot)
        if by:
            legs = [Leg(source, target, tuple(slots)) for (source, target), slots in by.items()]
            nodes = Nodes(Access())
            try:
                await self._moved(nodes, legs, "back", seen, 0.0)
            finally:
                await nodes.aclose()

    async def _moved(self, nodes: Nodes, legs: Sequence[Leg], why: str, seen: View, before: float) -> int:
        with tempfile.TemporaryDirectory(prefix="sidestep-hot-") as folder:
            made = job(inherited(legs, seen), why)
            ledger = Ledger(Path(folder), made)
            try:
                return (await Mover(nodes, self.seeds, before=before).run(made, ledger)).slots
            finally:
                ledger.close()

    def replay(self, mode: str, rates: Sequence[tuple[float, float]]) -> Turn:
        """One turn."""
        turn, seconds = Turn(), len(rates) * STEP
        with self._clients(rates, turn) as begin:
            origin = begin()
            with self._used(turn, origin):
                asyncio.run(self._watched(mode, turn, origin, seconds))
        self.back()
        return turn

    async def _watched(self, mode: str, turn: Turn, origin: float, seconds: float) -> None:
        if mode == "nothing":
            await asyncio.sleep(max(0.0, origin + seconds - time.monotonic()))
            return
        nodes = Nodes(Access())
        settings = Settings(limit=LIMIT, interval=0.25, horizon=6.0, forecast=mode == "predictive", overhear=0.12)

        async def act(legs: Sequence[Leg], why: str, seen: View) -> None:
            began = time.monotonic() - origin
            slots = await self._moved(nodes, legs, why, seen, 0.3)
            turn.moves.append((began, time.monotonic() - origin, slots))

        def show(_: Tick) -> None:
            """Nobody looks."""

        try:
            await Watch(nodes, self.seeds, settings, act=act, show=show).run(origin + seconds - time.monotonic())
        finally:
            await nodes.aclose()

    @contextmanager
    def _clients(self, rates: Sequence[tuple[float, float]], turn: Turn) -> Iterator:  # type: ignore[type-arg]
        orders = [
            {"port": self.seeds[0][1], "sha": self.sha, "turns": self.turns, "hot": self.hot, "cold": self.cold,
             "rates": [[hot / CLIENTS, cold / CLIENTS] for hot, cold in rates], "step": STEP, "seed": seed}
            for seed in range(CLIENTS)
        ]  # fmt: skip
        started = [
            subprocess.Popen([sys.executable, "-m", "benchmarks.redis_replay"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
            for _ in orders
        ]  # fmt: skip
        for process, order in zip(started, orders, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        for process in started:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("a client did not begin")

        def begin() -> float:
            for process in started:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
            return time.monotonic()

        yield begin
        for process in started:
            out, _ = process.communicate()
            said = json.loads(out)
            turn.errors += said["errors"]
            turn.waits += [(due - said["begun"], took) for due, took in zip(said["due"], said["took"], strict=True)]

    @contextmanager
    def _used(self, turn: Turn, origin: float) -> Iterator[None]:
        """How busy the busiest master was in each half second."""
        ended = threading.Event()

        def sample() -> None:
            before: list[float] = []
            last = time.monotonic()
            while not ended.wait(0.5):
                now, found = time.monotonic(), [_spent(server.process.pid) for server in self._running()]
                if before:
                    turn.use.append(
                        (now - origin, max(b - a for a, b in zip(before, found, strict=True)) / (now - last))
                    )
                before, last = found, now

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _running(self) -> list:  # type: ignore[type-arg]
        return [server for server in self.cluster.servers[: self.cluster.masters] if server.process is not None]


def _spent(pid: int) -> float:
    """CPU seconds of a process."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/schedstat").read_text().split()
        return int(words[0]) / 1e9
    return 0.0


def shape(seconds: float, calm: float, data: Path | None) -> list[tuple[float, float]]:
    """Requests a second of hot and of other keys, by STEP: calm, then the shape up to PEAK."""
    steps = int(seconds / STEP)
    curve = np.minimum(np.linspace(0.0, 1.6, steps), 1.0) if data is None else _traced(data, steps)
    cold = BASE / COST
    quiet = [(0.02 * PEAK / COST, cold)] * int(calm / STEP)
    return [*quiet, *((max(0.02, float(part)) * PEAK / COST, cold) for part in curve)]


def _traced(data: Path, steps: int) -> np.ndarray:  # type: ignore[type-arg]
    """Of all windows of all traces that rise by half of their highest, the one whose largest step is the smallest.

    A jump can be forecast by nobody, and a window that does not rise makes nothing hot. Raises UsageError.
    """
    found = sorted(data.glob("*.npz"))
    best, least = np.zeros(0), np.inf
    for path in found:
        with np.load(path, allow_pickle=False) as file:
            values = file["values"] if "values" in file.files else np.zeros(0)
        if values.ndim != 3 or values.dtype.kind != "f":
            raise UsageError(f"{path}: no group of traces", hint="see benchmarks/README.md, Data")
        rows = values.reshape(-1, values.shape[2])[:, : values.shape[2] // steps * steps]
        parts = rows.reshape(-1, steps)
        parts = parts[np.isfinite(parts).all(axis=1) & (parts.max(axis=1, initial=0.0) > 0)]
        parts = parts / parts.max(axis=1, keepdims=True)
        third = steps // 3
        rises = parts[:, -third:].mean(axis=1) - parts[:, :third].mean(axis=1) >= 0.5
        jumps = np.where(rises, np.abs(np.diff(parts, axis=1)).max(axis=1), np.inf)
        if len(jumps) and jumps.min() < least:
            best, least = parts[int(np.argmin(jumps))], float(jumps.min())
    if not len(best):
        raise UsageError(f"{data}: no trace there rises", hint="name a folder of traces (benchmarks/README.md)")
    return best


def sample(turn: Turn, calm: float) -> Sample:
    """What came of one turn; waits and use since the calm ended."""
    waits = sorted(took for due, took in turn.waits if due >= calm)
    use = [use for at, use in turn.use if at >= calm]
    found: dict[str, float] = {
        "p50_ms": quantile(waits, 0.5), "p99_ms": quantile(waits, 0.99), "worst_ms": waits[-1] * 1e3,
        "late_share": sum(took > 0.05 for took in waits) / len(waits), "requests": len(waits),
        "busiest_master_cores": max(use), "moves": len(turn.moves),
        "slots_moved": sum(slots for *_, slots in turn.moves),
    }  # fmt: skip
    if turn.moves:
        found |= {"first_move_begun_s": turn.moves[0][0] - calm, "first_move_done_s": turn.moves[0][1] - calm}
    return found


def run(arguments: argparse.Namespace) -> Report:
    """All modes in turns, in changing order."""
    runs, calm, seconds = QUICK if arguments.quick else FULL
    seconds = arguments.seconds or seconds
    rates = shape(seconds, calm, arguments.data)
    samples: dict[str, list[Sample]] = {mode: [] for mode in MODES}
    errors: list[str] = []
    with running(3, 0) as cluster:
        stage = Stage(cluster)
        for each in range(runs):
            for mode in MODES if each % 2 == 0 else MODES[::-1]:
                turn = stage.replay(mode, rates)
                errors += turn.errors
                samples[mode].append(sample(turn, calm))

    def middle(mode: str, key: str) -> float:
        return statistics.median(one.get(key, seconds) for one in samples[mode])

    late = {mode: middle(mode, "p99_ms") for mode in MODES}
    use = {mode: middle(mode, "busiest_master_cores") for mode in MODES}
    sooner = middle("reactive", "first_move_done_s") - middle("predictive", "first_move_done_s")
    goals = (
        Goal("requests that failed", len(errors), "requests", 0, "=="),
        Goal("clients' p99, predictive over reactive", late["predictive"] / late["reactive"], "times", 0.5, "<=",
             {f"{mode} p99 ms": value for mode, value in late.items()}),
        Goal("the busiest master in half a second, predictive", use["predictive"], "cores", 0.95, "<=",
             {mode: value for mode, value in use.items() if mode != "predictive"}),
        Goal("sooner than reactive the first move is done", sooner, "s", 0.0, ">"),
    )  # fmt: skip
    figures = {
        mode: {key: Spread.of([one[key] for one in found]) for key in found[0] if all(key in one for one in found)}
        for mode, found in samples.items()
    }
    notes = (
        f"{HOT} slots of one master rise from 2 % to {PEAK} cores in {seconds:g} s, all others have {BASE} cores; "
        f"{CLIENTS} clients, {COST * 1e3:g} ms of a node's processor each request, limit {LIMIT} cores; "
        "nodes, clients and what watches share the machine",
        *errors[:3],
    )
    return Report("redis_hot", goals, figures, runs, arguments.quick, notes)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, metavar="DIR", help="traces (*.npz) whose steepest rise is the shape")
    options.add_argument("--seconds", type=float, default=0.0, help="of the shape, instead of 10.5")
    main_with("redis_hot", run, options)
