"""From totals to rates, and which numbers cannot be true; pure, for many hosts at a time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.backends.sampler.protocol import HOST, HOST_COLUMNS, SHARD, SHARD_COLUMNS

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

HOST_COUNTERS: Final = np.array([kind == "counter" for _, kind in HOST_COLUMNS])
SHARD_COUNTERS: Final = np.array([kind == "counter" for _, kind in SHARD_COLUMNS])
#: above these a record is wrong, whatever the machine
MOST_CORES: Final = 1e5
MOST_GAUGE: Final = 2.0**60
MOST_RATE: Final = 1e13
MOST_INT: Final = 2.0**53
#: processor time may fall by so many microseconds: ended processes are counted in ticks where they were waited for
SLACK: Final = 50_000.0


def _limits(names: tuple[tuple[str, str], ...]) -> F64:
    """The most that a rate of each column may be; a gauge has none."""
    cores = [name == "cpu" or name.startswith("cpu_") for name, _ in names]
    rates = [MOST_CORES * 1e6 if is_cores else MOST_RATE for is_cores in cores]
    return np.array([rate if kind == "counter" else np.inf for rate, (_, kind) in zip(rates, names, strict=True)])


def _slack(names: tuple[tuple[str, str], ...]) -> F64:
    return np.array([-SLACK if name == "cpu" or name.startswith("cpu_") else 0.0 for name, _ in names])


HOST_MOST_RATE: Final = _limits(HOST_COLUMNS)
SHARD_MOST_RATE: Final = _limits(SHARD_COLUMNS)
HOST_MOST: Final = np.where(HOST_COUNTERS, np.inf, MOST_GAUGE)
SHARD_MOST: Final = np.where(SHARD_COUNTERS, np.inf, MOST_GAUGE)
SHARD_MOST[[SHARD["pid"], SHARD["token"]]] = MOST_INT
SHARD_MOST[SHARD["running"]] = 1.0
HOST_SLACK: Final = _slack(HOST_COLUMNS)
SHARD_SLACK: Final = _slack(SHARD_COLUMNS)
_WHOLE: Final = [SHARD["pid"], SHARD["token"], SHARD["running"]]
WALL: Final = HOST["wall_ms"]


def rates(before: F64, now: F64, seconds: F64, counters: Mask, slack: F64) -> tuple[F64, Mask]:
    """Growth per second of counters and gauges as they are; and which rows have a counter that was reset.

    ``seconds`` a row is NaN where there is no sample before. A counter that fell by no more
    than its slack stood still; one that fell more was reset and has no rate for one sample.
    """
    rate = now - before
    fell = rate < 0
    reset = np.zeros(len(now), dtype=np.bool_)
    if fell.any():
        rate[fell & (rate >= slack)] = 0.0
        fell &= counters
        fell &= rate < 0
        rate[fell] = np.nan
        reset = fell.any(axis=1) & ~np.isnan(seconds)
    rate /= seconds[:, None]
    gauges = ~counters
    rate[:, gauges] = now[:, gauges]
    return rate, reset


def absurd_hosts(values: F64, rate: F64) -> Mask:
    """Rows that hold a number that no machine has."""
    return np.asarray(((values > HOST_MOST) | (rate > HOST_MOST_RATE)).any(axis=1))


def absurd_shards(values: F64, rate: F64) -> Mask:
    """The same for shards, whose pid, token and running must be known and whole too."""
    whole = values[:, _WHOLE]
    wrong = ((values > SHARD_MOST) | (rate > SHARD_MOST_RATE)).any(axis=1)
    return np.asarray(wrong | ~(whole == np.floor(whole)).all(axis=1))
