"""Lessons: what occasions of one name, on the same hosts and apps, teach together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.occasions import Occasion
from sidestep.forecasting.calendar.schedule import Schedule

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]
#: kind, name, hosts, apps
Key = tuple[str, str, tuple[str, ...], tuple[str, ...]]

#: at most so many lessons
LESSONS: Final = 16384
#: seconds that are watched after the beginning while it is not known how long it takes, and at most
WATCHED: Final = 7200.0
LONGEST: Final = 86400.0
#: and steps at least; what lasts is watched a little longer than it lasts
SHORT: Final = 8.0
AFTER: Final = 1.5


def key_of(occasion: Occasion) -> Key:
    """What makes two occasions the same lesson."""
    return occasion.kind, occasion.name, occasion.hosts, occasion.apps


class Lessons:
    """Columns over lessons; ``occasions`` has one that stands for each."""

    #: names of those that are floats
    COLUMNS: Final = ("window", "most", "effect", "lasts", "period", "quiet")

    def __init__(self, step: float) -> None:
        self.step = step
        self.index: dict[Key, int] = {}
        self.occasions: list[Occasion] = []
        self.schedule = Schedule()
        #: (L,) steps that are watched and the most that may be; factor or NaN; seconds that it lasts; seconds
        #: between beginnings; unix time until which nothing is learned because there was no effect
        self.window, self.most = np.zeros(0), np.zeros(0)
        self.effect, self.lasts, self.period, self.quiet = np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0)
        #: (L,) the open bin, -1 for none; occurrences that are over; whether it is still told
        self.open: Ints = np.zeros(0, dtype=np.int64)
        self.finished: Ints = np.zeros(0, dtype=np.int64)
        self.told = np.zeros(0, dtype=np.bool_)
        #: (L,) whether the shards on the timer's host are looked at too
        self.deep = np.zeros(0, dtype=np.bool_)
        #: occasions that found no room
        self.left_out = 0

    def __len__(self) -> int:
        return len(self.occasions)

    def tell(self, occasions: Sequence[Occasion]) -> list[int]:
        """Take what is known to come; returns lessons that are new. Events come first where room is short."""
        new: list[int] = []
        entries: list[tuple[int, float, float, bool]] = []
        first: dict[int, Occasion] = {}
        self.left_out = 0
        for occasion in sorted(occasions, key=lambda each: each.kind != "event"):
            at = self.index.get(key_of(occasion))
            if at is None:
                at = self._add(occasion)
                if at is None:
                    self.left_out += 1
                    continue
                new.append(at)
            period = occasion.period if occasion.period and occasion.period > 0 else np.inf
            if at not in first or occasion.begins < first[at].begins:
                first[at] = occasion
            entries.append((at, occasion.begins, period, occasion.kind == "event"))
        self.grow()
        self.told[:] = False
        told = list(first)
        self.told[told] = True
        for at, occasion in first.items():
            self.occasions[at] = occasion
        its = list(first.values())
        self.effect[told] = [np.nan if each.effect is None else each.effect for each in its]
        self.lasts[told] = [each.lasts for each in its]
        self.period[told] = [each.period if each.period and each.period > 0 else np.inf for each in its]
        lesson, begins, periods, event = (
            np.array(column) for column in (zip(*entries, strict=True) if entries else ((), (), (), ()))
        )
        self.schedule.tell(
            len(self),
            lesson.astype(np.int64),
            begins.astype(np.float64),
            periods.astype(np.float64),
            event.astype(np.bool_),
        )
        return new

    def _add(self, occasion: Occasion) -> int | None:
        """The number of a new lesson, whose columns are still to be made; None if there is no room."""
        if len(self) >= LESSONS:
            return None
        self.index[key_of(occasion)] = len(self)
        self.occasions.append(occasion)
        return len(self) - 1

    def grow(self) -> None:
        """Make the columns of lessons that were added."""
        new = self.occasions[len(self.window) :]
        if not new:
            return
        period = np.array([each.period if each.period and each.period > 0 else np.inf for each in new])
        lasts = np.array([each.lasts for each in new])
        most = np.maximum(2.0, np.minimum(LONGEST, period) / self.step)
        watched = np.where(lasts > 0, lasts * AFTER, WATCHED) / self.step
        window = np.minimum(np.maximum(SHORT, watched), most)
        self.window, self.most = np.append(self.window, window), np.append(self.most, most)
        none = np.zeros(len(new))
        self.effect, self.lasts = np.append(self.effect, none + np.nan), np.append(self.lasts, lasts)
        self.period, self.quiet = np.append(self.period, period), np.append(self.quiet, none)
        self.open, self.finished = (
            np.append(self.open, none.astype(int) - 1),
            np.append(self.finished, none.astype(int)),
        )
        self.told, self.deep = np.append(self.told, none > 0), np.append(self.deep, none > 0)

    def keep(self, lessons: Ints) -> None:
        """Keep and reorder lessons; the schedule has to be told again."""
        self.occasions = [self.occasions[at] for at in lessons.tolist()]
        self.index = {key_of(occasion): at for at, occasion in enumerate(self.occasions)}
        self.schedule.keep(lessons)
        for name in (*self.COLUMNS, "open", "finished", "told", "deep"):
            setattr(self, name, getattr(self, name)[lessons])

    def since(self, time: float) -> F64:
        """(L,) steps since each began; the middle of the step that ends at ``time`` counts."""
        return np.asarray((time - self.schedule.since) / self.step - 0.5)

    def namesake(self, at: int) -> int | None:
        """The latest other lesson of the same kind and name, for an event that is about other hosts or apps."""
        mine = self.occasions[at]
        if mine.kind != "event":
            return None
        for other in range(len(self) - 1, -1, -1):
            its = self.occasions[other]
            if other != at and its.kind == "event" and its.name == mine.name:
                return other
        return None
