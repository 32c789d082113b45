"""The fleet's history as the trainer keeps it: one grid, columns by name, bounded in numbers."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: numbers that are kept: 16 MB
NUMBERS: Final = 4 << 20
#: rows that are worth keeping of few series
DEPTH: Final = 4000


class Table:
    """Rows of S series, one every ``step`` seconds, newest last; NaN is unknown."""

    def __init__(self, names: tuple[str, ...], step: float) -> None:
        if not step > 0:
            raise ValueError(f"a grid step must be positive, not {step}")
        self.names, self.step = names, step
        self.values: F32 = np.empty((0, len(names)), np.float32)
        self._first = 0
        self._most = max(1, min(DEPTH, NUMBERS // max(1, len(names))))
        self._columns = {name: at for at, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self.values)

    @property
    def start(self) -> float:
        """Unix time at which the first row begins."""
        return self._first * self.step

    @property
    def end(self) -> float:
        """Unix time at which the newest row ends."""
        return (self._first + len(self.values)) * self.step

    def columns(self, names: tuple[str, ...]) -> NDArray[np.int64]:
        """Where these series are, in their order. Raises KeyError."""
        return np.array([self._columns[name] for name in names], dtype=np.int64)

    def add(self, names: tuple[str, ...], times: F64, values: F32) -> int:
        """Put rows (K, n) that begin at ``times`` in their places; returns how many are new and after all others.

        Unknown names are left out, unknown times between are NaN, what is older than the
        table reaches back is dropped. Raises ValueError for shapes that do not fit.
        """
        if values.shape != (len(times), len(names)):
            raise ValueError(f"{len(times)} times and {len(names)} names but values of shape {values.shape}")
        good = np.isfinite(times)
        slots = np.floor(times[good] / self.step + 1e-6).astype(np.int64)
        if not len(slots):
            return 0
        known = np.array([self._columns.get(name, -1) for name in names], dtype=np.int64)
        rows = np.where(np.isfinite(values[good]), values[good], np.nan)
        newest, before = int(slots.max()), self._first + len(self.values)
        if not len(self.values) or newest >= before + self._most or newest < before - self._most:
            # empty, or a clock that jumped: what was known is too far away to be joined
            self._first = max(int(slots.min()), newest - self._most + 1)
            self.values = np.full((newest - self._first + 1, len(self.names)), np.nan, np.float32)
            fresh = len(self.values)
        else:
            first = max(min(self._first, int(slots.min())), max(newest, before - 1) - self._most + 1)
            fresh = max(0, newest - before + 1)
            wide = np.full((max(newest + 1, before) - first, len(self.names)), np.nan, np.float32)
            kept = max(0, first - self._first)
            at = self._first + kept - first
            wide[at : at + len(self.values) - kept] = self.values[kept:]
            self._first, self.values = first, wide
        inside = slots >= self._first
        at_rows = (slots[inside] - self._first)[:, None]
        chosen = known >= 0
        told = rows[inside][:, chosen]
        held = self.values[at_rows, known[chosen]]
        self.values[at_rows, known[chosen]] = np.where(np.isfinite(told), told, held)
        return fresh
