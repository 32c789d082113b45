"""How long a holder may be sure of its lock, by its own clock alone.

The service counts the ttl from when it wrote its answer, which is after the request was sent.
So what was sent at ``t`` and answered holds at least until ``t + ttl`` by the service's clock; a
margin of the ttl is given up for the rates at which two clocks run. Where a clock *stands* is
of no account, and a jump of the wall clock is not noticed. Once unsure is unsure for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

#: share of the ttl that is given up: clocks may differ in rate by as much, about a hundred times what real ones do
MARGIN: Final = 0.1
#: shares of the ttl after which a lease is renewed, and after which an unanswered renewal is sent again
_RENEW: Final = 1 / 3
_AGAIN: Final = 1 / 6

Clock = Callable[[], float]


def boottime() -> float:
    """Seconds on the clock that also runs while the machine is suspended: waking up, a holder knows it has lost."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """One hold of ``ttl`` seconds. Not safe for several threads by itself."""

    def __init__(self, ttl: float, margin: float = MARGIN) -> None:
        self.ttl = ttl
        self._safe = ttl * (1 - margin)
        #: until when the holder is sure; renewals only ever raise it
        self.sure_until = float("-inf")
        self.lost = ""
        self._next = float("-inf")

    def acked(self, sent: float, now: float) -> None:
        """What was sent at ``sent`` was answered with yes; too late an answer revives nothing."""
        if self.lost or (self.sure_until > float("-inf") and not self.sure(now)):
            return
        self.sure_until = max(self.sure_until, sent + self._safe)
        self._next = max(self._next, sent + self.ttl * _RENEW)

    def sure(self, now: float) -> bool:
        """Whether the lock is still ours for certain; False is final."""
        if not self.lost and now >= self.sure_until:
            self.lost = f"no renewal was answered within {self._safe:g} s"
        return not self.lost

    def lose(self, why: str) -> None:
        """The service says that it is gone, or we let go."""
        self.lost = self.lost or why

    def due(self) -> float:
        """When to send a renewal."""
        return self._next

    def sent(self, now: float) -> None:
        """A renewal is on its way: not again before it had some time."""
        self._next = now + self.ttl * _AGAIN
