"""The makespan of a mixed workload while one host is squeezed to a fifth of its processor (Show 5).

Three contenders on the same hosts, in turns: blocks that are moved as forecast; the same without moves; and Dask alone,
a scheduler and workers as anybody starts them, with its work stealing. All have one task slot a host, the scheduler on
the first host, the same calls in the same order, and the same squeeze at the same time after the start. What moves
blocks knows nothing of that: it sees what the hosts' agents say each second, and the oracle's forecast of it.

``python -m benchmarks.functions_squeeze`` boots a test fleet for itself (docs/testfleet.md).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.functions_hosts import RealHosts, hosts_of, in_a_fleet
from benchmarks.harness import Goal, Report, Spread, main_with
from sidestep.autopilot.functions.calling import call_in, value_of
from sidestep.autopilot.functions.steerer import Steered, Steerer, steered
from sidestep.backends.functions.cluster import Cluster
from sidestep.backends.functions.job import Conductor, Wishes
from sidestep.fleet.errors import SidestepError, UsageError

HOSTS: Final = 4
#: cores of a host, what is left of one, seconds until that begins and until it is reached
CORES: Final = 0.35
LEFT: Final = 0.2
BEGINS: Final = 3.0
FALLS: Final = 5.0
PORT: Final = 8797
#: one host is squeezed, and it is not the one with the scheduler
SQUEEZED: Final = 2
PROGRAM: Final = '''
def orbits(n):
    """Three bodies, step by step."""
    x, y, vx, vy = 1.0, 0.0, 0.0, 1.0
    far = 0.0
    for _ in range(n):
        r = (x * x + y * y) ** 1.5
        vx -= x / r * 0.001
        vy -= y / r * 0.001
        x += vx * 0.001
        y += vy * 0.001
        if x > far:
            far = x
    return x, y, far


def words(n):
    """Counts of words of a made-up language."""
    counts, state = {}, 12345
    for _ in range(n):
        state = (state * 1103515245 + 12345) % 2147483648
        word = "w%d" % (state >> 22)
        counts[word] = counts.get(word, 0) + 1
    return counts


def paths(n):
    """Shortest paths on a grid, row by row."""
    best, state, total = [0] * 400, 1, 0
    for row in range(n // 400 + 1):
        left = 1 << 30
        for column in range(400):
            state = (state * 69069 + 1) % 4294967296
            cost = state >> 24
            up = best[column]
            left = (up if up < left else left) + cost
            best[column] = left
        total += best[-1] % 7
    return total, best[:20]


def table(n):
    """A table that later rows lean on."""
    rows, total = [0.0] * 5000, 0.0
    for i in range(n):
        total += (i * 7) % 11 * 0.1 + rows[(i * 31) % 5000] * 1e-6
        rows[i % 5000] = total
    return total, rows[:10]
'''
KERNELS: Final = ("orbits", "words", "paths", "table")
Calls = Sequence[tuple[str, int]]


def workload(seed: int, quick: bool) -> Calls:
    """Calls of a few tenths to some seconds of processor, in any order."""
    dice = random.Random(seed)
    made: dict[str, Any] = {}
    exec(compile(PROGRAM, "mixed", "exec"), made)
    each = {}
    for name in KERNELS:
        began = time.process_time()
        made[name](40_000)
        each[name] = (time.process_time() - began) / 40_000
    # Most calls are short, most of the time is spent in long ones, as in what people run.
    seconds = [0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.6] + ([3.0, 4.0] if quick else [2.0, 2.5, 3.0, 3.5, 4.0, 5.0])
    dice.shuffle(seconds)
    return [(name, int(long / each[name])) for long, name in zip(seconds, dice.choices(KERNELS, k=99), strict=False)]


class Bench:
    """Hosts, a program, and what its calls gave: Dask runs them as they are, so its results are the plain ones."""

    def __init__(self, hosts: RealHosts, folder: Path) -> None:
        self.hosts, self.folder = hosts, folder
        self.program = folder / "mixed.py"
        self.program.write_text(PROGRAM)
        self.results: dict[tuple[str, int], list[Any]] = {}

    def limit(self, share: float, host: str = "") -> None:
        """Leave hosts so much of their processors."""
        for name in [host] if host else self.hosts.names:
            self.hosts.fleet.limit(name, cpu=CORES * share)

    async def squeeze(self) -> None:
        """Take four fifths of one host's processor away, bit by bit, as a neighbour that grows does."""
        host = self.hosts.names[SQUEEZED]
        await asyncio.sleep(BEGINS)
        for step in range(1, 9):
            await asyncio.to_thread(self.limit, 1 - (1 - LEFT) * step / 8, host)
            await asyncio.sleep(FALLS / 8)

    async def timed(self, calls: Calls, call: Callable[[str, int], Awaitable[Any]]) -> float:
        """The makespan of all calls under the squeeze; their results are kept."""
        await asyncio.to_thread(self.limit, 1.0)
        squeezing = asyncio.create_task(self.squeeze())
        try:
            began = time.monotonic()
            results = await asyncio.gather(*(call(*one) for one in calls))
            took = time.monotonic() - began
        finally:
            squeezing.cancel()
            await asyncio.gather(squeezing, return_exceptions=True)
            await asyncio.to_thread(self.limit, 0.0)
        for one, result in zip(calls, results, strict=True):
            self.results.setdefault(one, []).append(result)
        return took

    def alike(self) -> tuple[int, int]:
        """Calls whose results are the same in every run of them, and calls."""
        same = [all(one == each[0] for one in each) and len(each) > 1 for each in self.results.values()]
        return sum(same), len(same)

    async def ours(self, calls: Calls, *, moves: bool) -> tuple[float, list[Steered]]:
        """Our workers, with or without moves."""
        async with Cluster(self.hosts.sites(), log=self.folder / "runner.log") as cluster:
            conductor = OneSlot(cluster)
            async with contextlib.AsyncExitStack() as stack:
                steerer: Steerer | None = None
                if moves:
                    steerer = await stack.enter_async_context(steered(conductor))

                # every worker has had a call, as those of Dask have, so that nothing is started meanwhile
                warm = call_in(self.program, "table", (10,), {})
                each = [Wishes(shard=False, hosts=(host,)) for host in cluster.workers]
                await asyncio.gather(*(conductor.call(warm, wishes) for wishes in each))

                async def call(name: str, n: int) -> Any:
                    finished = await conductor.call(call_in(self.program, name, (n,), {}), Wishes(shard=False))
                    return value_of(finished)

                took = await self.timed(calls, call)
            return took, steerer.moves if steerer is not None else []

    async def dask(self, calls: Calls) -> float:
        """Dask alone."""
        from distributed import Client  # noqa: PLC0415

        with self.workers() as address:
            client: Any = await Client(address, asynchronous=True, timeout=60)
            try:
                await client.wait_for_workers(len(self.hosts.names), timeout=120)
                await client.upload_file(str(self.program))
                sys.path.insert(0, str(self.folder))
                import mixed  # type: ignore[import-not-found]  # noqa: PLC0415

                each = [client.submit(mixed.table, 10, workers=[one], pure=False) for one in await client.nthreads()]
                await asyncio.gather(*each)

                async def call(name: str, n: int) -> Any:
                    return await client.submit(getattr(mixed, name), n, pure=False)

                return await self.timed(calls, call)
            finally:
                await client.close()

    @contextlib.contextmanager
    def workers(self) -> Iterator[str]:
        """A scheduler on the first host and a worker on each, with one thread, as their own commands start them."""
        plans, started = self.hosts.plans, list[subprocess.Popen[bytes]]()
        first = plans[self.hosts.names[0]].address
        quiet = ["/usr/bin/env", "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE=false", sys.executable, "-m"]
        with (self.folder / "dask.log").open("ab") as log:

            def start(host: str, *words: str) -> None:
                command = self.hosts.fleet.command(host, [*quiet, *words])
                started.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))

            try:
                common = ("--no-dashboard", "--host")
                start(
                    self.hosts.names[0], "distributed.cli.dask_scheduler", *common, first, "--port", str(PORT)
                )  # fmt: skip
                for name in self.hosts.names:
                    options = (
                        "--nthreads",
                        "1",
                        "--no-nanny",
                        "--memory-limit",
                        "0",
                        "--local-directory",
                        "/tmp/dask",
                    )
                    start(
                        name, "distributed.cli.dask_worker", f"tcp://{first}:{PORT}", *common, plans[name].address,
                        *options,
                    )  # fmt: skip
                yield f"tcp://{first}:{PORT}"
            finally:
                for process in started:
                    process.kill()
                    process.wait()
                for name in self.hosts.names:
                    for pid, line in self.hosts.processes(name).items():
                        if "distributed.cli" in line:
                            with contextlib.suppress(ProcessLookupError):
                                os.kill(pid, 9)


class OneSlot(Conductor):
    """One block a host at a time, as the hosts have less than one core each; the other contender's workers do that."""

    def _slots(self) -> int:
        return len(self.cluster.workers)


async def measure(options: argparse.Namespace) -> tuple[dict[str, list[float]], Bench, list[Steered], int]:
    """Seconds of every contender by seed, in turns."""
    found: dict[str, list[float]] = {"moved as forecast": [], "no moves": [], "Dask alone": []}
    moves: list[Steered] = []
    seeds = range(1 if options.quick else options.runs)
    with tempfile.TemporaryDirectory(prefix="sidestep-bench-") as folder:
        async with hosts_of(HOSTS) as hosts:
            if not isinstance(hosts, RealHosts):
                raise UsageError("only hosts of a test fleet can be squeezed", hint="as root, with mmdebstrap")
            bench = Bench(RealHosts(hosts.fleet, hosts.names[:HOSTS]), Path(folder))
            for seed in seeds:
                calls = workload(options.seed + seed, options.quick)
                ours, made = await bench.ours(calls, moves=True)
                moves += made
                found["moved as forecast"].append(ours)
                found["Dask alone"].append(await bench.dask(calls))
                if not options.two:
                    found["no moves"].append((await bench.ours(calls, moves=False))[0])
                said = {name: [round(one, 1) for one in values] for name, values in found.items()}
                print(said, [(one.choice, one.why) for one in made], file=sys.stderr, flush=True)
    return found, bench, moves, len(seeds)


def run(options: argparse.Namespace) -> Report:
    """Makespans, in turns."""
    in_a_fleet("functions_squeeze", HOSTS)
    try:
        found, bench, moves, runs = asyncio.run(measure(options))
    except SidestepError as error:
        raise UsageError(str(error)) from error
    right, calls = bench.alike()
    ours, none, dask = (sum(found[name]) for name in ("moved as forecast", "no moves", "Dask alone"))
    peers = {"no moves": none / dask} if none else {}
    goals = (
        Goal("makespan, moved as forecast", ours / dask, "of Dask alone", 0.7, "<=", peers),
        Goal("calls with the result that they have on Dask", right, f"of {calls}", calls, "=="),
    )
    figures = {name: {"makespan_s": Spread.of(values)} for name, values in found.items() if values}
    each = [one / other for one, other in zip(found["moved as forecast"], found["Dask alone"], strict=True)]
    figures["by workload"] = {"of Dask alone": Spread.of(each)}
    done = [one for one in moves if one.moved is not None]
    if done:
        figures["moved as forecast"]["pause of a move, s"] = Spread.of([one.moved.pause for one in done if one.moved])
    notes = (
        f"{HOSTS} systemd hosts of {CORES:g} cores; one falls to {LEFT:.0%} of that within {FALLS:g} s, {BEGINS:g} s "
        f"after the start; {len(done)} moves in {runs} runs, {len(moves) - len(done)} more were tried",
        "calls of 0.3 to 5 s of processor in the order that a seed gives; nothing is known of them beforehand",
        "whether a long call is on the squeezed host is the luck of the order: one seed says little",
    )
    return Report("functions_squeeze", goals, figures, runs, options.quick, notes)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=6, metavar="N", help="workloads, by seed")
    parser.add_argument("--two", action="store_true", help="without the contender that never moves")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the first one")
    return parser


if __name__ == "__main__":
    main_with("functions_squeeze", run, options())
