"""History: every series in ring buffers of rising step, appended for all series at once.

The default rings hold 15 minutes by the second, 48 hours by the minute and 5 weeks by the
quarter of an hour. Tables are laid out by time: one slot of all series is one row, so that
closing a slot writes one stretch of memory, and memory is used only as time passes. A
series costs 4 bytes a slot in the finest ring (its mean) and 10 in the coarser ones (mean,
maximum, number of samples): 66 kB when all rings are full. ``history_tables`` has the rings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.fleet.history_tables import Allocate, Block, Columns, Floats, Kept, Ring, RingSpec

__all__ = ["RINGS", "Block", "History", "RingSpec", "Series", "coarsened", "rates"]

RINGS: Final = (RingSpec(1.0, 900), RingSpec(60.0, 2880), RingSpec(900.0, 3360))
#: seconds (or samples, whichever is longer) by which a sample may be late; what is earlier is a clock set back
LATE: Final = 60.0


class Series(Struct, frozen=True, order=True):
    """The parts of a series' name: ``kind`` is host or shard, ``name`` whose it is, ``metric`` what was measured."""

    kind: str
    name: str
    metric: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.metric}"

    @classmethod
    def parse(cls, text: str) -> Series:
        """The parts again. Raises ValueError for a text that is no name of a series."""
        kind, _, rest = text.partition(" ")
        name, _, metric = rest.rpartition(" ")
        if not (kind and name and metric):
            raise ValueError(f"not the name of a series: {text!r}")
        return cls(kind, name, metric)


class History:
    """Recent values of many series by name, on fixed grids; missing is NaN (S1.3).

    Samples come at irregular times; a slot holds their mean, in the coarser rings also
    their maximum and number. ``interval`` is the time between samples in seconds, which
    tells how many a slot should hold. Series are added by appending to them and removed by
    ``forget``. ``dtype`` is what is kept and read; sums are always float64. ``allocate``
    makes the tables, so that they can live in a file.
    """

    def __init__(
        self,
        rings: Sequence[RingSpec] = RINGS,
        *,
        interval: float = 1.0,
        dtype: type[np.floating[Any]] = np.float32,
        allocate: Allocate = np.empty,
    ) -> None:
        self.interval = interval
        self._columns: dict[str, int] = {}
        self._free: list[int] = []
        #: the names of the latest append and their columns
        self._latest: tuple[tuple[str, ...], Columns] = (), slice(0, 0)
        self._rings = [Ring(spec, coarse=index > 0, dtype=dtype, allocate=allocate) for index, spec in enumerate(rings)]
        self._time = -np.inf

    @property
    def names(self) -> tuple[str, ...]:
        """The series that are kept, in the order in which they came."""
        return tuple(self._columns)

    @property
    def rings(self) -> tuple[RingSpec, ...]:
        """The grids, finest first."""
        return tuple(ring.spec for ring in self._rings)

    @property
    def time(self) -> float:
        """The newest time that was appended, -inf before the first."""
        return self._time

    def open_slot(self, ring: int) -> int:
        """The number of the slot that samples go to now (its start is that times the step), -1 before the first."""
        return self._rings[ring].slot

    def append(self, time: float, names: Sequence[str], values: Floats) -> bool:
        """Take one value for each of ``names`` at ``time`` (unix seconds).

        A time before the open slot of the finest ring is late: it is left out and False is
        returned, since rewriting the past would change what forecasts were made from. One
        that is earlier by more than ``LATE`` is a clock that was set back: what was written
        for times that are the future now is dropped, and history goes on. Give the same
        tuple of names every time and nothing is done per series in Python. Raises
        ValueError unless there is one value a name and no name twice.
        """
        if len(values) != len(names) or np.ndim(values) != 1:
            raise ValueError(f"{len(names)} names but values of shape {np.shape(values)}")
        columns = self._columns_of(names)
        slots = [int(time // ring.spec.step) for ring in self._rings]
        if slots[0] < self._rings[0].slot:
            if self._time - time <= max(LATE, 2 * self.interval):
                return False
            for ring, slot in zip(self._rings, slots, strict=True):
                ring.turn_back(slot)
        for ring, slot in zip(self._rings, slots, strict=True):
            ring.roll_to(slot)
        self._time = time
        with np.errstate(over="ignore"):
            kept = np.asarray(values, dtype=np.float64).astype(self._rings[0].mean.dtype)
        seen = np.isfinite(kept)
        whole = bool(seen.all())
        clean = np.asarray(values, dtype=np.float64) if whole else np.where(seen, values, 0.0)
        peak = kept if whole else np.where(seen, kept, np.nan).astype(kept.dtype, copy=False)
        for ring in self._rings:
            ring.put(columns, clean, seen, peak)
        return True

    def query(
        self, ring: int, start: float = -np.inf, end: float = np.inf, names: Sequence[str] | None = None
    ) -> Block:
        """The slots that begin in ``start <= time < end``, oldest first, the open one last; at most the whole ring.

        Times that nothing was recorded at are in it as NaN with count 0. ``names`` chooses
        and orders the series (all by default); one that is not kept is NaN.
        """
        chosen = self._rings[ring]
        return chosen.read(*chosen.range(start, end), self._known(names), self.interval, self._time)

    def window(self, ring: int, steps: int, names: Sequence[str] | None = None) -> tuple[Floats, Kept]:
        """Start times (steps,) and means (S, steps) of the newest slots, oldest first.

        ``names`` chooses and orders the series (all by default); one that is not kept is NaN.
        """
        block = self._newest(ring, steps, names)
        return block.times, np.ascontiguousarray(block.mean.T)

    def highest(self, ring: int, steps: int, names: Sequence[str] | None = None) -> tuple[Floats, Kept]:
        """The same with the maximum of each slot; the finest ring has none apart from its mean."""
        block = self._newest(ring, steps, names)
        return block.times, np.ascontiguousarray(block.high.T)

    def load(self, ring: int, now: float, names: Sequence[str], block: Block) -> int:
        """Fill slots of the past, up to the open one at ``now``, from a block whose columns are ``names``.

        Only what is missing is filled, so that what was measured here stays. Times must be
        starts of slots of this ring. Returns how many rows were in the ring's reach.
        """
        columns = self._columns_of(names)
        target = self._rings[ring]
        if target.slot < 0:
            target.roll_to(int(now // target.spec.step))
        return target.load(columns, block)

    def forget(self, name: str) -> None:
        """Drop a series; its column is used again. Raises KeyError if it is not kept."""
        self.forget_all((name,))

    def forget_all(self, names: Iterable[str]) -> None:
        """Drop several series. Raises KeyError if one is not kept."""
        for name in names:
            column = self._columns.pop(name)
            self._free.append(column)
            for ring in self._rings:
                ring.clear(column)
        self._latest = (), slice(0, 0)

    def _newest(self, ring: int, steps: int, names: Sequence[str] | None) -> Block:
        chosen = self._rings[ring]
        steps = min(steps, chosen.spec.slots)
        return chosen.read(chosen.slot - steps + 1, chosen.slot + 1, self._known(names), self.interval, self._time)

    def _known(self, names: Sequence[str] | None) -> NDArray[np.intp]:
        if names is None:
            return np.fromiter(self._columns.values(), dtype=np.intp, count=len(self._columns))
        return np.fromiter((self._columns.get(name, -1) for name in names), dtype=np.intp, count=len(names))

    def _columns_of(self, names: Sequence[str]) -> Columns:
        """The columns of ``names``, added where they are new; kept for the next append of the same names."""
        if names is self._latest[0]:
            return self._latest[1]
        wanted = tuple(names)
        if wanted == self._latest[0]:
            return self._latest[1]
        if len(set(wanted)) < len(wanted):
            raise ValueError("a name stands twice")
        new = [name for name in wanted if name not in self._columns]
        self._grow(len(new))
        for name in new:
            self._columns[name] = self._free.pop()
        found = np.fromiter((self._columns[name] for name in wanted), dtype=np.intp, count=len(wanted))
        straight = np.array_equal(found, np.arange(len(found)))
        self._latest = wanted, slice(0, len(found)) if straight else found
        return self._latest[1]

    def _grow(self, new: int) -> None:
        """Have at least ``new`` free columns; geometrically, so a fleet that grows costs no copy per series."""
        lack = new - len(self._free)
        if lack <= 0:
            return
        old = self._rings[0].width
        width = old + max(lack, old // 4, 16)
        for ring in self._rings:
            ring.widen(width)
        self._free = list(range(width - 1, old - 1, -1)) + self._free


def coarsened(block: Block, step: float) -> Block:
    """The block on a grid of ``step`` seconds, a whole multiple of its own: means by number of samples, maxima."""
    slots = np.floor(block.times / step).astype(np.int64)
    known, where = np.unique(slots, return_inverse=True)
    starts = np.searchsorted(where, np.arange(len(known)))
    times = np.asarray(known * step, dtype=np.float64)
    weight = np.where(np.isfinite(block.mean), block.count, 0).astype(np.float64)
    if len(known) == 0:
        return Block(step, block.interval, times, block.mean, block.high, block.count)
    total = np.add.reduceat(np.where(weight > 0, block.mean, 0.0) * weight, starts, axis=0)
    count = np.add.reduceat(weight, starts, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 0, total / count, np.nan).astype(block.mean.dtype)
    high = np.fmax.reduceat(block.high, starts, axis=0)
    return Block(step, block.interval, times, mean, high, np.minimum(count, 65535).astype(np.uint16))


def rates(previous: Floats, current: Floats, seconds: float) -> Floats:
    """Rates a second between two readings of counters; a counter that fell was reset and gives NaN.

    Raises ValueError unless ``seconds`` is above 0.
    """
    if not seconds > 0:
        raise ValueError("two readings are some time apart")
    delta = np.asarray(current, dtype=np.float64) - np.asarray(previous, dtype=np.float64)
    return np.where(delta >= 0, delta / seconds, np.nan)
