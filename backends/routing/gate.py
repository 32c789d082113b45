"""The gate of one shard: counts requests in flight, and holds new ones back in order."""

from __future__ import annotations

import asyncio
from collections import deque


class Gate:
    """Open by default. Held, it lets nobody in; whoever waits is let in first come, first served."""

    def __init__(self) -> None:
        self.held = False
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """How many wait to be let in."""
        return len(self._waiting)

    async def enter(self) -> None:
        """Return once the caller is in flight; it must ``leave``."""
        if not self.held:
            self._admit()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            else:
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        """One request is no longer in flight."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def hold(self, seconds: float, *, firm: bool = False) -> bool:
        """Let nobody in; True once nobody is in flight, False (and open again, unless ``firm``) if that takes long."""
        self.held = True
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            if not firm:
                self.release()
            return False
        except asyncio.CancelledError:
            self.release()  # who asked is gone, and can never release
            raise
        return True

    def release(self) -> None:
        """Open, and let in whoever waits, in order."""
        self.held = False
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self._admit()
                turn.set_result(None)

    def _admit(self) -> None:
        self.in_flight += 1
        self._idle.clear()
