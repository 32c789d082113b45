"""How many locks a second are granted, durably, to one client and to 32; beside one SQLite commit a grant.

The service runs in a process of its own, as the daemon runs it, with a real journal; clients talk to
its socket. A client takes a lock of its own, lets it go, and takes it again. The peer does what a plain
lock table would: one transaction with ``synchronous=FULL`` for each grant, in one process, with nobody
to talk to. ``contended`` is one lock that 32 clients want, which goes from hand to hand.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Goal, Report, Sample, interleave, main
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.locks.server import LockServer
from sidestep.autopilot.locks.service import LockService
from sidestep.locks.wire import HEADER, Acquire, Granted, Hello, Release, Request, pack, parse_reply

CLIENTS = 32
CLAIM = b"c" * 16
TTL = 30.0


async def serve(folder: Path) -> None:
    """The service until standard input ends; for each line there, what it has done so far."""
    journal = Journal(folder / "journal.db")
    server = LockServer(folder / "run" / "locks", LockService(journal=journal))
    await server.start()
    print("ready", flush=True)
    while await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        counts = server.service.counts
        print(f"{counts.grants} {counts.transactions} {time.process_time()}", flush=True)
    await server.aclose()
    journal.close()


class Service:
    """The service in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "run" / "locks"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.locks", "--serve", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        self._line()

    def counts(self) -> list[float]:
        """Grants, transactions and CPU seconds since it began."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return [float(word) for word in self._line().split()]

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


async def client(path: Path, name: str, claim: bytes, until: float) -> list[float]:
    """Take a lock and let it go until then; the seconds that each grant took."""
    reader, writer = await asyncio.open_unix_connection(str(path))

    async def answer() -> object:
        return parse_reply(await reader.readexactly(int.from_bytes(await reader.readexactly(HEADER), "big"))).body

    writer.write(pack(Request(1, Hello())))
    await answer()
    took, number = [], 1
    while (began := time.perf_counter()) < until:
        number += 2
        writer.write(pack(Request(number, Acquire(name, claim, TTL, TTL))))
        granted = await answer()
        if not isinstance(granted, Granted):
            raise TypeError(f"not granted: {granted}")
        took.append(time.perf_counter() - began)
        writer.write(pack(Request(number + 1, Release(name, claim))))
        await answer()
    writer.close()
    return took


async def measure(service: Service, clients: int, names: int, seconds: float) -> Sample:
    """Grants a second of so many clients that want so many locks."""
    before = service.counts()
    began = time.perf_counter()
    each = await asyncio.gather(*(
        client(service.path, f"lock {number % names}", b"%016d" % number, began + seconds)
        for number in range(clients)
    ))  # fmt: skip
    elapsed = time.perf_counter() - began
    grants, transactions, cpu = (after - was for after, was in zip(service.counts(), before, strict=True))
    took = sorted(seconds for one in each for seconds in one)
    return {
        "grants/s": len(took) / elapsed,
        "grants a transaction": grants / max(1.0, transactions),
        "p50 ms": took[len(took) // 2] * 1000,
        "p99 ms": took[len(took) * 99 // 100] * 1000,
        "service CPU us a grant": cpu / max(1.0, grants) * 1e6,
    }


def plain(seconds: float) -> Sample:
    """One transaction a grant, as a table without a service would do it; grants a second."""
    with tempfile.TemporaryDirectory(prefix="sidestep-locks-") as place:
        db = sqlite3.connect(Path(place, "plain.db"), isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE lock (name TEXT PRIMARY KEY, token INTEGER, holder TEXT)")
        db.execute("INSERT INTO lock VALUES ('lock 0', 0, '')")
        took, ends = [], time.perf_counter() + seconds
        while (began := time.perf_counter()) < ends:
            db.execute("BEGIN IMMEDIATE")
            db.execute("UPDATE lock SET token = token + 1, holder = 'c' WHERE name = 'lock 0'")
            db.execute("COMMIT")
            took.append(time.perf_counter() - began)
        db.close()
    took.sort()
    return {
        "grants/s": len(took) / sum(took),
        "p50 ms": took[len(took) // 2] * 1000,
        "p99 ms": took[len(took) * 99 // 100] * 1000,
    }


def run(quick: bool) -> Report:
    """Grants a second with 1 and 32 clients, and of one SQLite commit a grant."""
    runs, seconds = (3, 1.0) if quick else (9, 3.0)
    with tempfile.TemporaryDirectory(prefix="sidestep-locks-") as place:
        service = Service(Path(place))
        try:
            figures = interleave(
                {
                    "1 client": lambda: asyncio.run(measure(service, 1, 1, seconds)),
                    "32 clients": lambda: asyncio.run(measure(service, CLIENTS, CLIENTS, seconds)),
                    "32 clients, contended": lambda: asyncio.run(measure(service, CLIENTS, 1, seconds)),
                    "one commit a grant": lambda: plain(seconds),
                },
                runs,
            )
        finally:
            service.close()
    peer = figures["one commit a grant"]["grants/s"].median
    one, many = figures["1 client"]["grants/s"].median, figures["32 clients"]["grants/s"].median
    goals = (
        Goal("grants to 32 clients", many / peer, "times one SQLite commit a grant", 1.0, ">", {"commits/s": peer}),
        Goal("grants to 1 client", one / peer, "times one SQLite commit a grant", 0.5, ">", {"commits/s": peer}),
        Goal("32 clients against 1", many / one, "times", 4.0, ">"),
    )
    notes = (
        "clients, 32 of them in one process, and the service share this machine's cores with whatever else runs",
        "the peer grants to itself: no socket, no clients, and its releases cost it nothing",
        "a contended lock goes from hand to hand, so each grant is a transaction of its own",
    )
    return Report("locks", goals, figures, runs, quick, notes)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(Path(sys.argv[2])))
    else:
        main("locks", run)
