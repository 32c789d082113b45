"""From what was learned to what is added: occurrences under way and ahead, all pairs at once."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.calendar.layout import Layout
from sidestep.forecasting.calendar.lessons import Lessons
from sidestep.forecasting.calendar.profiles import BINS, RATE, Profiles, Uplift, bins_of
from sidestep.forecasting.calendar.rows import Tracked

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]

#: occurrences that an operator's factor counts for, and how unsure it is
WORD: Final = 1.0
UNSURE: Final = 0.3


def widths(window: F64) -> F64:
    """(n, BINS) steps in each bin of these windows."""
    curve = np.maximum(window - BINS, 0.0) / BINS**2
    return np.asarray(1.0 + curve[:, None] * (2 * np.arange(BINS) + 1))


class Occurrences(NamedTuple):
    """Beginnings that matter to an answer: the lesson and the beginning of each."""

    lesson: Ints
    begins: F64


class _Sums:
    """Contributions added up by row; variances too."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._rows: list[Ints] = []
        self._mean: list[F64] = []
        self._variance: list[F64] = []

    def add(self, rows: Ints, mean: F64, variance: F64) -> None:
        if len(rows):
            self._rows.append(rows)
            self._mean.append(mean)
            self._variance.append(variance)

    def uplift(self) -> Uplift | None:
        if not self._rows:
            return None
        rows, place = np.unique(np.concatenate(self._rows), return_inverse=True)
        mean, variance = np.zeros((len(rows), self._steps)), np.zeros((len(rows), self._steps))
        np.add.at(mean, place, np.concatenate(self._mean))
        np.add.at(variance, place, np.concatenate(self._variance))
        some = (mean != 0).any(axis=1) | (variance > 0).any(axis=1)
        if not some.any():
            return None
        return Uplift(np.asarray(rows[some], dtype=np.int64), mean[some], np.sqrt(variance[some]))


class Answerer:
    """Keeps the profiles that are served at hand, and the demand that factors multiply."""

    def __init__(self, step: float) -> None:
        self.step = step
        #: what is at hand is not what was learned any more
        self.stale = True
        self._pair: Ints = np.zeros(0, dtype=np.int64)
        self._lesson: Ints = np.zeros(0, dtype=np.int64)
        self._mean, self._variance = np.zeros((0, BINS)), np.zeros((0, BINS))
        #: (S,) the model's own median of the next step, as far as it is known
        self.level: NDArray[np.floating] = np.zeros(0)
        #: the level before the occurrence that is under way, by lesson that has a factor
        self._before: dict[int, NDArray[np.floating]] = {}

    def forget_level(self) -> None:
        """The rows of the panel changed."""
        self.level = np.zeros(0)
        self._before.clear()

    def begin(self, lessons: Lessons, expected: F64, active: NDArray[np.bool_], bins: Ints) -> None:
        """A step came: remember the level, and for lessons with a factor that of before they began."""
        before = self.level if len(self.level) == len(expected) else expected
        self.level = np.where(np.isfinite(expected), expected, before)
        for at in np.flatnonzero(~np.isnan(lessons.effect)).tolist():
            if not active[at]:
                self._before.pop(at, None)
            elif at not in self._before or bins[at] < lessons.open[at]:
                self._before[at] = before

    def _refresh(self, lessons: Lessons, pairs: Profiles, rows: Tracked, at: Ints, slot: Ints) -> None:
        its = np.flatnonzero(pairs.served & (at >= 0) & lessons.told[pairs.lesson])
        its = its[np.argsort(pairs.lesson[its], kind="stable")]
        self._pair, self._lesson = its, pairs.lesson[its]
        noise, gain = rows.noise[slot[its]], rows.gain[slot[its]]
        self._mean, spread = pairs.answers(its, noise, gain, widths(lessons.window[self._lesson]))
        self._variance = spread**2
        self.stale = False

    def uplift(
        self,
        time: float,
        ahead: F64,
        taken: F64,
        *,
        lessons: Lessons,
        pairs: Profiles,
        rows: Tracked,
        at: Ints,
        slot: Ints,
        layout: Layout,
    ) -> Uplift | None:
        """(n, T) for the rows that have anything to add at ``ahead`` (T,) steps."""
        if self.stale:
            self._refresh(lessons, pairs, rows, at, slot)
        factors = ~np.isnan(lessons.effect) & lessons.told
        if not len(self._pair) and not factors.any():
            return None
        matter = factors.copy()
        matter[self._lesson] = True
        found = self._occurrences(time, float(ahead.max()), lessons, matter)
        if not len(found.lesson):
            return None
        sums = _Sums(len(ahead))
        said: dict[int, Ints] = {}
        for number in np.flatnonzero(factors[found.lesson]).tolist():
            lesson, begins = int(found.lesson[number]), float(found.begins[number])
            said[lesson] = self._factor(
                sums, lesson, begins, time, ahead, lessons, pairs, rows, at, slot, layout, taken
            )
        self._served(sums, found, time, ahead, lessons, rows, at, slot, said, taken)
        return sums.uplift()

    def _occurrences(self, time: float, farthest: float, lessons: Lessons, matter: NDArray[np.bool_]) -> Occurrences:
        schedule = lessons.schedule
        with np.errstate(invalid="ignore"):
            running = matter & (lessons.since(time) < lessons.window) & (schedule.since <= time)
        now = np.flatnonzero(running)
        lesson, begins = schedule.ahead(time, time + farthest * self.step, int(farthest) + 1)
        kept = matter[lesson]
        return Occurrences(np.concatenate([now, lesson[kept]]), np.concatenate([schedule.since[now], begins[kept]]))

    def _phases(self, begins: F64, time: float, ahead: F64) -> F64:
        return np.asarray((time - begins[:, None]) / self.step + ahead - 0.5)

    def _served(
        self,
        sums: _Sums,
        found: Occurrences,
        time: float,
        ahead: F64,
        lessons: Lessons,
        rows: Tracked,
        at: Ints,
        slot: Ints,
        said: dict[int, Ints],
        absorbed: F64,
    ) -> None:
        starts = np.searchsorted(self._lesson, np.arange(len(lessons) + 1))
        count = starts[found.lesson + 1] - starts[found.lesson]
        which = np.repeat(np.arange(len(count)), count)
        if not len(which):
            return
        k = np.repeat(starts[found.lesson], count) + np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        if said:
            # Rows for which an operator's factor spoke already have what was learned in it.
            spoken = np.zeros(len(k), dtype=np.bool_)
            for lesson, done in said.items():
                spoken |= (self._lesson[k] == lesson) & np.isin(at[self._pair[k]], done)
            k, which = k[~spoken], which[~spoken]
        window = lessons.window[found.lesson]
        phase = self._phases(found.begins, time, ahead)
        bins = bins_of(np.maximum(phase, 0.0), window[:, None])
        inside = (phase >= 0) & (phase < window[:, None])
        mean = np.where(inside[which], self._mean[k[:, None], bins[which]], 0.0)
        variance = np.where(inside[which], self._variance[k[:, None], bins[which]], 0.0)
        # What the model has taken up of an effect by now is in its forecast, for as long as that goes.
        past = (time - found.begins) / self.step - 0.5
        running = past[which] >= 0
        if running.any():
            its, occurrence = k[running], which[running]
            upto = bins_of(past[occurrence], window[occurrence])
            high = np.maximum(np.maximum.accumulate(self._mean[its], axis=1)[np.arange(len(its)), upto], 0.0)
            low = np.minimum(np.minimum.accumulate(self._mean[its], axis=1)[np.arange(len(its)), upto], 0.0)
            slots, place = np.unique(slot[self._pair[its]], return_inverse=True)
            taken = np.clip(absorbed[slots], np.bincount(place, low), np.bincount(place, high))
            here = rows.rows[slots]
            zero = np.zeros((len(here), len(ahead)))
            sums.add(here, zero - taken[:, None], zero)
        sums.add(at[self._pair[k]], mean, variance)

    def _factor(
        self,
        sums: _Sums,
        lesson: int,
        begins: float,
        time: float,
        ahead: F64,
        lessons: Lessons,
        pairs: Profiles,
        rows: Tracked,
        at: Ints,
        slot: Ints,
        layout: Layout,
        absorbed: F64,
    ) -> Ints:
        """One occurrence of an event with a factor: the operator's word and what was measured, by how often."""
        running = begins <= time
        level = np.asarray(self._before.get(lesson, self.level) if running else self.level, dtype=np.float64)
        if len(level) != layout.rows:
            return np.zeros(0, dtype=np.int64)
        where, base = layout.flows(lessons.occasions[lesson], level)
        factor = float(lessons.effect[lesson]) - 1.0
        phase = self._phases(np.array([begins]), time, ahead)[0]
        window = np.array([lessons.window[lesson]])
        lasting = (phase >= 0) & (phase < lessons.lasts[lesson] / self.step)
        inside = (phase >= 0) & (phase < window)
        bins = bins_of(np.maximum(phase, 0.0), window)
        word = np.where(lasting, factor * base[:, None], 0.0)
        mine = np.flatnonzero((pairs.lesson == lesson) & (at >= 0))
        mine = mine[np.argsort(at[mine])]
        place = np.minimum(np.searchsorted(at[mine], where), max(len(mine) - 1, 0))
        known = at[mine[place]] == where if len(mine) else np.zeros(len(where), dtype=np.bool_)
        pair = np.where(known, mine[place] if len(mine) else 0, -1)
        count, learned, variance = np.zeros(word.shape), np.zeros(word.shape), np.zeros(word.shape)
        taken = np.zeros(len(where))
        if known.any():
            its = pair[known]
            noise, gain = rows.noise[slot[its]], rows.gain[slot[its]]
            width = widths(np.full(len(its), window[0]))
            number = np.minimum(pairs.count[its], 1.0 / RATE)
            scatter = pairs.scatter[its] + pairs.deviation(its, noise, gain, width) / np.maximum(number, 1.0)
            count[known] = np.where(inside, number[:, bins], 0.0)
            learned[known] = np.where(inside, pairs.mean[its][:, bins], 0.0)
            variance[known] = np.where(inside, scatter[:, bins], 0.0)
            taken[known] = absorbed[slot[its]]
        total = WORD + count
        mean = (WORD * word + count * learned) / total
        spread = (WORD / total * UNSURE * word) ** 2 + (count / total) ** 2 * variance
        if running:
            most = np.maximum(np.abs(factor * base), np.abs(learned).max(axis=1, initial=0.0))
            mean = mean - np.clip(taken, -most, most)[:, None]
        sums.add(where, mean, spread)
        return where
