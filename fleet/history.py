"""History: every series in three ring buffers of rising step, appended for all series at once.

The default rings hold 15 minutes by the second, 48 hours by the minute and 5 weeks by the
quarter of an hour: 900 + 2,880 + 3,360 slots. A slot costs 8 bytes for the mean in every
ring and 8 for the maximum in the coarser ones, so a series costs about 107 kB; half of that
where single precision is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: what is kept: float64 or float32, as the history was made
Kept = NDArray[Any]


class RingSpec(Struct, frozen=True):
    """``slots`` slots of ``step`` seconds each."""

    step: float
    slots: int


RINGS: Final = (RingSpec(1.0, 900), RingSpec(60.0, 2880), RingSpec(900.0, 3360))


@dataclass
class _Ring:
    """Slots on the grid of ``step``; row r, column ``slot % slots`` holds that slot's mean and maximum.

    The open slot is accumulated in sums and counts and becomes readable at once, so that
    the newest value is never older than the last append.
    """

    spec: RingSpec
    mean: Kept
    high: Kept | None
    total: Floats
    count: Floats
    slot: int = -1

    def roll_to(self, slot: int) -> None:
        """Open ``slot``; the slots that were passed over hold nothing."""
        if slot == self.slot:
            return
        passed = slot - self.slot if self.slot >= 0 else 1
        columns = np.arange(slot - min(passed, self.spec.slots) + 1, slot + 1) % self.spec.slots
        self.mean[:, columns] = np.nan
        if self.high is not None:
            self.high[:, columns] = np.nan
        self.total[:] = 0.0
        self.count[:] = 0.0
        self.slot = slot

    def put(self, rows: NDArray[np.intp], values: Floats) -> None:
        """Add one value a row to the open slot; NaN and infinity add nothing."""
        seen = np.isfinite(values)
        rows, values = rows[seen], values[seen]
        column = self.slot % self.spec.slots
        self.total[rows] += values
        self.count[rows] += 1
        self.mean[rows, column] = self.total[rows] / self.count[rows]
        if self.high is not None:
            self.high[rows, column] = np.fmax(self.high[rows, column], values)


class History:
    """Recent values of many series by name, on fixed grids; missing is NaN (S1.3).

    Samples come at irregular times; a slot holds their mean, in the coarser rings also
    their maximum. Series are added by appending to them and removed by ``forget``; rows
    grow geometrically, so a fleet that grows costs no copy per series. ``dtype`` is what
    is kept and read; sums are always float64.
    """

    def __init__(self, rings: Sequence[RingSpec] = RINGS, *, dtype: type[np.floating[Any]] = np.float64) -> None:
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        #: the names of the latest append and their rows
        self._latest: tuple[tuple[str, ...], NDArray[np.intp]] = (), np.zeros(0, np.intp)
        self._rings = [
            _Ring(
                spec,
                np.full((0, spec.slots), np.nan, dtype),
                np.full((0, spec.slots), np.nan, dtype) if index else None,
                np.zeros(0),
                np.zeros(0),
            )
            for index, spec in enumerate(rings)
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """The series that are kept, in the order in which they came."""
        return tuple(self._rows)

    def append(self, time: float, names: Sequence[str], values: Floats) -> bool:
        """Take one value for each of ``names`` at ``time`` (unix seconds).

        A time before the open second is late: it is left out and False is returned, since
        rewriting the past would change what forecasts were made from. Give the same tuple of
        names every time and nothing is done per series in Python. Raises ValueError unless
        there is one value a name and no name twice.
        """
        values = np.asarray(values, dtype=np.float64)
        if values.shape != (len(names),):
            raise ValueError(f"{len(names)} names but values of shape {values.shape}")
        rows = self._rows_of(tuple(names))
        slots = [int(time // ring.spec.step) for ring in self._rings]
        if any(slot < ring.slot for slot, ring in zip(slots, self._rings, strict=True)):
            return False
        for slot, ring in zip(slots, self._rings, strict=True):
            ring.roll_to(slot)
            ring.put(rows, values)
        return True

    def window(self, ring: int, steps: int, names: Sequence[str] | None = None) -> tuple[Floats, Kept]:
        """Start times (steps,) and means (S, steps) of the newest slots, oldest first.

        ``names`` chooses and orders the series (all by default); one that is not kept is NaN.
        """
        return self._read(self._rings[ring], self._rings[ring].mean, steps, names)

    def highest(self, ring: int, steps: int, names: Sequence[str] | None = None) -> tuple[Floats, Kept]:
        """The same with the maximum of each slot; the finest ring has none apart from its mean."""
        chosen = self._rings[ring]
        return self._read(chosen, chosen.mean if chosen.high is None else chosen.high, steps, names)

    def forget(self, name: str) -> None:
        """Drop a series; its row is used again. Raises KeyError if it is not kept."""
        row = self._rows.pop(name)
        self._free.append(row)
        self._latest = (), np.zeros(0, np.intp)
        for ring in self._rings:
            ring.mean[row] = np.nan
            ring.total[row] = ring.count[row] = 0.0
            if ring.high is not None:
                ring.high[row] = np.nan

    def _read(self, ring: _Ring, table: Kept, steps: int, names: Sequence[str] | None) -> tuple[Floats, Kept]:
        steps = min(steps, ring.spec.slots)
        chosen = self.names if names is None else tuple(names)
        values = np.full((len(chosen), steps), np.nan, table.dtype)
        slots = np.arange(ring.slot - steps + 1, ring.slot + 1)
        known = np.array([self._rows.get(name, -1) for name in chosen], dtype=np.intp)
        if ring.slot >= 0 and known.size:
            kept = known >= 0
            values[kept] = table[np.ix_(known[kept], slots % ring.spec.slots)]
        return np.asarray(slots * ring.spec.step, dtype=np.float64), values

    def _rows_of(self, names: tuple[str, ...]) -> NDArray[np.intp]:
        """The rows of ``names``, added where they are new; kept for the next append of the same names."""
        if names != self._latest[0]:
            if len(set(names)) < len(names):
                raise ValueError("a name stands twice")
            self._latest = names, np.array([self._row(name) for name in names], dtype=np.intp)
        return self._latest[1]

    def _row(self, name: str) -> int:
        if name not in self._rows:
            if not self._free:
                self._grow()
            self._rows[name] = self._free.pop()
        return self._rows[name]

    def _grow(self) -> None:
        old = self._rings[0].mean.shape[0]
        new = max(16, old * 2)
        for ring in self._rings:
            ring.mean = _taller(ring.mean, new)
            ring.high = None if ring.high is None else _taller(ring.high, new)
            ring.total = np.concatenate([ring.total, np.zeros(new - old)])
            ring.count = np.concatenate([ring.count, np.zeros(new - old)])
        self._free = list(range(new - 1, old - 1, -1))


def _taller(table: Kept, rows: int) -> Kept:
    return np.concatenate([table, np.full((rows - table.shape[0], table.shape[1]), np.nan, table.dtype)])


def rates(previous: Floats, current: Floats, seconds: float) -> Floats:
    """Rates a second between two readings of counters; a counter that fell was reset and gives NaN.

    Raises ValueError unless ``seconds`` is above 0.
    """
    if not seconds > 0:
        raise ValueError("two readings are some time apart")
    delta = np.asarray(current, dtype=np.float64) - np.asarray(previous, dtype=np.float64)
    return np.where(delta >= 0, delta / seconds, np.nan)
