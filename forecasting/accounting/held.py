"""Forecasts in flight: kept small until the moment that they were about.

One forecast a series and horizon is held at a time. The next one is taken a little after
the last came due, by a varying pause: whoever looks every sixty minutes at a load that
comes every sixty minutes would see the same minute for ever.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Rows = NDArray[np.int64]

_GOLDEN: Final = 0.6180339887498949


def shorten(values: F32) -> NDArray[np.uint16]:
    """The upper half of every float32, rounded: its whole range to three digits, in two bytes; 0 stays 0."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16)


def lengthen(short: NDArray[np.uint16]) -> F32:
    """What ``shorten`` kept, as float32."""
    return (short.astype(np.uint32) << np.uint32(16)).view(np.float32)


def taken(values: NDArray[Any], rows: Rows, empty: float) -> NDArray[Any]:
    """The chosen rows of the last axis; -1 is a row that is new and holds ``empty``."""
    if not values.shape[-1]:
        return np.full((*values.shape[:-1], len(rows)), empty, values.dtype)
    kept = np.ascontiguousarray(values[..., np.maximum(rows, 0)])
    kept[..., rows < 0] = empty
    return kept


class Pace:
    """When to take a forecast ``ahead`` steps ahead, and when it is due; one in flight at a time."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead
        self._number = 0
        self._due = -1
        self._next = 1

    def due(self, clock: int) -> bool:
        """Whether what is in flight is about this step."""
        return clock == self._due

    def takes(self, clock: int) -> bool:
        """Whether a forecast made at this step is taken."""
        return clock >= self._next

    def take(self, clock: int) -> None:
        """Note that one was taken now; a pause of up to half of ``ahead`` follows when it is due."""
        self._due = clock + self.ahead
        self._number += 1
        self._next = self._due + int(self.ahead / 2 * (self._number * _GOLDEN % 1.0))


class Held:
    """One forecast of every series, ``ahead`` steps ahead: 4 bytes for its median, 2 for each distance from it."""

    def __init__(self, series: int, ahead: int, values: int) -> None:
        self.pace = Pace(ahead)
        self.median = np.full(series, np.nan, np.float32)
        self._offsets = np.zeros((values, series), np.uint16)

    def keep(self, clock: int, median: F32, others: F32) -> None:
        """Take what is said now: ``median`` (S,) and ``others`` (values, S). One with a NaN is not kept at all."""
        offsets = others - median
        known = np.isfinite(offsets.sum(axis=0))
        self._offsets = shorten(offsets if known.all() else np.where(known, offsets, np.float32(0)))
        self.median = np.where(known, median, np.float32(np.nan))
        self.pace.take(clock)

    def offsets(self) -> F32:
        """(values, S) how far the others lay from the median."""
        return lengthen(self._offsets)

    def select(self, rows: Rows) -> None:
        """Keep and reorder series; -1 is one of which nothing was said."""
        self.median = taken(self.median, rows, np.nan)
        self._offsets = taken(self._offsets, rows, 0)
