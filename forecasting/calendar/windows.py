"""How long lessons are watched, and what a new event begins with."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.calendar.lessons import Lessons
from sidestep.forecasting.calendar.profiles import BINS, LEAST, STAYS, Profiles, bins_of, edges_of

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]

#: what is watched is this much longer than the effect that was seen
ROOM: Final = 1.3
#: and becomes shorter only if it is worth it: below this share, and steps at least
SHORTER: Final = 0.6
FEWEST: Final = 8


def watch(lessons: Lessons, pairs: Profiles, its: Ints, evidence: F64, noise: F64) -> None:
    """Watch the lessons of these pairs for as long as their effects were seen to last, or longer if to the end."""
    clear = (evidence >= STAYS) & (np.abs(pairs.mean[its]) >= LEAST * np.sqrt(noise)[:, None])
    clear &= (pairs.served[its] & (pairs.tries[its] >= 2))[:, None]
    last = np.where(clear.any(axis=1), BINS - 1 - np.argmax(clear[:, ::-1], axis=1), -1)
    for at in np.unique(pairs.lesson[its[last >= 0]]).tolist():
        mine = pairs.lesson[its] == at
        end, window = int(last[mine].max()), float(lessons.window[at])
        needed = ROOM * max(edges_of(window)[end + 1], lessons.lasts[at] / lessons.step)
        used = int(bins_of(np.array([window - 1.0]), np.array([window]))[0])
        if end >= used:
            new = min(2 * window, float(lessons.most[at]))
        elif FEWEST <= needed < SHORTER * window:
            new = float(needed)
        else:
            continue
        if new != window:
            pairs.stretch(its[mine], window, new)
            lessons.window[at] = new


def inherit(lessons: Lessons, pairs: Profiles, at: int) -> None:
    """An event of a known name on other hosts or apps begins with what the name taught where both are."""
    other = lessons.namesake(at)
    if other is None:
        return
    mine, its = np.flatnonzero(pairs.lesson == at), np.flatnonzero(pairs.lesson == other)
    _, here, there = np.intersect1d(pairs.code[mine], pairs.code[its], return_indices=True)
    if not len(here):
        return
    for name in ("mean", "scatter", "count", "size", "tries", "served", "clear"):
        column = getattr(pairs, name)
        column[mine[here]] = column[its[there]]
    lessons.window[at] = lessons.window[other]
