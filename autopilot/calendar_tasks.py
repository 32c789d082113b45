"""From what hosts say that they will start by themselves to occasions.

What hosts say is data: each may tell of ``PER_HOST`` timers, all of them of ``MOST``, those of
every host that come soonest first, so that no host takes the room of the others.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Sequence
from itertools import islice, zip_longest
from typing import Final

from sidestep.backends.sampler.schedule import ScheduledTask
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.occasions import Occasion

#: timers that are taken of one host, and of the fleet
PER_HOST: Final = 64
MOST: Final = 8192
#: what repeats within fewer steps is part of the level
FEWEST_STEPS: Final = 5
DAY: Final = 86400.0
#: seconds ahead that are believed, and behind: a timer that has just begun is still told of
FARTHEST: Final = 400 * DAY
PAST: Final = 2 * DAY
NAME: Final = 80


class TimerReader:
    """Occasions of a fleet's timers; made anew only for hosts that told of others. ``step`` is the oracle's."""

    def __init__(self, hosts: Sequence[Label], step: float) -> None:
        self._hosts, self._step = tuple(hosts), step
        self._seen: list[object] = [None] * len(self._hosts)
        self._found: list[tuple[Occasion, ...]] = [()] * len(self._hosts)
        self._all: tuple[Occasion, ...] = ()
        #: timers that were not taken because there are too many
        self.left_out = 0

    def read(self, tasks: Sequence[tuple[ScheduledTask, ...]], now: float) -> tuple[Occasion, ...]:
        """The occasions of what each host, in order, starts by itself; the same tuple while nothing changed.

        Raises ValueError unless there is one tuple a host.
        """
        if len(tasks) != len(self._hosts):
            raise ValueError(f"tasks of {len(tasks)} hosts, not {len(self._hosts)}")
        if all(map(operator.is_, tasks, self._seen)):
            return self._all
        for row, (old, new) in enumerate(zip(self._seen, tasks, strict=True)):
            if old is not new:
                self._found[row] = timers_of(self._hosts[row], new, now, self._step)
        self._seen = list(tasks)
        total = sum(map(len, self._found))
        # One of each host, then another of each, until there are enough.
        rounds = zip_longest(*self._found)
        chosen = islice((each for turn in rounds for each in turn if each is not None), MOST)
        self._all = tuple(chosen)
        self.left_out = total - len(self._all) + sum(max(0, len(each) - PER_HOST) for each in tasks)
        return self._all


def timers_of(host: Label, tasks: Sequence[ScheduledTask], now: float, step: float) -> tuple[Occasion, ...]:
    """The occasions of one host, soonest first.

    What has no sensible time is left out, and so is what repeats within a few steps. Entries of
    one name that begin at different times of the day are told apart by that time; others of one
    name are one lesson.
    """
    good = [task for task in tasks if _sensible(task, now, step)]
    good.sort(key=lambda task: task.next)
    names = Counter(task.name for task in good)
    found: dict[tuple[str, float], Occasion] = {}
    for task in good:
        name = scrub(task.name, NAME)
        if names[task.name] > 1 and (task.period is None or task.period % DAY == 0):
            minute = int(task.next % DAY // 60)
            name = scrub(f"{name[: NAME - 6]} {minute // 60:02d}:{minute % 60:02d}", NAME)
        found.setdefault(
            (name, task.next),
            Occasion(name=name, kind="timer", hosts=(host,), begins=task.next, period=task.period),
        )
        if len(found) >= PER_HOST:
            break
    return tuple(found.values())


def _sensible(task: ScheduledTask, now: float, step: float) -> bool:
    if not math.isfinite(task.next) or not -PAST <= task.next - now <= FARTHEST:
        return False
    return task.period is None or (math.isfinite(task.period) and FEWEST_STEPS * step <= task.period <= FARTHEST)
