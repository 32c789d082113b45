"""What the history costs: a tick, a minute, memory, a restart, and bytes a series and day on the disk.

Ours is 1,000 hosts of 12 metrics and 20,000 shards of two, by the second, as the daemon's
keeper does it: rings, write-ahead file, Parquet by a child. The peer is what one would
write without it: a row a series and minute in SQLite. Values are noise on a wave, so they
compress as measurements do.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import Goal, Report, Sample, interleave, main
from sidestep.autopilot.history_keeper import Keeper
from sidestep.autopilot.history_segments import segments
from sidestep.fleet.inventory import HistorySpec

HOSTS, METRICS, SHARDS = 1000, 12, 20_000
HOUR = 3600
BEGIN = int(time.time()) // HOUR * HOUR - 3 * HOUR


def names_of(hosts: int) -> tuple[str, ...]:
    """Series of that many hosts, and of twenty times as many shards."""
    found = [f"host h{host} m{metric}" for host in range(hosts) for metric in range(METRICS)]
    return tuple(found + [f"shard s{shard} m{metric}" for shard in range(20 * hosts) for metric in range(2)])


def values(rng: np.random.Generator, moment: float, series: int) -> np.ndarray:
    """A wave of a day, and noise."""
    return np.asarray(2.0 + np.sin(moment / 13_750 + np.arange(series)) + rng.normal(0, 0.1, series))


def rss() -> float:
    """Megabytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def live(folder: Path, names: tuple[str, ...], minutes: int) -> dict[str, float]:
    """Minutes of a keeper."""
    rng, now = np.random.default_rng(1), float(BEGIN)
    kept = Keeper(HistorySpec(), folder, interval=1.0, clock=lambda: now, report=print)
    kept.begin(names)
    kept.append(now, names, values(rng, now, len(names)))
    before = rss()
    ticks, closing = list[float](), list[float]()
    for _ in range(minutes):
        for second in range(60):
            now += 1
            sample = values(rng, now, len(names))
            started = time.perf_counter()
            kept.append(now, names, sample)
            (closing if second == 59 else ticks).append((time.perf_counter() - started) * 1000)
        await kept.written()
    grown = rss() - before
    await kept.aclose()
    return {
        "tick_ms": float(np.median(ticks)),
        "tick_p99_ms": float(np.percentile(ticks, 99)),
        "minute_ms": float(np.median(closing)),
        "grown_mb": grown,
    }


def whole(folder: Path, hosts: int, minutes: int) -> Sample:
    """Minutes of a keeper, then its restart, then its hour as Parquet."""
    names = names_of(hosts)
    figures = asyncio.run(live(folder, names, minutes))
    size = sum(path.stat().st_size for path in segments(folder))
    again = Keeper(HistorySpec(), folder, interval=1.0, clock=lambda: BEGIN + 60.0 * minutes, report=print)
    started = time.perf_counter()
    again.begin(names)
    restart = time.perf_counter() - started
    for path in segments(folder):
        path.rename(path.with_name(path.name.replace(".segment", ".0.closed.segment")))
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sidestep.autopilot.history", "compact", "--folder", folder], check=True)
    compact = time.perf_counter() - started
    made = sum(path.stat().st_size for path in folder.glob("*/*.parquet"))
    per_day = 1440 / minutes / len(names)
    more = {"restart_s": restart, "compact_s": compact, "segment_bytes": size * per_day, "bytes": made * per_day}
    return {**figures, **more}


def ours(hosts: int, minutes: int) -> Sample:
    """In a process of its own, so that memory is that of the keeper."""
    program = (
        "import json, tempfile; from pathlib import Path; from benchmarks.history import whole\n"
        "with tempfile.TemporaryDirectory(prefix='sidestep-bench-') as folder:\n"
        f"    print(json.dumps(whole(Path(folder) / 'history', {hosts}, {minutes})))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def sqlite(hosts: int, minutes: int) -> Sample:
    """A row a series and minute; the same minutes, a transaction each."""
    names, rng = names_of(hosts), np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="sidestep-bench-") as folder:
        path = Path(folder) / "history.db"
        base = sqlite3.connect(path)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("CREATE TABLE past (series INTEGER, time INTEGER, mean REAL, high REAL, n INTEGER,"
                     " PRIMARY KEY (series, time)) WITHOUT ROWID")  # fmt: skip
        closing = []
        for minute in range(minutes):
            now = BEGIN + 60 * minute
            mean = values(rng, now, len(names)).astype(np.float32).tolist()
            started = time.perf_counter()
            with base:
                base.executemany("INSERT INTO past VALUES (?,?,?,?,60)", ((i, now, v, v) for i, v in enumerate(mean)))
            closing.append((time.perf_counter() - started) * 1000)
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        base.close()
        started = time.perf_counter()
        sqlite3.connect(path).execute("SELECT series, time, mean, high, n FROM past").fetchall()
        restart = time.perf_counter() - started
        size = path.stat().st_size
    return {"minute_ms": float(np.median(closing)), "restart_s": restart, "bytes": size * 1440 / minutes / len(names)}


def run(quick: bool) -> Report:
    """Append ms, memory, restart and bytes of the history of 1,000 hosts and 20,000 shards."""
    minutes, runs = (5, 1) if quick else (60, 3)
    figures = interleave(
        {"keeper": functools.partial(ours, HOSTS, minutes), "sqlite": functools.partial(sqlite, HOSTS, minutes)}, runs
    )
    mine = {key: spread.median for key, spread in figures["keeper"].items()}
    peer = {key: spread.median for key, spread in figures["sqlite"].items()}
    goals = (
        Goal("a tick of 52,000 series", mine["tick_ms"], "ms", 3.0, "<="),
        Goal("a tick that closes a minute", mine["minute_ms"], "ms", 100.0, "<=", {"sqlite": peer["minute_ms"]}),
        Goal("memory that the rings add", mine["grown_mb"], "MB", 40.0, "<="),
        Goal("taking the open hour back", mine["restart_s"], "s", 5.0, "<=", {"sqlite": peer["restart_s"]}),
        Goal("bytes a series and day", mine["bytes"], "B", 16_000.0, "<=", {"sqlite": peer["bytes"]}),
    )
    notes = (f"{minutes} minutes of {HOSTS} hosts x {METRICS} and {SHARDS} shards x 2, a sample a second",)
    return Report("history", goals, figures, runs, quick, notes)


if __name__ == "__main__":
    main("history", run)
