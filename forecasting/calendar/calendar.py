"""The calendar: learns how series answer to occasions, and says what to add to a forecast.

The model's forecast stays what it is; the calendar learns what it misses, so that a bump
that a seasonal model has learned too is not counted twice. What several lessons could
explain is shared among them, most to the one that has just begun and knows least.

Bounds: ``PAIRS`` pairs of about 300 bytes (40 MB) and ``lessons.LESSONS`` lessons; time a step is
linear in lessons and in the pairs that are under way. Without occasions nothing is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.occasions import Occasion
from sidestep.forecasting.calendar import memory
from sidestep.forecasting.calendar.answer import Answerer, widths
from sidestep.forecasting.calendar.layout import Layout
from sidestep.forecasting.calendar.lessons import LESSONS, Lessons
from sidestep.forecasting.calendar.profiles import (
    NOTHING,
    TRIALS,
    Profiles,
    Uplift,
    bins_of,
)
from sidestep.forecasting.calendar.rows import Tracked
from sidestep.forecasting.calendar.scope import Owners, codes_of
from sidestep.forecasting.calendar.windows import inherit, watch

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]

PAIRS: Final = 131072
#: pairs that are never served are given up after so many occurrences even if they might have an effect
PATIENCE: Final = 10
#: occurrences for which a lesson without any effect is left alone, and seconds where it has no period
QUIET: Final = 20.0
QUIET_ONCE: Final = 30 * 86400.0


class Calendar:
    """Occasions, what they taught, and the uplift of forecasts; ``step`` is the panel's, in seconds.

    Times are ends of steps: ``observe(t)`` is about the step that ended at ``t``, and step k
    of ``uplift(t)`` is the one that ends at ``t + k * step``.
    """

    def __init__(self, step: float) -> None:
        """Raises ValueError unless the step is positive."""
        if not step > 0:
            raise ValueError(f"a step must be positive, not {step}")
        self.step = step
        self._layout = Layout()
        self._known: tuple[Occasion, ...] = ()
        self._lessons = Lessons(step)
        self._pairs = Profiles()
        self._rows = Tracked()
        self._owners = Owners()
        #: (P,) place of each pair's row in the panel, -1 for absent, and in ``_rows``
        self._at: Ints = np.zeros(0, dtype=np.int64)
        self._slot: Ints = np.zeros(0, dtype=np.int64)
        self._answerer = Answerer(step)
        self._time = -np.inf

    # -- what is there

    def align(
        self, hosts: Sequence[str], shards: Sequence[str], apps: Sequence[str], homes: NDArray[np.integer] | None = None
    ) -> None:
        """Take these rows from now on: hosts times HOST_SERIES, then shards times SHARD_SERIES.

        ``homes`` is the row of each shard's host (-1: nowhere), so that a host's timer is
        looked for on its shards too. What was learned is kept by name. Raises ValueError
        unless there is one app, and one home if any, a shard.
        """
        old = self._layout
        same = tuple(hosts) == old.hosts and tuple(shards) == old.shards
        if same and (homes is old.homes or (homes is not None and np.array_equal(homes, old.homes))):  # type: ignore[arg-type]
            return
        its = None if homes is None else np.array(homes, dtype=np.int64)
        self._layout = Layout(hosts, shards, apps, its)
        self._answerer.forget_level()
        self._resolve(range(len(self._lessons)))

    def know(self, occasions: tuple[Occasion, ...]) -> None:
        """These occasions are to come, or run, and no others; what others taught is kept while there is room."""
        if occasions is self._known or occasions == self._known:
            return
        self._known = occasions
        lessons = self._lessons
        if len(lessons) + len(occasions) > LESSONS:
            self._make_room(occasions)
        new = lessons.tell(occasions)
        if new:
            self._resolve(new)
            for at in new:
                inherit(lessons, self._pairs, at)
        self._answerer.stale = True

    @property
    def pairs(self) -> int:
        """How many pairs of a lesson and a row are kept."""
        return len(self._pairs)

    @property
    def serving(self) -> int:
        """How many of them have an effect that is served."""
        return int(self._pairs.served.sum())

    @property
    def left_out(self) -> int:
        """Occasions that found no room."""
        return self._lessons.left_out

    # -- learning

    def observe(self, time: float, truth: NDArray[np.floating], expected: NDArray[np.floating]) -> None:
        """Learn the step (S,) that ended at ``time``; ``expected`` is what the model said of it one step before.

        NaN is missing. Raises ValueError unless both fit the rows.
        """
        if not len(self._lessons):
            self._answerer.level = expected
            return
        if len(truth) != self._layout.rows or len(expected) != self._layout.rows:
            raise ValueError(f"{len(truth)} values and {len(expected)} expected for {self._layout.rows} rows")
        lessons, pairs = self._lessons, self._pairs
        lessons.schedule.advance(time)
        self._time = time
        awake = np.flatnonzero((lessons.quiet > 0) & (lessons.quiet <= time))
        if len(awake):
            lessons.quiet[awake] = 0.0
            self._resolve(awake.tolist())
        phase = lessons.since(time)
        active = (phase >= 0) & (phase < lessons.window) & lessons.told
        bins = np.where(active, bins_of(np.maximum(phase, 0.0), lessons.window), -1)
        self._close(bins, time)
        error = self._rows.learn(np.asarray(truth, np.float64), np.asarray(expected, np.float64))
        self._answerer.begin(self._lessons, np.asarray(expected, np.float64), active, bins)
        lessons.open = bins
        under_way = np.flatnonzero(active[pairs.lesson] & (self._at >= 0))
        busy = np.zeros(len(error), dtype=np.bool_)
        longest = np.zeros(len(error))
        if len(under_way):
            lesson, slot = pairs.lesson[under_way], self._slot[under_way]
            now = bins[lesson]
            before = pairs.expected(under_way, now)
            # A cause shows at once, and is sooner one whose effect was seen before.
            weight = (1.0 + pairs.clear[under_way].astype(np.float64) ** 2) / (1.0 + phase[lesson]) ** 3
            weight /= 1.0 + pairs.count[under_way, now]
            weight /= np.bincount(slot, weight, len(error))[slot]
            missing = error + self._rows.taken - np.bincount(slot, before, len(error))
            pairs.add(under_way, before + weight * missing[slot])
            busy[slot] = True
            np.maximum.at(longest, slot, lessons.window[lesson])
        self._rows.under_way(busy, longest)

    def _close(self, bins: Ints, time: float) -> None:
        """Close the bins that were left, and the occurrences that are over."""
        lessons, pairs = self._lessons, self._pairs
        left = (lessons.open >= 0) & (bins != lessons.open)
        if not left.any():
            return
        its = np.flatnonzero(left[pairs.lesson])
        pairs.close(its, lessons.open[pairs.lesson[its]])
        over = left & (bins < lessons.open)
        if over.any():
            self._finish(over, time)

    def _finish(self, over: NDArray[np.bool_], time: float) -> None:
        """Judge what occurrences that are over have taught, and drop what they never change."""
        lessons, pairs = self._lessons, self._pairs
        lessons.finished[over] += 1
        its = np.flatnonzero(over[pairs.lesson])
        noise, gain = self._rows.noise[self._slot[its]], self._rows.gain[self._slot[its]]
        width = widths(lessons.window[pairs.lesson[its]])
        best = pairs.judge(its, noise, gain, width)
        watch(lessons, pairs, its, pairs.evidence(its, noise, gain, width, (1,)), noise)
        tries, served = pairs.tries[its], pairs.served[its]
        vain = ~served & (((tries >= TRIALS) & (best < NOTHING)) | (tries >= PATIENCE))
        vain &= np.isnan(lessons.effect[pairs.lesson[its]])
        deeper = np.unique(pairs.lesson[its[served]])
        deeper = deeper[~lessons.deep[deeper]]
        lessons.deep[deeper] = True
        if vain.any():
            kept = np.ones(len(pairs), dtype=np.bool_)
            kept[its[vain]] = False
            empty = over & (np.bincount(pairs.lesson[kept], minlength=len(lessons)) == 0)
            rest = np.where(np.isfinite(lessons.period), QUIET * lessons.period, QUIET_ONCE)
            lessons.quiet[empty] = time + rest[empty]
            pairs.keep(kept)
        if len(deeper):
            self._resolve(deeper.tolist())
        elif vain.any():
            self._settle()
        self._answerer.stale = True

    # -- which pairs there are

    def _resolve(self, which: Sequence[int]) -> None:
        """Open the pairs that these lessons are about and that are not there yet, as far as there is room."""
        lessons, pairs = self._lessons, self._pairs
        order = np.argsort(pairs.lesson, kind="stable")
        starts = np.searchsorted(pairs.lesson[order], np.arange(len(lessons) + 1))
        opened: list[Ints] = []
        chosen: list[Ints] = []
        room = PAIRS - len(pairs)
        for at in which:
            if lessons.quiet[at] > 0:
                continue
            code = codes_of(lessons.occasions[at], self._layout, self._owners, deep=bool(lessons.deep[at]))
            mine = pairs.code[order[starts[at] : starts[at + 1]]]
            if lessons.finished[at] >= TRIALS and len(mine):
                # What was given up on a host stays so; shards that came since are new.
                code = code[~np.isin(code, mine)] if lessons.deep[at] else code[:0]
            elif len(mine):
                code = code[~np.isin(code, mine)]
            code = code[: max(room, 0)]
            room -= len(code)
            opened.append(np.full(len(code), at, dtype=np.int64))
            chosen.append(code)
        if opened:
            pairs.open(np.concatenate(opened), np.concatenate(chosen))
        self._settle()

    def _settle(self) -> None:
        """Find every pair's row again; rows of lessons that nobody tells of any more are kept by name."""
        pairs, lessons = self._pairs, self._lessons
        codes, slot = np.unique(pairs.code, return_inverse=True)
        self._rows.become(codes, self._owners.rows(codes, self._layout))
        self._slot = slot.astype(np.int64)
        self._at = self._rows.rows[self._slot] if len(pairs) else np.zeros(0, dtype=np.int64)
        away = self._owners.away(pairs.lesson, pairs.code, lessons.occasions, self._layout)
        self._at[away] = -1
        self._answerer.stale = True

    def _make_room(self, occasions: tuple[Occasion, ...]) -> None:
        """Forget lessons that nobody tells of any more, those without an effect first."""
        lessons, pairs = self._lessons, self._pairs
        from_now = {(o.kind, o.name, o.hosts, o.apps) for o in occasions}
        told = np.array([key in from_now for key in lessons.index], dtype=np.bool_)
        useful = np.bincount(pairs.lesson[pairs.served], minlength=len(lessons)) > 0
        kept = np.flatnonzero(told | useful)
        if len(kept) + len(occasions) > LESSONS:
            kept = np.flatnonzero(told)
        place = np.full(len(lessons), -1, dtype=np.int64)
        place[kept] = np.arange(len(kept))
        pairs.keep(place[pairs.lesson] >= 0)
        pairs.lesson = place[pairs.lesson]
        lessons.keep(kept)
        self._settle()

    # -- answers

    def uplift(
        self, time: float, steps: NDArray[np.integer], said: NDArray[np.floating] | None = None
    ) -> Uplift | None:
        """What to add to forecasts made at ``time`` for ``steps`` (T,) ahead; None where there is nothing to add.

        ``said`` (S,) is the model's median of the next step, if it is at hand: it tells how much of
        what is under way the model has taken up already.
        """
        if not len(self._lessons) or not len(steps):
            return None
        ahead = np.asarray(steps, dtype=np.float64)
        if said is not None and len(said) == self._layout.rows:
            said = np.array(said, dtype=np.float64)
            self._answerer.level = said
        taken = self._rows.next_taken(None if said is None else self._rows.read(said))
        return self._answerer.uplift(
            time, ahead, taken, lessons=self._lessons, pairs=self._pairs, rows=self._rows, at=self._at, slot=self._slot,
            layout=self._layout,
        )  # fmt: skip

    def learned(self) -> bytes:
        """Everything that was learned, by name, to be kept over a restart."""
        return memory.pack(self._lessons, self._pairs, self._rows, self._owners, self.step)

    def recall(self, data: bytes) -> int:
        """Know again what ``learned`` gave; returns how many lessons. Raises ValueError for what is not that."""
        found = memory.unpack(data, self.step)
        self._lessons, self._pairs, self._rows, self._owners = found
        known, self._known = self._known, ()
        self._settle()
        self.know(known)
        return len(self._lessons)
