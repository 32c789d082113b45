"""How many moves run at a time: fewer as soon as hosts suffer, more again while all is well (AIMD).

Additive increase, multiplicative decrease, as for congestion: what is safe is not known in
advance, so it is found out, carefully. Pure: no clock, no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable
from typing import Final

#: moves that run at a time whatever has happened: a plan always goes on
LEAST: Final = 1


class Pace:
    """The limit beneath the policy's caps. Unlimited until the first trouble.

    Trouble halves what was under way; further trouble of moves that were under way then is the same
    trouble and counts once. Every move that ended without any adds one.
    """

    def __init__(self) -> None:
        self._limit = math.inf
        self._blamed: frozenset[Hashable] = frozenset()
        #: why the limit fell last, or ""
        self.why = ""

    def allowed(self, cap: int) -> int:
        """Moves that may run at a time, where the policy allows ``cap`` (0: any number, and so is the answer)."""
        if math.isinf(self._limit):
            return cap
        return min(int(self._limit), cap) if cap else int(self._limit)

    def trouble(self, move: Hashable, running: Collection[Hashable], why: str) -> bool:
        """Halve, because of something that happened during ``move``; whether that was news.

        ``running`` are the moves under way, that one included.
        """
        if move in self._blamed:
            return False
        self._limit = max(LEAST, int(min(self._limit, max(len(running), 1))) // 2)
        self._blamed = frozenset((*running, move))
        self.why = why
        return True

    def clean(self, move: Hashable, cap: int) -> None:
        """One more at a time, after a move that went without trouble; never above the cap."""
        if move in self._blamed or math.isinf(self._limit):
            return
        self._limit += 1
        if cap and self._limit >= cap:
            self._limit, self.why = math.inf, ""
