"""What is lost when a worker or a host is killed in the middle of a run, and how soon its blocks go on (Show 4).

``python -m benchmarks.functions_lost`` boots a test fleet for itself (docs/testfleet.md); ``--embedded`` uses embedded
hosts, as does a machine where no fleet is possible. Truth is told by the functions themselves: after every step they
write its number and the time into a file on their host, so that what was computed twice is seen there, whatever the
conductor thinks of it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.functions_hosts import Hosts, hosts_of, in_a_fleet, worker_of
from benchmarks.harness import Goal, Report, Spread, main_with
from sidestep.autopilot.functions.calling import call_in, value_of
from sidestep.backends.functions.cluster import Cluster
from sidestep.backends.functions.job import Block, Conductor, Finished, Wishes
from sidestep.fleet.errors import SidestepError

#: seconds between capsules
INTERVAL: Final = 1.0
LEAST: Final = 4
#: seconds that a step computes, and cores of this machine that are left to the controller
STEP: Final = 0.01
CONTROLLER: Final = 0.6
PROGRAM: Final = '''
import os
import time


def note(log, i):
    """Say on this host that a step is done, and when."""
    with open(os.path.expanduser("~/" + log), "a") as file:
        file.write(f"{i} {time.monotonic()}\\n")


def steps(n, inner, seed, log, rest):
    """A sum that depends on every step before, and a table of it; after each it waits for something."""
    rows = [0.0] * 4000
    total = 0.1 * seed
    for i in range(n):
        for j in range(inner):
            total += (i * 31 + j * seed) % 17 * 0.1
        rows[i % 4000] += total
        if log:
            note(log, i)
            time.sleep(rest)
    return total, rows
'''


@dataclass(frozen=True)
class Scenario:
    """What is killed, and whether there are capsules."""

    name: str
    kill: str
    every: float = INTERVAL
    scheduler: bool = False


@dataclass
class Loss:
    """What one kill cost: seconds of work done twice, share of what had been done, seconds until it went on."""

    work: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    rto: list[float] = field(default_factory=list)
    #: blocks that were on what was killed, blocks in all, and blocks with the right result
    hit: int = 0
    calls: int = 0
    right: int = 0
    #: the conductor's own account of the work that was lost
    said: list[float] = field(default_factory=list)


SCENARIOS: Final = (
    Scenario("worker", "worker"),
    Scenario("worker beside the scheduler", "worker", scheduler=True),
    Scenario("worker, no capsules", "worker", every=0.0),
    Scenario("host crashes", "crash"),
    Scenario("host with the scheduler loses power", "power", scheduler=True),
    Scenario("host crashes, no capsules", "crash", every=0.0),
)
QUICK: Final = ("worker", "worker, no capsules", "host crashes")


class Bench:
    """One fleet of workers and what is done to it."""

    def __init__(self, hosts: Hosts, cluster: Cluster, program: Path, *, seconds: float) -> None:
        self.hosts, self.cluster, self.program = hosts, cluster, program
        self.conductor = Conductor(cluster)
        self.inner, self.n = calibrated(seconds)
        self.runs = 0
        self.known: dict[tuple[Any, ...], Any] = {}
        self.random = random.Random(7)

    async def play(self, scenario: Scenario) -> Loss:
        """Run a block on every worker, kill in the middle, and see what came of it."""
        loss = Loss()
        await until(lambda: len(self.cluster.workers) >= LEAST, "four hosts with workers")
        hosts = list(self.cluster.workers)
        rest = rested(len(hosts))
        self.runs += 1
        running: dict[str, tuple[asyncio.Task[Finished], tuple[Any, ...]]] = {}
        for index, host in enumerate(hosts):
            args = (self.n, self.inner, index + 1, f"steps-{self.runs}-{index}", rest)
            preferred = (host, *(other for other in hosts if other != host))
            wishes = Wishes(shard=False, every=scenario.every, hosts=preferred)
            work = self.conductor.call(call_in(self.program, "steps", args, {}), wishes)
            running[args[3]] = (asyncio.create_task(work), args)
        logs = list(running)
        await until(lambda: all(self.read(log) for log in logs), "the first step of every block")
        blocks = {block.call.args: block for block in self.conductor.blocks.values()}
        if scenario.every:
            await until(lambda: all(kept_elsewhere(block) for block in blocks.values()), "a capsule of every block")
        target = self.target(scenario)
        doomed = [log for log, host in zip(logs, hosts, strict=True) if host == target]
        # Not at an instant that the beat of the capsules decides.
        await asyncio.sleep(INTERVAL * (1 + self.random.random()))
        killed = await self.kill(scenario, target)
        finished = {log: await task for log, (task, _) in running.items()}
        for log, (_, args) in running.items():
            loss.calls += 1
            loss.right += value_of(finished[log]) == self.plain(args)
        for log, one in finished.items():
            if not one.losses:
                continue
            loss.hit += 1
            loss.said += [each.work for each in one.losses]
            self.account(loss, log, killed)
        if not set(doomed) <= {log for log, one in finished.items() if one.losses}:
            raise SidestepError(f"{scenario.name}: a block on {target} ended before it was killed")
        return loss

    def target(self, scenario: Scenario) -> str:
        """The host that is hit."""
        with_scheduler = self.cluster.scheduler[0]
        if scenario.scheduler:
            return with_scheduler
        return self.random.choice([host for host in self.cluster.workers if host != with_scheduler])

    async def kill(self, scenario: Scenario, host: str) -> float:
        """Do it; when it was done."""
        if scenario.kill == "worker":
            pid = worker_of(self.hosts, host)
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            return killed
        killed = time.monotonic()
        await (self.hosts.crash(host) if scenario.kill == "crash" else self.hosts.cut_power(host))
        return killed

    def read(self, log: str) -> list[tuple[int, float]]:
        """The steps of a block on all hosts, in the order of time."""
        found = []
        for host in self.hosts.names:
            path = self.hosts.home(host) / log
            if path.exists():
                for line in path.read_text().splitlines():
                    step, _, at = line.partition(" ")
                    found.append((int(step), float(at)))
        return sorted(found, key=lambda one: one[1])

    def account(self, loss: Loss, log: str, killed: float) -> None:
        """What the steps say: work before the kill that was done again after it, and the time between."""
        steps = self.read(log)
        before = [one for one in steps if one[1] <= killed]
        after = [one for one in steps if one[1] > killed]
        # A step may still have been written while the kill was under way: what went on begins where numbers fall.
        begins = next((i for i in range(len(after)) if after[i][0] <= (after[i - 1] if i else before[-1])[0]), 0)
        resumed, at = after[begins]
        kept = [one for one in before if one[0] < resumed]
        since = kept[-1][1] if kept else before[0][1]
        loss.work.append(killed - since)
        loss.share.append(1.0 - len(kept) / len(before))
        loss.rto.append(at - killed)

    def plain(self, args: tuple[Any, ...]) -> Any:
        """The same call here, without a log; once."""
        if args[:3] not in self.known:
            made: dict[str, Any] = {}
            exec(compile(PROGRAM, "steps", "exec"), made)
            self.known[args[:3]] = made["steps"](*args[:3], "", 0.0)
        return self.known[args[:3]]


def kept_elsewhere(block: Block) -> bool:
    """Whether another host holds a capsule of the block."""
    return block.saved is not None and len(block.saved.holders) > 1


def calibrated(seconds: float) -> tuple[int, int]:
    """Iterations of a step of ``STEP`` seconds on this machine, and steps for so many seconds of processor."""
    made: dict[str, Any] = {}
    exec(compile(PROGRAM, "steps", "exec"), made)
    began = time.process_time()
    made["steps"](20, 5000, 1, "", 0.0)
    each = (time.process_time() - began) / 100_000
    return max(100, int(STEP / each)), int(seconds / STEP)


def rested(hosts: int) -> float:
    """Seconds to wait after a step, so that all hosts together want no more processors than this machine has.

    Hosts and their controller have processors of their own anywhere else; here they share this machine's.
    """
    return max(0.0, STEP * (hosts / ((os.cpu_count() or 1) - CONTROLLER) - 1.0))


async def until(true: Callable[[], Any], what: str, *, seconds: float = 120.0) -> None:
    """Wait for something. Raises SidestepError when it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise SidestepError(f"never came: {what}")
        await asyncio.sleep(0.02)


async def measure(options: argparse.Namespace) -> tuple[dict[str, Loss], str]:
    """All scenarios on one fleet of workers; what kind of hosts it was on."""
    chosen = [one for one in SCENARIOS if not options.quick or one.name in QUICK]
    found: dict[str, Loss] = {}
    count = LEAST + sum(one.kill != "worker" for one in chosen) - 1
    with tempfile.TemporaryDirectory(prefix="sidestep-bench-") as folder:
        program = Path(folder) / "steps.py"
        program.write_text(PROGRAM)
        async with hosts_of(max(LEAST, count), embedded=options.embedded) as hosts:
            async with Cluster(hosts.sites(), log=Path(folder) / "runner.log") as cluster:
                bench = Bench(hosts, cluster, program, seconds=1.0 if options.quick else 2.5)
                for scenario in chosen:
                    for _ in range(1 if options.quick or scenario.kill != "worker" else options.runs):
                        one = await bench.play(scenario)
                        print(f"{scenario.name}: {one}", file=sys.stderr, flush=True)
                        total = found.setdefault(scenario.name, Loss())
                        for key, value in vars(one).items():
                            setattr(total, key, getattr(total, key) + value)
            return found, hosts.kind


def run(options: argparse.Namespace) -> Report:
    """Work lost and recovery time, by what was killed."""
    if not options.embedded:
        in_a_fleet("functions_lost", LEAST + (0 if options.quick else 2))
    found, kind = asyncio.run(measure(options))
    calls, right = sum(one.calls for one in found.values()), sum(one.right for one in found.values())
    goals = [Goal("results identical to the plain call", right, f"of {calls}", calls, "==")]
    figures = {}
    for scenario in SCENARIOS:
        if (loss := found.get(scenario.name)) is None:
            continue
        if scenario.every:
            goals.append(Goal(f"{scenario.name}: work lost, worst", max(loss.work), "s", scenario.every, "<="))
        else:
            goals.append(Goal(f"{scenario.name}: share of the block lost", min(loss.share), "", 1.0, "=="))
        figures[scenario.name] = {
            "work lost, s": Spread.of(loss.work),
            "share of its work lost": Spread.of(loss.share),
            "RTO, s": Spread.of(loss.rto),
            "work lost by the conductor's account, s": Spread.of(loss.said),
        }
    notes = (
        f"{kind}, {LEAST} or more at any time; a capsule every {INTERVAL:g} s, on one further host",
        "blocks compute a part of the time, so that hosts and controller together need no more cores than are here",
        "RTO is from the kill to the first step that is done elsewhere",
        "without power nobody says goodbye: a host is given up after 10 s of silence",
    )
    return Report("functions_lost", tuple(goals), figures, options.runs, options.quick, notes)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedded", action="store_true", help="on embedded hosts")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="kills of workers of each kind")
    return parser


if __name__ == "__main__":
    main_with("functions_lost", run, options())
