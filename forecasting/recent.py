"""The newest of what was measured, in the daemon: for the forecast of last resort, and for a new worker.

One row a step of the grid, f4, all series. The rows are bounded in bytes and not in time:
at most ``MOST_BYTES``, 48 MiB, which is 900 steps of up to 14,000 series and about 270 steps
of 1,000 hosts and 10,000 shards. How far values stray from the last one is kept up to date
with every step, so that a forecast costs nothing to have at hand.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.resources import CPU
from sidestep.forecasting import wire
from sidestep.forecasting.panel import Panel

F32 = NDArray[np.float32]

MOST_BYTES: Final = 48 << 20
MOST_ROWS: Final = 900
LEAST_ROWS: Final = 4
#: mean squares go back over about so many errors, and so many more for every step of the lag
MEMORY: Final = 120.0
INDEPENDENT: Final = 10.0
#: steps of the past that the strays are learned from at the start, within so many values
PAST_ROWS: Final = 300
PAST_VALUES: Final = 4 << 20
#: no host has more than this of anything, in cores, bytes, or bytes a second: a counter that wrapped
#: says more, and one such value would drown all others of its series for days
MOST: Final = np.float32(1e15)


class Recent:
    """A ring of closed steps, and the mean square of the errors of persistence at each of ``lags`` (B,)."""

    def __init__(self, step: float, lags: NDArray[np.int64], most_bytes: int = MOST_BYTES) -> None:
        self.names = wire.Names()
        self.lags = lags
        self.step = step
        self._most = most_bytes
        self._panel = Panel(step)
        self._ring: F32 = np.zeros((0, 0), np.float32)
        self._when = np.zeros(0)
        #: the number of the newest tick in each row; -1 for one of the past
        self._tick = np.zeros(0, dtype=np.int64)
        #: rows written so far
        self._written = 0
        self.last: F32 = np.zeros(0, np.float32)
        #: (B, S) mean squares of errors, and how many there were
        self.square: F32 = np.zeros((len(lags), 0), np.float32)
        self.count: F32 = np.zeros((len(lags), 0), np.float32)
        #: steps in which the cpu of at least half of the hosts was known
        self.valid = 0

    @property
    def rows(self) -> int:
        """Steps that are kept."""
        return min(self._written, len(self._ring))

    @property
    def size(self) -> int:
        """Bytes of the ring and of what stands beside it."""
        return sum(each.nbytes for each in (self._ring, self.square, self.count, self.last))

    def align(self, names: wire.Names) -> None:
        """Take these series from now on; what is kept of those that stay is kept."""
        if names is self.names or names == self.names:
            return
        rows = self._panel.align(series_of(names))
        self.names = names
        if rows is None:
            return
        index, new = np.maximum(rows, 0), rows < 0
        wide = max(1, len(rows))
        depth = int(min(MOST_ROWS, max(LEAST_ROWS, self._most // (4 * wide))))
        order = np.arange(max(0, self._written - min(self.rows, depth)), self._written)
        old = self._ring[order % max(1, len(self._ring))]
        ring = np.full((depth, len(rows)), np.nan, np.float32)
        when, tick = np.full(depth, np.nan), np.full(depth, -1, dtype=np.int64)
        if old.shape[1] and len(order):
            ring[order % depth] = np.where(new, np.float32(np.nan), old[:, index])
            when[order % depth], tick[order % depth] = (
                each[order % len(self._when)] for each in (self._when, self._tick)
            )
        self._ring, self._when, self._tick = ring, when, tick
        self.last = _kept(self.last, index, new, np.nan)
        self.square = _kept(self.square, index, new, 0.0)
        self.count = _kept(self.count, index, new, 0.0)

    def add(self, number: int, time: float, values: F32) -> None:
        """One tick (S,) of the series of ``names``."""
        values = plausible(values)
        known = np.isfinite(values)
        self.last = np.where(known, values, self.last)
        closed = self._panel.add(time, values)
        for back, row in zip(range(len(closed), 0, -1), closed, strict=True):
            self._keep(row.astype(np.float32), self._panel.closed_at - (back - 0.5) * self.step, number)

    def prime(self, past: wire.Past) -> int:
        """Take the newest of a past, before the first tick; how many steps. Raises ValueError after it."""
        times = np.frombuffer(past.times, "<f8")
        if not len(times):
            return 0
        self.align(past.names)
        laid = self._panel.prime(past.step, times, matrix(past))
        count = min(laid.bins, PAST_ROWS, max(LEAST_ROWS, PAST_VALUES // max(1, past.names.series)))
        end = self._panel.closed_at
        for back, row in zip(range(count, 0, -1), laid.rows(count), strict=True):
            self.last = np.where(np.isfinite(row), row, self.last)
            self._keep(row, end - (back - 0.5) * self.step, -1)
        return count

    def live(self, most: int) -> tuple[wire.Row, ...]:
        """The newest at most ``most`` steps that were measured (not those of the past), oldest first."""
        order = np.arange(self._written - min(self.rows, most), self._written)
        if not len(order):
            return ()
        at = order % len(self._ring)
        hosts = len(self.names.hosts) * wire.HOST_WIDTH
        return tuple(
            wire.Row(
                int(self._tick[k]),
                float(self._when[k]),
                self._ring[k, :hosts].astype("<f4").tobytes(),
                self._ring[k, hosts:].astype("<f4").tobytes(),
                self.names,
            )
            for k in at[self._tick[at] >= 0]
        )

    def _keep(self, row: F32, when: float, tick: int) -> None:
        if not len(self._ring):
            return
        hosts = len(self.names.hosts) * wire.HOST_WIDTH
        cpu = row[CPU : hosts : wire.HOST_WIDTH]
        self.valid += bool(len(cpu)) and bool(np.isfinite(cpu).mean() >= 0.5)
        some = np.isfinite(row).any()
        for b, lag in enumerate(self.lags):
            if lag > self.rows or not some:
                break
            error = np.square(row - self._ring[(self._written - lag) % len(self._ring)])
            known = np.isfinite(error)
            self.count[b] = np.minimum(self.count[b] + known, np.float32(MEMORY + INDEPENDENT * lag))
            rate = np.where(known, 1 / np.maximum(self.count[b], 1), np.float32(0))
            self.square[b] += (np.where(known, error, np.float32(0)) - self.square[b]) * rate
        at = self._written % len(self._ring)
        self._ring[at], self._when[at], self._tick[at] = row, when, tick
        self._written += 1


def series_of(names: wire.Names) -> tuple[str, ...]:
    """A name for every series, in the order of their rows: hosts first."""
    hosts = [f"host {name} {column}" for name in names.hosts for column in range(wire.HOST_WIDTH)]
    return tuple(hosts + [f"shard {name} {column}" for name in names.shards for column in range(wire.SHARD_WIDTH)])


def matrix(past: wire.Past) -> F32:
    """(K, S) of a past. Raises ProtocolError if its arrays do not fit its names."""
    count = len(past.times) // 8
    hosts = wire.from_bytes(past.host_use, (count, len(past.names.hosts) * wire.HOST_WIDTH), "past host use")
    shards = wire.from_bytes(past.shard_use, (count, len(past.names.shards) * wire.SHARD_WIDTH), "past shard use")
    return plausible(np.concatenate([hosts, shards], axis=1))


def vector(row: wire.Row, names: wire.Names) -> F32:
    """(S,) of a row. Raises ProtocolError if its arrays do not fit the names."""
    hosts = wire.from_bytes(row.host_use, (len(names.hosts) * wire.HOST_WIDTH,), "host use")
    shards = wire.from_bytes(row.shard_use, (len(names.shards) * wire.SHARD_WIDTH,), "shard use")
    return plausible(np.concatenate([hosts, shards]))


def plausible(values: F32) -> F32:
    """The values that demand can have; all others are missing."""
    with np.errstate(invalid="ignore"):
        good = (values >= 0) & (values <= MOST)
    return values if good.all() else np.where(good, values, np.float32(np.nan))


def _kept(values: F32, index: NDArray[np.int64], new: NDArray[np.bool_], fresh: float) -> F32:
    if not values.shape[-1]:
        return np.full((*values.shape[:-1], len(index)), fresh, np.float32)
    return np.where(new, np.float32(fresh), values[..., index])
