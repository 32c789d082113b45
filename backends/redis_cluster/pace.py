"""How fast to move: as fast as clients do not notice. Additive increase, multiplicative decrease. Pure.

Two measures. ``slice`` bounds how long one write of ours may keep a node from its clients: what took longer halves
what is in the next. And ``share`` bounds the part of the time in which our writes keep it. A probe asks the nodes all
the time what any client would. When more of its answers than ``SHARE`` are slower than the ceiling, nothing is moved
until it is known whether that is because of us: if answers are as slow then, it is not, and the ceiling was too low;
else our share of the time halves, and once it is small, writes do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

#: of the answers may be slower than the ceiling: we listen to the two nodes at work, clients ask others as well
SHARE: Final = 0.015
#: answers that are looked at, and fewest that say anything
WINDOW: Final = 500
FEWEST: Final = 100
#: slots at a time: all nodes sync to disk once for each time (``carry``)
SLOTS: Final = 256
#: what one write may carry: a MIGRATE weighs ``EACH`` and one for every key, since most of what it costs is the way to
#: the target and back. Fewer keys than ``FEW`` save time only where keys are large
EACH: Final = 16
FEW: Final = 8
WEIGHT_MOST: Final = 256
#: times a slice, that a write takes where keys are large
LARGE: Final = 4.0
#: what a raised ceiling is multiplied by with each quiet look
WEARS: Final = 0.9
#: of a node's time, that our writes may keep it: least, most, and what a quiet look adds
LEAST: Final = 0.02
MOST: Final = 0.06
MORE: Final = 0.01
#: seconds: an event loop sleeps no shorter
SHORTEST: Final = 0.001


class Usual(Struct, frozen=True):
    """Seconds: what our own connection waits for an answer that costs nothing, and what a write may take beyond."""

    answer: float
    slice: float

    def kept(self, spent: float) -> float:
        """How long a write that was answered after so long has kept its node."""
        return max(0.0, spent - self.answer)


class Pace(Struct, frozen=True):
    """How much at a time: ``slots`` in one round, ``weight`` in one write, ``share`` of a node's time (to ``most``)."""

    slots: float = SLOTS
    weight: float = EACH + FEW
    share: float = 0.04
    most: float = MOST

    def carried(self, kept: float, slice: float) -> Pace:
        """After a write of keys that kept a node so long: at least one key goes with each."""
        if kept <= slice:
            weight = min(self.weight + 1, WEIGHT_MOST)
        else:
            weight = max(self.weight / 2, EACH + (1 if kept > LARGE * slice else min(FEW, self.weight - EACH)))
        return replace(self, weight=weight)

    def beside(self, others: int) -> Pace:
        """The pace of each of so many that move at the same time: they share what one might take."""
        return replace(self, share=max(self.share / others, LEAST), most=max(self.most / others, LEAST))

    def rest(self, kept: float) -> float:
        """Seconds to leave the node alone after a write that kept it so long."""
        return kept * (1 / self.share - 1)

    def heard(self, loud: bool) -> Pace:
        """After the probe said whether clients notice."""
        if not loud:
            return replace(self, slots=min(self.slots + 4, SLOTS), share=min(self.share + MORE, self.most))
        if self.share > LEAST:
            return replace(self, share=max(self.share / 2, LEAST))
        return replace(self, slots=max(self.slots / 2, 1.0), weight=max(self.weight / 2, EACH + 1.0))


class Ear:
    """The newest answers of the probe against a ceiling, in seconds."""

    def __init__(self, ceiling: float) -> None:
        self.ceiling = self._least = ceiling
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._new = 0

    def add(self, seconds: float) -> None:
        """One answer took so long."""
        self._recent.append(seconds)
        self._new += 1

    def learn(self, times: float) -> None:
        """Take the ceiling from the newest answers, if that makes it higher: something else made the nodes slower."""
        self.ceiling = max(self.ceiling, quantile(self._recent, 0.99) * times)

    def relax(self) -> None:
        """All is quiet: what was learned above the first ceiling wears off; and the next look waits for more."""
        self.ceiling = max(self._least, self.ceiling * WEARS)
        self._new = 0

    def loud(self) -> bool | None:
        """Whether too many were slow; None while too few are known, or too few since the last quiet look."""
        if self._new < FEWEST:
            return None
        usual = SHARE * len(self._recent)
        return sum(one > self.ceiling for one in self._recent) > usual + math.sqrt(usual) / 2  # chance

    def forget(self) -> None:
        """Begin anew: the pace is another one now."""
        self._recent.clear()
        self._new = 0


def quantile(values: Iterable[float], share: float) -> float:
    """The value that this share of them does not exceed; 0 without any."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
