"""A generated fleet for the cost of the oracle, and a real worker process that is asked about it."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Sample
from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.inventory import OracleSpec
from sidestep.fleet.resources import PLANNED
from sidestep.forecasting import wire
from sidestep.forecasting.process import Worker

F32 = NDArray[np.float32]

#: 2026, so that times look like times
BEGIN = 1.8e9
#: threads of numeric libraries: the worker has one core
SINGLE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def demand(series: int, seed: int = 3, day: float = 288.0) -> Iterator[F32]:
    """Rows (S,) without end: a daily wave, slow noise and a few missing samples, the same for a seed."""
    random = np.random.default_rng(seed)
    size = random.lognormal(1.0, 1.0, series)
    phase, memory = random.random(series) * 2 * np.pi, random.uniform(0.6, 0.98, series)
    noise, at = np.zeros(series), 0
    while True:
        noise = memory * noise + np.sqrt(1 - memory**2) * random.normal(size=series)
        row = size * np.maximum(1.5 + np.sin(phase + 2 * np.pi * at / day) + 0.3 * noise, 0.0)
        row[random.random(series) < 0.01] = np.nan
        yield row.astype(np.float32)
        at += 1


@dataclass(frozen=True)
class Fleet:
    """How many hosts and shards, and how many seconds a step takes."""

    hosts: int
    shards: int
    step: float = 5.0
    horizon: float = 300.0

    @property
    def names(self) -> wire.Names:
        """Hosts and shards of one app."""
        hosts = tuple(f"h{at:05d}" for at in range(self.hosts))
        return wire.Names(hosts, tuple(f"s{at:05d}" for at in range(self.shards)), ("a",) * self.shards)

    def split(self, values: F32) -> tuple[bytes, bytes]:
        """(..., S) as the bytes of hosts and of shards."""
        count = self.hosts * wire.HOST_WIDTH
        return wire.to_bytes(values[..., :count]), wire.to_bytes(values[..., count:])


async def worker_sample(fleet: Fleet, past: int, ticks: int) -> Sample:
    """One life of a worker: seconds to its first forecast, CPU ms of a tick on both sides, and its memory."""
    for name in SINGLE:
        os.environ.setdefault(name, "1")
    names, rows = fleet.names, demand(fleet.names.series)
    block = np.stack([next(rows) for _ in range(past)])
    times = BEGIN + fleet.step * np.arange(past + ticks + 2)
    limits = wire.to_bytes(np.full((fleet.hosts, PLANNED), 20.0, np.float32))
    window = round(fleet.horizon / fleet.step)
    began = time.monotonic()
    worker = await Worker.spawn(lambda _: None)
    try:
        await worker.prepare(wire.Configure(OracleSpec(step=fleet.step), fleet.horizon))
        hosts, shards = fleet.split(block)
        told = wire.Past(fleet.step, names, times[:past].astype("<f8").tobytes(), hosts, shards)
        replayed = await worker.prepare(told)
        first, spent, own, have = 0.0, [], [], -1
        for at in range(ticks + 1):
            hosts, shards = fleet.split(next(rows))
            row = wire.Row(at, float(times[past + at] + fleet.step / 2), hosts, shards, None if at else names)
            before, mine = cpu_of(worker.pid), time.process_time()
            answer = await worker.call(wire.Ask((row,), LEVELS, limits, window, 1, have))
            mine, after = time.process_time() - mine, cpu_of(worker.pid)
            if not isinstance(answer, wire.Answer) or not answer.hosts:
                raise RuntimeError(f"the worker did not forecast: {str(answer)[:200]}")
            have = answer.number
            if at:
                spent.append(after - before)
                own.append(mine)
            else:
                first = time.monotonic() - began
        memory = memory_of(worker.pid)
    finally:
        await worker.aclose()
    learned = replayed.rows if isinstance(replayed, wire.Replayed) else 0
    return {
        "first_forecast_s": first,
        "past_steps_learned": float(learned),
        # clock ticks of the kernel are 10 ms, so the mean and not the median
        "worker_cpu_ms": 1e3 * float(np.mean(spent)),
        "daemon_cpu_ms": 1e3 * float(np.mean(own)),
        **memory,
    }


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used; from the scheduler's nanoseconds of all its threads."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory_of(pid: int) -> Sample:
    """Resident megabytes of a process, now and at most."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return {
        "rss_mb": int(lines["VmRSS"].split()[0]) / 1024,
        "peak_rss_mb": int(lines["VmHWM"].split()[0]) / 1024,
    }


def held_bytes(thing: object, seen: set[int] | None = None) -> int:
    """Bytes of all arrays that an object holds, however deep; shared ones and views' bases count once."""
    seen = set() if seen is None else seen
    if isinstance(thing, (dict, list, tuple, set, frozenset, deque)):
        # containers are not marked: the number of one that is gone may be that of another
        return sum(held_bytes(each, seen) for each in (thing.values() if isinstance(thing, dict) else thing))
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return held_bytes(thing.base, seen) if isinstance(thing.base, np.ndarray) else thing.nbytes
    if type(thing).__module__.startswith("sidestep"):
        inside = getattr(thing, "__dict__", None) or {}
        slots = {name: getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())}
        return held_bytes({**inside, **slots}, seen)
    return 0
