"""A clock that stands still until it is told to go on."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count


class FakeClock:
    """Calling it gives seconds, as ``time.monotonic`` does; ``wall`` gives seconds since 1970, and may jump.

    ``sleep`` returns when ``advance`` has come that far, in the order of the times slept for, so that a test of
    things that take hours takes no time and never depends on how fast the machine is.
    """

    def __init__(self, now: float = 1000.0, wall: float = 1_790_000_000.0) -> None:
        self._now, self._offset = now, wall - now
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._order = count()

    def __call__(self) -> float:
        """Seconds, never less than before."""
        return self._now

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._now + self._offset

    def jump(self, seconds: float) -> None:
        """Put the wall clock forward or back; nobody who sleeps notices."""
        self._offset += seconds

    async def sleep(self, seconds: float) -> None:
        """Return once that much time was let pass."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken.wait()

    async def advance(self, seconds: float) -> None:
        """Let time pass: whoever is due wakes at his own time, and does what he does before the next one wakes.

        Raises ValueError for less than nothing.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back by {-seconds} s")
        end = self._now + seconds
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._now, _, woken = heapq.heappop(self._sleepers)
            woken.set()
            await _settle()
        self._now = end


async def _settle(turns: int = 20) -> None:
    """Let the others run on until they sleep or wait again."""
    for _ in range(turns):
        await asyncio.sleep(0)
