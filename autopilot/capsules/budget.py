"""How fast capsules are carried: a bucket of bytes that fills by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sidestep.autopilot.world_clock import Clock

#: part of the policy's bandwidth that capsules may take; the rest is left to moves
SHARE: Final = 0.25
#: seconds that are waited at least: less may be no step of the clock at all
_LEAST: Final = 0.001


class Budget:
    """``take`` before carrying; ``rate`` says the bytes a second of now, 0 for no limit.

    A capsule is carried in one piece: the bucket may be overdrawn by one, and the next one waits until that is
    paid back. So the average keeps to the rate whatever the sizes are.
    """

    def __init__(self, rate: Callable[[], float], clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self._level, self._at = 0.0, clock.monotonic()
        self._turn = asyncio.Lock()

    async def take(self, size: int) -> None:
        """Wait until the bucket is not overdrawn, then take ``size`` bytes out of it."""
        async with self._turn:
            while True:
                rate, now = self._rate(), self._clock.monotonic()
                # no more than one second is saved up
                self._level, self._at = min(rate, self._level + rate * (now - self._at)), now
                if not rate:
                    self._level = 0.0
                    return
                if self._level >= 0:
                    self._level -= size
                    return
                await self._clock.sleep(min(1.0, max(_LEAST, -self._level / rate)))
