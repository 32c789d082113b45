"""The same for asyncio: ``async with AsyncLocks().hold("name", ttl=10) as lock``.

Leases are renewed by the thread of ``Locks``, so that a loop which is busy for a while keeps them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType

from sidestep.locks.client import Lock, Locks
from sidestep.locks.hold import Hold
from sidestep.locks.lease import MARGIN, Clock, boottime
from sidestep.locks.wire import HeldLock


class AsyncLock:
    """A lock that was granted. ``token`` goes with every write."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self.name, self.token, self.ttl = lock.name, lock.token, lock.ttl

    @property
    def held(self) -> bool:
        """Whether it is held for certain at this moment."""
        return self._lock.held

    def check(self) -> None:
        """Raises LockLost unless the lock is held for certain at this moment; never waits."""
        self._lock.check()

    async def lost(self) -> None:
        """Return as soon as the lock is not surely held any more."""
        loop, seen = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(seen.set)

        self._lock.when_lost(tell)
        await seen.wait()

    async def release(self) -> None:
        """Let go; the next in line gets it."""
        await asyncio.shield(asyncio.to_thread(self._lock.release))


class AsyncLocks:
    """As ``Locks``, for one loop or several."""

    def __init__(
        self, path: str | Path | None = None, *, holder: str = "", clock: Clock = boottime, margin: float = MARGIN
    ) -> None:
        self._locks = Locks(path, holder=holder, clock=clock, margin=margin)

    async def acquire(self, name: str, *, ttl: float = 10.0, wait: float = 60.0, note: str = "") -> AsyncLock:
        """As ``Locks.acquire``; a task that is cancelled while it waits gives up its place."""
        hold: Hold = self._locks.begin(name, ttl=ttl, wait=wait, note=note)
        try:
            await asyncio.wrap_future(hold.future)
        except BaseException:
            self._locks.link.leave(hold)
            raise
        return AsyncLock(Lock(self._locks.link, hold))

    @asynccontextmanager
    async def hold(
        self, name: str, *, ttl: float = 10.0, wait: float = 60.0, note: str = ""
    ) -> AsyncIterator[AsyncLock]:
        """The same for a block; releases at the end."""
        lock = await self.acquire(name, ttl=ttl, wait=wait, note=note)
        try:
            yield lock
        finally:
            await lock.release()

    async def query(self, name: str = "") -> tuple[HeldLock, ...]:
        """Who holds that lock, or any lock; at most 200."""
        return await asyncio.to_thread(self._locks.query, name)

    async def aclose(self) -> None:
        """Release everything and end the connection."""
        await asyncio.to_thread(self._locks.close)

    async def __aenter__(self) -> AsyncLocks:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
