"""One ring of the history: slots on a grid, a row each, and the open slot beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: what is kept: float32 or float64, as the history was made
Kept = NDArray[Any]
Counts = NDArray[np.uint16]
Columns = NDArray[np.intp] | slice
#: makes an uninitialised table of a shape and a type
Allocate = Callable[[tuple[int, int], Any], Kept]

#: share of its samples that a slot or a window needs to count as valid
VALID: Final = 0.5
_NEVER: Final = -(1 << 62)
_MOST: Final = np.iinfo(np.uint16).max


class RingSpec(Struct, frozen=True):
    """``slots`` slots of ``step`` seconds each."""

    step: float
    slots: int


@dataclass(frozen=True)
class Block:
    """T slots of S series, laid out by time; ``times`` (T,) are starts of slots, unix seconds.

    ``mean``, ``high`` and ``count`` are (T, S); where nothing was measured mean and high are
    NaN and count is 0. ``interval`` is the time between samples; ``until`` the newest sample
    of the open slot, which tells how much of that slot has passed.
    """

    step: float
    interval: float
    times: Floats
    mean: Kept
    high: Kept
    count: Counts
    until: float = np.inf

    def part(self, columns: Any = slice(None), rows: Any = slice(None)) -> Block:
        """Some series and some slots of it, as numpy chooses them."""
        mean, high, count = (each[rows][:, columns] for each in (self.mean, self.high, self.count))
        return Block(self.step, self.interval, self.times[rows], mean, high, count, self.until)

    @property
    def seconds(self) -> NDArray[np.float32]:
        """(T, S) seconds of every slot that were measured."""
        return np.asarray(np.minimum(self.count * np.float32(self.interval), np.float32(self.step)), dtype=np.float32)

    @property
    def passed(self) -> Floats:
        """(T,) seconds of every slot that have passed: its whole step but for the open one."""
        return np.clip(self.until + self.interval - self.times, 0.0, self.step)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(T, S) whether at least half of the slot's samples are there."""
        return np.asarray((self.count > 0) & (self.seconds >= VALID * self.passed[:, None]))

    @property
    def enough(self) -> NDArray[np.bool_]:
        """(S,) whether at least half of the samples of all the slots together are there."""
        seconds = self.seconds.sum(axis=0, dtype=np.float64)
        return np.asarray((seconds > 0) & (seconds >= VALID * self.passed.sum()))


class Ring:
    """Slots on the grid of ``step``; row ``slot % slots`` holds the slot that ``ids`` names there.

    The open slot is accumulated in sums and counts, is read from there, and is written to
    its row when the next one opens: every row is written once. A row whose id is not the
    slot that is asked for holds nothing, so a gap costs nothing however long it was.
    """

    def __init__(self, spec: RingSpec, *, coarse: bool, dtype: Any, allocate: Allocate) -> None:
        self.spec = spec
        self.slot = -1
        self.width = 0
        self._allocate = allocate
        self._ids = np.full(spec.slots, -1, dtype=np.int64)
        self.mean: Kept = np.empty((spec.slots, 0), dtype)
        self._high: Kept | None = np.empty((spec.slots, 0), dtype) if coarse else None
        self._count: Counts | None = np.empty((spec.slots, 0), np.uint16) if coarse else None
        self._total = np.zeros(0)
        self._seen = np.zeros(0, np.uint32)
        self._peak: Kept = np.zeros(0, dtype)
        #: slots before it belong to a series that had the column earlier
        self._born = np.full(0, _NEVER, dtype=np.int64)

    def roll_to(self, slot: int) -> None:
        """Write the open slot to its row and open ``slot``, going on with what is there of it already."""
        if slot == self.slot:
            return
        if self.slot >= 0:
            self._close()
        self._open(slot)

    def turn_back(self, slot: int) -> None:
        """The clock was set back to ``slot``: what was written for later slots is dropped."""
        if slot >= self.slot:
            return
        self._ids[(self._ids > slot) | (self._ids <= self.slot - self.spec.slots)] = -1
        np.minimum(self._born, slot, out=self._born, where=self._born != _NEVER)
        self._open(slot)

    def put(self, columns: Columns, values: Floats, seen: NDArray[np.bool_], peak: Kept) -> None:
        """Add one value a column to the open slot: 0 where not ``seen``; ``peak`` has NaN there."""
        if isinstance(columns, slice):
            self._total[columns] += values
            self._seen[columns] += seen
            if self._high is not None:
                np.fmax(self._peak[columns], peak, out=self._peak[columns])
            return
        self._total[columns] += values
        self._seen[columns] += seen
        if self._high is not None:
            self._peak[columns] = np.fmax(self._peak[columns], peak)

    def range(self, start: float, end: float) -> tuple[int, int]:
        """First slot and end of those that begin in ``start <= time < end`` and that the ring can hold."""
        oldest, last = self.slot - self.spec.slots + 1, self.slot + 1
        step = self.spec.step
        first = oldest if start <= oldest * step else int(np.ceil(min(start / step, last)))
        return first, max(first, last if end > self.slot * step else int(np.ceil(max(end / step, first))))

    def read(self, first: int, end: int, columns: NDArray[np.intp], interval: float, until: float) -> Block:
        """The slots ``first`` to ``end`` of these columns; -1 is a series that is not kept."""
        slots = np.arange(first, end)
        shape = (len(slots), len(columns))
        mean = np.full(shape, np.nan, self.mean.dtype)
        high = mean if self._high is None else mean.copy()
        count = np.zeros(shape, np.uint16)
        there = np.flatnonzero((self._ids[slots % self.spec.slots] == slots) & (slots != self.slot))
        known = np.flatnonzero(columns >= 0)
        if self.slot >= 0 and known.size:
            rows, chosen = slots[there] % self.spec.slots, columns[known]
            part = slice(None) if known.size == len(columns) else known
            mean[np.ix_(there, known)] = self._pick(self.mean, rows, chosen)
            if self._high is not None and self._count is not None:
                high[np.ix_(there, known)] = self._pick(self._high, rows, chosen)
                count[np.ix_(there, known)] = self._pick(self._count, rows, chosen)
            if first <= self.slot < end:
                at = self.slot - first
                mean[at, part] = self._open_mean()[chosen]
                if self._high is not None:
                    high[at, part] = self._peak[chosen]
                    count[at, part] = np.minimum(self._seen[chosen], _MOST)
            if (self._born[chosen] > first).any():
                old = np.zeros(shape, np.bool_)
                old[:, known] = slots[:, None] < self._born[chosen][None, :]
                mean[old], high[old], count[old] = np.nan, np.nan, 0
        if self._count is None:
            count[np.isfinite(mean)] = min(max(1, round(self.spec.step / interval)), _MOST)
        times = np.asarray(slots * self.spec.step, dtype=np.float64)
        return Block(self.spec.step, interval, times, mean, high, count, until)

    def load(self, columns: Columns, block: Block) -> int:
        """Fill what is missing in closed slots and the open one; returns how many rows were in reach."""
        slots = np.round(block.times / self.spec.step).astype(np.int64)
        where = np.arange(self.width)[columns]
        if (self._born[where] != _NEVER).any():
            self._wipe(where[self._born[where] != _NEVER])
        reached = 0
        for at, slot in enumerate(slots):
            if not self.slot - self.spec.slots < slot <= self.slot:
                continue
            reached += 1
            given = np.isfinite(block.mean[at])
            if slot == self.slot:
                fill = where[given & (self._seen[where] == 0)]
                source = given & (self._seen[where] == 0)
                self._seen[fill] = np.maximum(block.count[at][source], 1)
                self._total[fill] = block.mean[at][source].astype(np.float64) * self._seen[fill]
                self._peak[fill] = block.high[at][source]
                continue
            row = int(slot % self.spec.slots)
            if self._ids[row] != slot:
                self._blank(row, slot)
            source = given & np.isnan(self.mean[row, where])
            fill = where[source]
            self.mean[row, fill] = block.mean[at][source]
            if self._high is not None and self._count is not None:
                self._high[row, fill] = block.high[at][source]
                self._count[row, fill] = np.maximum(block.count[at][source], 1)
        return reached

    def clear(self, column: int) -> None:
        """Let nothing of this column be read again."""
        self._born[column] = max(self.slot, 0)
        self._total[column], self._seen[column], self._peak[column] = 0.0, 0, np.nan

    def widen(self, width: int) -> None:
        """Have ``width`` columns; only rows that hold something are copied."""
        rows = np.flatnonzero(self._ids >= 0)
        self.mean = self._wider(self.mean, rows, width, np.nan)
        if self._high is not None and self._count is not None:
            self._high = self._wider(self._high, rows, width, np.nan)
            self._count = self._wider(self._count, rows, width, 0)
        more = width - self.width
        self._total = np.concatenate([self._total, np.zeros(more)])
        self._seen = np.concatenate([self._seen, np.zeros(more, np.uint32)])
        self._peak = np.concatenate([self._peak, np.full(more, np.nan, self._peak.dtype)])
        self._born = np.concatenate([self._born, np.full(more, _NEVER, dtype=np.int64)])
        self.width = width

    def _wider(self, table: Kept, rows: NDArray[np.intp], width: int, fill: float) -> Kept:
        made = self._allocate((self.spec.slots, width), table.dtype)
        for row in rows:
            made[row, : self.width] = table[row]
            made[row, self.width :] = fill
        return made

    def _pick(self, table: Kept, rows: NDArray[np.int64], columns: NDArray[np.intp]) -> Kept:
        """Rows first: a row is one stretch of memory, and columns are mostly all of them."""
        first = int(columns[0])
        if np.array_equal(columns, np.arange(first, first + len(columns))):
            return np.asarray(table[rows, first : first + len(columns)])
        return np.asarray(table[np.ix_(rows, columns)])

    def _wipe(self, columns: NDArray[np.intp]) -> None:
        """Erase for good what an earlier series left in these columns."""
        rows = np.flatnonzero(self._ids >= 0)
        before = self._ids[rows][:, None] < self._born[columns][None, :]
        for table, fill in ((self.mean, np.nan), (self._high, np.nan), (self._count, 0)):
            if table is not None:
                kept = table[np.ix_(rows, columns)]
                kept[before] = fill
                table[np.ix_(rows, columns)] = kept
        self._born[columns] = _NEVER

    def _blank(self, row: int, slot: int) -> None:
        self.mean[row] = np.nan
        if self._high is not None and self._count is not None:
            self._high[row] = np.nan
            self._count[row] = 0
        self._ids[row] = slot

    def _open_mean(self) -> Kept:
        with np.errstate(invalid="ignore"):
            return (self._total / self._seen).astype(self.mean.dtype)

    def _close(self) -> None:
        row = self.slot % self.spec.slots
        with np.errstate(invalid="ignore"):
            np.divide(self._total, self._seen, out=self.mean[row], casting="same_kind")
        if self._high is not None and self._count is not None:
            self._high[row] = self._peak
            np.minimum(self._seen, _MOST, out=self._count[row], casting="unsafe")
        self._ids[row] = self.slot

    def _open(self, slot: int) -> None:
        self.slot = slot
        self._total[:], self._seen[:], self._peak[:] = 0.0, 0, np.nan
        row = slot % self.spec.slots
        if self._ids[row] != slot:
            return
        kept = np.isfinite(self.mean[row])
        self._seen[kept] = 1 if self._count is None else self._count[row, kept]
        self._total[kept] = self.mean[row, kept].astype(np.float64) * self._seen[kept]
        if self._high is not None:
            self._peak[:] = self._high[row]
