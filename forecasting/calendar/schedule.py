"""When lessons begin, as columns: the beginning that counts now, and those that come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]


class Schedule:
    """Entries of (lesson, beginning, period): a lesson is what several occasions of one name teach.

    ``since`` (L,) is when the lesson's latest occurrence began, -inf before the first. It stays
    what it was when the next beginning is announced at another time of the day, so that a
    timer whose delay is random each time, or that drifts, keeps the beginning that it had.
    """

    def __init__(self) -> None:
        self.since = np.zeros(0)
        self.lesson: Ints = np.zeros(0, dtype=np.int64)
        self._begins, self._period = np.zeros(0), np.zeros(0)
        self._event = np.zeros(0, dtype=np.bool_)
        self._shy = np.zeros(0)

    def tell(self, lessons: int, lesson: Ints, begins: F64, period: F64, event: NDArray[np.bool_]) -> None:
        """Replace the entries; ``period`` is inf for what happens once. Events have no past before ``begins``."""
        self.since = np.append(self.since, np.full(lessons - len(self.since), -np.inf))
        self.lesson, self._begins, self._period, self._event = lesson, begins, period, event
        # A beginning this much after the one before is another one, not the same one announced anew.
        shortest = np.full(lessons, np.inf)
        np.minimum.at(shortest, lesson, period)
        entries = np.maximum(np.bincount(lesson, minlength=lessons), 1)
        self._shy = np.where(np.isfinite(shortest), 0.5 * shortest / entries, 0.0)

    def keep(self, lessons: Ints) -> None:
        """Keep and reorder lessons; entries are to be told again."""
        self.since, self._shy = self.since[lessons], self._shy[lessons]
        self.lesson = np.zeros(0, dtype=np.int64)
        self._begins, self._period, self._event = np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.bool_)

    def _first(self, time: float) -> F64:
        """(E,) number of whole periods from each announced beginning to the latest one at or before ``time``."""
        with np.errstate(invalid="ignore"):
            number = np.floor((time - self._begins) / self._period)
        return np.where(np.isfinite(self._period), number, np.where(self._begins <= time, 0.0, -1.0))

    def _at(self, entry: Ints, number: F64) -> F64:
        period = self._period[entry]
        return self._begins[entry] + np.where(np.isfinite(period), period, 0.0) * number

    def advance(self, time: float) -> None:
        """Let time pass: occurrences begin. A clock that was set back forgets beginnings that are the future now."""
        self.since[self.since > time] = -np.inf
        number = self._first(time)
        had = (number >= 0) | (~self._event & np.isfinite(self._period))
        latest = np.full(len(self.since), -np.inf)
        rows = np.flatnonzero(had)
        np.maximum.at(latest, self.lesson[rows], self._at(rows, number[rows]))
        new = latest > self.since + self._shy
        self.since[new] = latest[new]

    def ahead(self, time: float, end: float, most: int) -> tuple[Ints, F64]:
        """Lessons and beginnings with ``time < begin <= end``, at most ``most`` of each entry."""
        first = np.maximum(self._first(time) + 1, np.where(self._event, 0.0, -np.inf))
        once = ~np.isfinite(self._period)
        with np.errstate(invalid="ignore"):
            last = np.floor((end - self._begins) / self._period)
        last = np.where(once, np.where(self._begins <= end, 0.0, -1.0), last)
        first = np.where(once & (self._begins <= time), 1.0, first)
        count = np.clip(last - first + 1, 0, most).astype(np.int64)
        entry = np.repeat(np.arange(len(count)), count)
        offset = np.arange(len(entry)) - np.repeat(np.cumsum(count) - count, count)
        begins = self._at(entry, first[entry] + offset)
        lesson = self.lesson[entry]
        good = (begins > time) & (begins > self.since[lesson] + self._shy[lesson])
        return lesson[good], begins[good]
