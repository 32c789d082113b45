"""Irregular ticks onto a fixed grid, series by name.

A bin is the mean of its ticks; one without ticks is missing. A bin is closed by the first
tick after it, or at once when no further tick is expected in it, so that at one tick a
step a forecast is never a step behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: a jump of the clock by more bins than this is a jump, not a hole in the data
JUMP: Final = 1000


class Laid(NamedTuple):
    """A past on the grid: so many bins, which of them (ascending) are known at all, and their means (K, S)."""

    bins: int
    at: NDArray[np.int64]
    values: NDArray[np.float32]

    def rows(self, newest: int) -> Iterator[NDArray[np.float32]]:
        """The newest so many bins, oldest first, each (S,); NaN is missing."""
        nothing = np.full(self.values.shape[1], np.nan, np.float32)
        where = dict(zip(self.at.tolist(), range(len(self.at)), strict=True))
        for bin_ in range(max(0, self.bins - newest), self.bins):
            yield self.values[where[bin_]] if bin_ in where else nothing


class Panel:
    """The open bin of every series; ``step`` is the width of a bin in seconds."""

    def __init__(self, step: float) -> None:
        if not step > 0:
            raise ValueError(f"a grid step must be positive, not {step}")
        self.step = step
        self.names: tuple[str, ...] = ()
        self._sum = np.zeros(0)
        self._count = np.zeros(0)
        self._origin = math.nan
        self._open = 0
        self._closed = -1
        self._last = math.nan
        self._gap = step
        self._fresh = True

    def align(self, names: tuple[str, ...]) -> NDArray[np.int64] | None:
        """Take these series from now on. Returns the old row of each (-1 for new), or None if nothing changed."""
        if names is self.names or names == self.names:
            return None
        known = {name: row for row, name in enumerate(self.names)}
        rows = np.array([known.get(name, -1) for name in names], dtype=np.int64)
        self.names = names
        for field in ("_sum", "_count"):
            old = np.append(getattr(self, field), 0.0)
            setattr(self, field, old[rows])
        return rows

    def add(self, time: float, values: NDArray[np.floating]) -> F64:
        """Add a tick (S,); returns the bins (K, S) that are complete now, oldest first."""
        at = self._place(time)
        if at is None:
            return np.empty((0, len(self.names)))
        done: list[F64] = []
        if at > self._open and self._open > self._closed:
            done.append(self._close())
        done += [np.full(len(self.names), np.nan)] * (at - self._closed - 1)
        self._open, self._closed = at, at - 1
        valid = np.isfinite(values)
        self._sum += np.where(valid, values, 0.0)
        self._count += valid
        if time + 0.9 * self._gap >= self._origin + (at + 1) * self.step:
            done.append(self._close())
        return np.array(done).reshape(len(done), len(self.names))

    def prime(self, step: float, times: F64, values: NDArray[np.floating]) -> Laid:
        """Lay means of the past (K, S) over ``step`` seconds each onto the grid, before the first tick; its bins.

        Several that fall into one bin are averaged. One that is longer than a bin stands in
        the bin of its middle and the others are missing: a mean repeated would look like a
        value that never changes. Raises ValueError after the first tick, and for times that
        do not rise.
        """
        if not math.isnan(self._origin):
            raise ValueError("the past comes before the first tick")
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise ValueError("the times of the past do not rise")
        middle = times + step / 2
        # the newest ends where a bin ends; ticks from now on go on with the bins after it
        end = times[-1] + step
        bins = np.floor((middle - end) / self.step).astype(np.int64)
        count = -int(bins[0])
        at, first = np.unique(bins + count, return_index=True)
        if len(at) == len(bins):
            mean = values.astype(np.float32, copy=False)
        else:
            valid = np.isfinite(values)
            total = np.add.reduceat(np.where(valid, values, 0.0), first, axis=0, dtype=np.float64)
            number = np.add.reduceat(valid, first, axis=0, dtype=np.int64)
            mean = np.where(number > 0, total / np.maximum(number, 1), np.nan).astype(np.float32)
        self._origin = end - count * self.step
        self._open = self._closed = count - 1
        return Laid(count, at, mean)

    @property
    def closed_at(self) -> float:
        """Unix time of the end of the newest complete bin; NaN before the first tick."""
        return self._origin + (self._closed + 1) * self.step

    def _close(self) -> F64:
        with np.errstate(invalid="ignore"):
            mean = np.where(self._count > 0, self._sum / np.maximum(self._count, 1), np.nan)
        self._sum, self._count = np.zeros(len(self.names)), np.zeros(len(self.names))
        self._closed = self._open
        return mean

    def _place(self, time: float) -> int | None:
        """The bin of a tick; None for one that comes too late. Moves the grid when the clock jumped."""
        if not math.isfinite(time):
            return None
        if math.isnan(self._origin):
            # Ticks at the grid's own pace fall into the middle of bins, far from their edges.
            self._origin = time - self.step / 2
        passed = time - self._last
        if 0 < passed < JUMP * self.step:
            self._gap = passed if self._fresh else self._gap + (passed - self._gap) * 0.2
            self._fresh = False
        self._last = time
        at = math.floor((time - self._origin) / self.step)
        if not self._closed - 1 <= at <= self._closed + JUMP:
            self._origin = time - (self._closed + 1.5) * self.step
            return self._closed + 1
        if at <= self._closed:
            late = at == self._closed and time - self._origin > (at + 0.5) * self.step and self._gap > self.step / 2
            return at + 1 if late else None
        return at
