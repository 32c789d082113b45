"""Demand of shards over time, and the hosts that it is on: of a recorded trace, or with a daily peak by a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle.data import Group, PartName, machines_of, time_of

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: shards of a host; what a host is above in contention; and how full the fleet is: its highest load before the
#: scored time as a part of all hosts' limits
SHARDS: Final = 6
THRESHOLD: Final = 0.8
FILL: Final = 0.85
#: a shard never demands more than this part of a host
LARGEST: Final = 0.4
#: of a recorded rhythm: how much of what moves the day before tells
ALIKE: Final = 0.5
#: days of history before the scored time
HISTORY: Final = 4.0
#: deviation of a day's peak of an app: nearly the same every day, or never the same
STEADY: Final = 0.05
CHANGING: Final = 0.25
#: seconds of a synthetic step
STEP: Final = 600


@dataclass(frozen=True)
class Trace:
    """``demand`` (T, S) cores, scored from ``begin`` on, a step every ``step`` seconds; ``home`` (S,) rows of hosts."""

    name: str
    demand: F64
    begin: int
    step: int
    home: I64
    hosts: int
    capacity: float

    @property
    def first(self) -> int:
        """The step from which shards move: a day before the scored time, or half of what is before it."""
        return self.begin - min(86400 // self.step, self.begin // 2)


def recorded(group: Group, part: PartName, *, days: float, most: int, seed: int) -> Trace | None:
    """The processor load of a part's machines, each a shard; None if they are too few or nothing says cpu."""
    if "cpu_pct" not in group.metrics:
        return None
    begin, end = time_of(group, part)
    short = begin == 0
    begin = max(begin, end // 2) if short else begin
    begin = max(begin, end - round(days * group.day)) if days else begin
    first = max(0, begin - round(HISTORY * group.day))
    rows = machines_of(group, part)
    block = _known(group.values[rows, group.metrics.index("cpu_pct"), first:end].astype(np.float64)).T
    random = np.random.default_rng(seed)
    block = block[:, random.permutation(block.shape[1])[:most]]
    past = block[: begin - first]
    block = block[:, np.nanstd(past, axis=0) > 0]
    if block.shape[1] < 3 * SHARDS:
        return None
    return _placed(
        f"{group.name} {part}, seed {seed}", _sized(block, begin - first, random), begin - first, group.step, random
    )


def rhythmic(group: Group, part: PartName, *, days: float, most: int, seed: int) -> Trace | None:
    """Recorded series with a daily rhythm, each a service's demand whose users live in a time zone of its own.

    For groups that record a few machines by many measures, all of one place: every series is a shard, and begins at an
    hour of its own, within the part's time. Taken are series whose days before the scored time are alike: the day
    before tells at least half of what moves. Machines to choose on are all that are not sealed. None where there are
    too few.
    """
    every = max(1, STEP // 2 // group.step)
    day, steps = group.day // every, round(days * (group.day // every))
    begin, end = (at // every for at in time_of(group, part))
    begin, past = max(begin, end - steps - day), round(HISTORY * day)
    if begin < past or end - begin < steps + day:
        return None
    machines = machines_of(group, part)
    if part == "choose":
        machines = np.union1d(machines, machines_of(group, "fit"))
    block = group.values[machines, :, (begin - past) * every : end * every].astype(np.float64)
    block = _known(block.reshape(-1, end - begin + past, every).mean(axis=2))
    alike = block[:, :past].reshape(len(block), -1, day)
    moves = alike.var(axis=(1, 2))
    told = 1.0 - np.square(np.diff(alike, axis=1)).mean(axis=(1, 2)) / np.maximum(2.0 * moves, 1e-12)
    block = block[(moves > 0) & (told >= ALIKE)]
    random = np.random.default_rng(seed)
    block = block[random.permutation(len(block))[:most]]
    if len(block) < 3 * SHARDS:
        return None
    shift = random.integers(0, day, len(block))
    demand = np.stack([row[at : at + past + steps] for row, at in zip(block, shift.tolist(), strict=True)]).T
    return _placed(f"{group.name} {part}, seed {seed}", _sized(demand, past, random), past, group.step * every, random)


def _known(series: F64) -> F64:
    """Series (S, T) of which nine tenths are known, what is missing between them drawn straight."""
    series = series[np.isfinite(series).mean(axis=1) > 0.9]
    at = np.arange(series.shape[1])
    for row in series:
        known = np.isfinite(row)
        row[:] = np.interp(at, at[known], row[known])
    return series


def _sized(demand: F64, past: int, random: np.random.Generator) -> F64:
    """Of their sizes nothing is known: the 99th percentile of each one's past is between a half and one and a half."""
    size: F64 = random.uniform(0.5, 1.5, demand.shape[1])
    least = np.minimum(demand[:past].min(axis=0), 0.0)
    return (demand - least) * size / np.maximum(np.quantile(demand[:past] - least, 0.99, axis=0), 1e-9)


def synthetic(seed: int, *, hosts: int, days: float, history: float, differ: float = STEADY) -> Trace:
    """Apps with a daily peak each, of different hours, on noise that wanders; days ``differ`` in their peaks."""
    random = np.random.default_rng(seed)
    day, shards = 86400 // STEP, hosts * SHARDS
    count = round((days + history) * day)
    hour = 2 * np.pi * np.arange(count)[:, None] / day
    apps = max(3, shards // 8)
    app = random.integers(0, apps, shards)
    phase = random.uniform(0, 2 * np.pi, apps)[app]
    sharp = random.uniform(2.0, 6.0, apps)[app]
    peak = (0.5 + 0.5 * np.cos(hour - phase)) ** sharp
    high = np.maximum(random.normal(1.0, differ, (count // day + 1, apps)), 0.0)[np.arange(count) // day][:, app]
    noise = np.zeros((count, shards))
    shock = random.normal(0.0, 0.01, (count, shards))
    for step in range(1, count):
        noise[step] = 0.9 * noise[step - 1] + shock[step]
    size = random.uniform(0.5, 1.5, shards)
    demand = size * np.maximum(0.15 + 0.85 * peak * high + noise, 0.02)
    return _placed(f"synthetic {differ:g}, seed {seed}", demand, round(history * day), STEP, random)


def _placed(name: str, demand: F64, begin: int, step: int, random: np.random.Generator) -> Trace:
    """Hosts as many as shards ask for, each shard on the host with least of all means, the largest first."""
    shards = demand.shape[1]
    hosts = max(3, shards // SHARDS)
    highest = np.quantile(demand[:begin].sum(axis=1), 0.99)
    capacity = float(highest / (FILL * THRESHOLD * hosts))
    demand = np.minimum(demand, LARGEST * capacity)
    mean = demand[:begin].mean(axis=0)
    home, load = np.zeros(shards, dtype=np.int64), np.zeros(hosts)
    for shard in np.argsort(-mean, kind="stable").tolist():
        home[shard] = int(np.argmin(load))
        load[home[shard]] += mean[shard]
    return Trace(name, demand, begin, step, home, hosts, capacity)
