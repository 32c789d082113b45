"""Generated traces for runs without data: labelled so, easy to forecast, and evidence of working code only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle.data import DAY, Group

F64 = NDArray[np.float64]
KINDS = ("daily", "bursts", "levels")


def groups(machines: int = 12, seed: int = 17) -> tuple[Group, ...]:
    """Two groups: every five minutes for nine days, and every minute for three."""
    return (
        _group("synthetic-300s", machines, 300, 9.0, seed),
        _group("synthetic-60s", machines // 2, 60, 4.0, seed + 1),
    )


def _group(name: str, machines: int, step: int, days: float, seed: int) -> Group:
    random = np.random.default_rng(seed)
    count = round(days * DAY / step)
    values = np.stack([series(random, kind, machines, count, DAY / step) for kind in KINDS], axis=1)
    return Group(name, values.astype(np.float32), step, tuple(f"m{at}" for at in range(machines)), KINDS)


def series(random: np.random.Generator, kind: str, count: int, steps: int, day: float) -> F64:
    """(count, steps) of one kind: a daily wave, an idle level with bursts, or levels that shift; all with noise."""
    noise = _noise(random, count, steps, random.uniform(0.5, 0.97, (count, 1)))
    size = random.lognormal(0.0, 1.0, (count, 1)) * 10
    if kind == "daily":
        turn = 2 * np.pi * (np.arange(steps) / day + random.random((count, 1)))
        body = 2.0 + np.sin(turn) + 0.4 * np.sin(2 * turn) + 0.25 * noise
    elif kind == "bursts":
        begins = random.random((count, steps)) < 3.0 / day
        burst = np.zeros((count, steps))
        for age in range(round(day / 48)):
            burst[:, age:] = np.maximum(burst[:, age:], begins[:, : steps - age])
        body = 0.2 + 0.05 * np.abs(noise) + burst * random.uniform(1.0, 3.0, (count, 1))
    else:
        jumps = (random.random((count, steps)) < 1.5 / day) * random.normal(0.0, 1.0, (count, steps))
        body = 3.0 + np.cumsum(jumps, axis=1) + 0.2 * noise
    return size * np.maximum(body, 0.0)


def _noise(random: np.random.Generator, count: int, steps: int, memory: F64) -> F64:
    """Autoregressive noise of unit variance."""
    found = np.empty((count, steps))
    shocks = random.normal(size=(count, steps)) * np.sqrt(1 - memory**2)
    found[:, 0] = random.normal(size=count)
    for at in range(1, steps):
        found[:, at] = memory[:, 0] * found[:, at - 1] + shocks[:, at]
    return found
