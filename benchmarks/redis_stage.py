"""A real cluster under a bounded load of clients, and who moves its slots: ours, and redis-cli."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from scripts.rediscluster import Cluster, running
from sidestep.backends.redis_cluster.access import Access
from sidestep.backends.redis_cluster.client import Nodes
from sidestep.backends.redis_cluster.job import Ledger, Leg, job
from sidestep.backends.redis_cluster.look import agreed
from sidestep.backends.redis_cluster.mover import Mover
from sidestep.backends.redis_cluster.ranges import slot_of
from sidestep.backends.redis_cluster.topology import View

#: clients, requests a second of each, keys of each, seconds of load before each move
CLIENTS = 2
RATE = 400.0
OWN = 1000
BEFORE = 1.5
VALUE = b"x" * 200
#: seconds in which a paced program runs and is stopped once
PERIOD = 0.04


@dataclass
class Load:
    """Clients as processes of their own, so that nobody's interpreter is in their way."""

    port: int
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    answers: list[dict[str, list[float]]] = field(default_factory=list)

    def start(self) -> None:
        """Return once all of them ask."""
        for index in range(CLIENTS):
            words = [str(self.port), f"c{index}", str(RATE), str(OWN)]
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.redis_client", *words],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
        for process in self.processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("a client did not begin")

    def stop(self) -> None:
        """End them; their accounts."""
        for process in self.processes:
            out, _ = process.communicate()
            self.answers.append(json.loads(out))

    @property
    def errors(self) -> list[str]:
        """What failed, of all."""
        return [str(text) for answer in self.answers for text in answer["errors"]]

    @property
    def wrong(self) -> int:
        """Keys that do not have what was acknowledged."""
        return sum(int(answer["wrong"]) for answer in self.answers)  # type: ignore[call-overload]

    def waits(self, begin: float, end: float) -> list[float]:
        """Seconds of every request that began between, sorted."""
        return sorted(
            took
            for answer in self.answers
            for at, took in zip(answer["at"], answer["took"], strict=True)
            if begin <= at < end
        )


@dataclass(frozen=True)
class Moved:
    """One move: who, what, when, and how many slots and keys."""

    who: str
    what: str
    before: float
    begin: float
    end: float
    slots: int
    keys: int
    #: CPU seconds of all nodes, beyond what clients cost them before
    cpu: float


@dataclass
class Stage:
    """Cluster, clients, and the moves that were made."""

    cluster: Cluster
    load: Load
    moves: list[Moved] = field(default_factory=list)
    #: of the masters, in the order of their servers
    ids: list[str] = field(default_factory=list)

    def look(self) -> View:
        """The whole cluster, agreed."""
        return asyncio.run(self._look())

    async def _look(self) -> View:
        nodes = Nodes(Access())
        try:
            return await agreed(nodes, [("127.0.0.1", self.cluster.servers[0].port)])
        finally:
            await nodes.aclose()

    def ours(self, what: str, legs: Sequence[Leg]) -> None:
        """Move by sidestep's own mover. Its listening before it moves is no part of the time, its looks are."""
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:  # as ``sidestep cluster`` is
            alone.submit(os.getpid).result()
            before, calm = time.monotonic(), self.cpu()
            time.sleep(BEFORE)
            rate, began = (self.cpu() - calm) / (time.monotonic() - before), time.monotonic()
            spent = self.cpu()
            seconds, slots, keys, end = alone.submit(_ours, self.cluster.servers[0].port, what, legs).result()
            cpu = self.cpu() - spent - rate * (time.monotonic() - began)
        self.moves.append(Moved("sidestep", what, before, end - seconds, end, slots, keys, cpu))

    def theirs(
        self, who: str, what: str, arguments: Sequence[str], *, pipeline: int, share: float, nice: int = 0
    ) -> None:  # fmt: skip
        """Move by ``redis-cli --cluster``; it is stopped for all but that share of the time."""
        before, calm = time.monotonic(), self.cpu()
        time.sleep(BEFORE)
        rate = (self.cpu() - calm) / (time.monotonic() - before)
        keys, owners = self.sizes(), self.look()
        begin, spent = time.monotonic(), self.cpu()
        command = [
            *(["nice", "-n", str(nice)] if nice else []),
            "redis-cli",
            "--cluster",
            *arguments,
            "--cluster-pipeline",
            str(pipeline),
        ]
        _paced(command, share)
        end = time.monotonic()
        cpu = self.cpu() - spent - rate * (end - begin)
        after, now = self.sizes(), self.look()
        slots = sum(_id(now, slot) != _id(owners, slot) for slot in range(len(now.owners)))
        moved = sum(abs(after[at] - keys[at]) for at in range(len(keys))) // 2
        self.moves.append(Moved(who, what, before, begin, end, slots, moved, cpu))

    def nothing(self, what: str) -> None:
        """Move nothing for a while: how much the same figures differ by chance."""
        before = time.monotonic()
        time.sleep(BEFORE * 2)
        begin = time.monotonic()
        time.sleep(BEFORE * 2)
        self.moves.append(Moved("nothing moved", what, before, begin, time.monotonic(), 0, 0, 0.0))

    def pooled(self, who: str, what: str, share: float) -> tuple[float, float]:
        """That quantile (ms) of all requests before, and of all during, all such moves."""
        mine = [moved for moved in self.moves if (moved.who, moved.what) == (who, what)]
        calm = sorted(took for moved in mine for took in self.load.waits(moved.before, moved.begin))
        during = sorted(took for moved in mine for took in self.load.waits(moved.begin, moved.end))
        return quantile(calm, share), quantile(during, share)

    def cpu(self) -> float:
        """CPU seconds of all nodes so far."""
        total = 0.0
        for server in self.cluster.servers:
            assert server.process is not None
            words = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        return total

    def sizes(self) -> list[int]:
        """Keys of each master."""
        return [int(self.cluster.ask(at, "DBSIZE")) for at in range(self.cluster.masters)]

    def sample(self, moved: Moved) -> dict[str, float]:
        """What clients saw of a move, and how fast it was."""
        calm, during = self.load.waits(moved.before, moved.begin), self.load.waits(moved.begin, moved.end)
        seconds = moved.end - moved.begin
        return {
            "slots_per_second": moved.slots / seconds, "keys_per_second": moved.keys / seconds,
            "node_cpu_ms_per_slot": moved.cpu / max(moved.slots, 1) * 1e3, "slots": moved.slots,
            "p50_before_ms": quantile(calm, 0.5), "p99_before_ms": quantile(calm, 0.99),
            "p50_during_ms": quantile(during, 0.5), "p99_during_ms": quantile(during, 0.99),
            "p99_ratio": quantile(during, 0.99) / quantile(calm, 0.99), "requests_during": len(during),
        }  # fmt: skip


def _ours(port: int, what: str, legs: Sequence[Leg]) -> tuple[float, int, int, float]:
    """In a process of its own: seconds, slots, keys, and when it was done (``CLOCK_MONOTONIC``)."""
    return asyncio.run(_moved(port, what, legs))


async def _moved(port: int, what: str, legs: Sequence[Leg]) -> tuple[float, int, int, float]:
    nodes = Nodes(Access())
    with tempfile.TemporaryDirectory(prefix="sidestep-redis-") as folder:
        made = job(legs, what)
        ledger = Ledger(Path(folder), made)
        try:
            done = await Mover(nodes, [("127.0.0.1", port)], yields=True).run(made, ledger)
            end = time.monotonic()
        finally:
            ledger.close()
            await nodes.aclose()
    return done.seconds, done.slots, done.keys, end


def _paced(command: Sequence[str], share: float) -> None:
    """Run a program, stopped (SIGSTOP) for the rest of every PERIOD. Raises CalledProcessError."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while share < 1 and process.poll() is None:
            time.sleep(PERIOD * share)
            process.send_signal(signal.SIGSTOP)
            time.sleep(PERIOD * (1 - share))
            process.send_signal(signal.SIGCONT)
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)


def quantile(values: Sequence[float], share: float) -> float:
    """In milliseconds, of sorted seconds."""
    return values[min(int(len(values) * share), len(values) - 1)] * 1e3 if values else float("nan")


@contextmanager
def staged(keys: int) -> Iterator[Stage]:
    """Three masters and their replicas with so many keys, under load; clients have ended after the block."""
    with running(3, 1) as cluster:
        _fill(cluster, keys)
        load = Load(cluster.servers[0].port)
        load.start()
        stage = Stage(cluster, load, ids=[cluster.text(at, "CLUSTER", "MYID") for at in range(cluster.masters)])
        try:
            yield stage
        finally:
            load.stop()


def _fill(cluster: Cluster, keys: int) -> None:
    """Keys on all masters, each where it belongs."""
    import redis  # noqa: PLC0415

    firsts = [16384 // cluster.masters * at + min(at, 16384 % cluster.masters) for at in range(cluster.masters)]
    owners: Mapping[int, list[bytes]] = {at: [] for at in range(cluster.masters)}
    for index in range(keys):
        key = f"k{index}".encode()
        owners[bisect_right(firsts, slot_of(key)) - 1].append(key)
    for at, own in owners.items():
        with redis.Redis(port=cluster.servers[at].port) as client:
            for begin in range(0, len(own), 5000):
                pipe = client.pipeline(transaction=False)
                for key in own[begin : begin + 5000]:
                    pipe.set(key, VALUE)
                pipe.execute()


def _id(view: View, slot: int) -> str:
    one = view.owner(slot)
    return one.id if one else ""


def median(samples: Sequence[Mapping[str, float]], key: str) -> float:
    """Of one figure over moves."""
    return statistics.median(sample[key] for sample in samples)
