"""Locks for programs with threads: ``with Locks().hold("name", ttl=10) as lock``."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

from sidestep.locks.errors import LockLost, LockRefused, LockUnavailable
from sidestep.locks.hold import PATIENCE, Hold
from sidestep.locks.lease import MARGIN, Clock, boottime
from sidestep.locks.link import Link
from sidestep.locks.wire import LONGEST_NOTE, HeldLock, Query, wrong_acquire, wrong_name

#: the environment variable that names the socket
VARIABLE: Final = "SIDESTEP_LOCKS"
#: seconds that a release waits for its answer
_GOODBYE: Final = 1.0


class Lock:
    """A lock that was granted. ``token`` goes with every write; ``lost`` is set once it is not surely held."""

    def __init__(self, link: Link, hold: Hold) -> None:
        self._link, self._hold = link, hold
        self.name, self.token, self.ttl = hold.name, hold.token, hold.ttl
        self.lost: threading.Event = hold.lost

    @property
    def held(self) -> bool:
        """Whether it is held for certain at this moment; once False, for ever False."""
        if self._link.forked:
            return False
        with self._link.guard:
            return self._hold.sure()

    def check(self) -> None:
        """Raises LockLost unless the lock is held for certain, by this machine's clock alone, at this moment.

        What is done after it may still come late, if the process is stopped in between: that is
        what ``token`` and a fence are for.
        """
        if self._link.forked:
            raise LockLost(f"lock {self.name}: it belongs to the parent process")
        with self._link.guard:
            if self._hold.sure():
                return
            why = self._hold.lease.lost
        self.lost.set()
        raise LockLost(f"lock {self.name}, token {self.token}: {why}")

    def when_lost(self, tell: Callable[[], object]) -> None:
        """Have ``tell`` called once it is lost or released, from any thread, or now; it must not block."""
        with self._link.guard:
            if not self.lost.is_set():
                self._hold.watchers.append(tell)
                return
        tell()

    def release(self) -> None:
        """Let go; the next in line gets it. Harmless if it is lost, or was released before."""
        if not self._link.forked:
            self._link.leave(self._hold)
            self._hold.left.wait(_GOODBYE)


class Locks:
    """The lock service of the socket ``path``; by default the one that $SIDESTEP_LOCKS names.

    Safe for threads; a child process has to make its own. ``holder`` says to people who this is.
    ``clock`` gives seconds that never go back; ``margin`` is the share of a ttl by which clocks may
    differ in rate. Raises LockRefused if no socket is named.
    """

    def __init__(
        self, path: str | Path | None = None, *, holder: str = "", clock: Clock = boottime, margin: float = MARGIN
    ) -> None:
        named = path or os.environ.get(VARIABLE, "")
        if not named:
            raise LockRefused(
                f"no lock service is named: set {VARIABLE} to its socket, or `locks = true` for the shard"
            )
        shard = os.environ.get("SHARD", "")
        words = holder or f"{shard or Path(sys.argv[0]).name or 'python'}, process {os.getpid()}"
        self._margin = margin
        self._link = Link(Path(named), words[:LONGEST_NOTE], clock)

    def acquire(self, name: str, *, ttl: float = 10.0, wait: float = 60.0, note: str = "") -> Lock:
        """Wait for the lock, first come first served, at most ``wait`` seconds; renewed until it is released.

        A lock cannot be taken twice: who holds it and asks again waits for himself. Raises LockBusy,
        LockUnavailable, or LockRefused for a wrong name or number.
        """
        hold = self.begin(name, ttl=ttl, wait=wait, note=note)
        try:
            hold.future.result(wait + 2 * PATIENCE)
        except TimeoutError:
            self._link.leave(hold)
            raise LockUnavailable(f"lock {name}: nothing was heard of it") from None
        except BaseException:
            self._link.leave(hold)
            raise
        return Lock(self._link, hold)

    @contextmanager
    def hold(self, name: str, *, ttl: float = 10.0, wait: float = 60.0, note: str = "") -> Iterator[Lock]:
        """The same for a block; raises what ``acquire`` does, and releases at the end."""
        lock = self.acquire(name, ttl=ttl, wait=wait, note=note)
        try:
            yield lock
        finally:
            lock.release()

    def query(self, name: str = "") -> tuple[HeldLock, ...]:
        """Who holds that lock, or any lock; at most 200. Raises LockUnavailable."""
        if name and (wrong := wrong_name(name)):
            raise LockRefused(wrong)
        return self._link.ask(Query(name)).result(2 * PATIENCE).locks

    def close(self) -> None:
        """Release everything and end the connection; closing twice is harmless."""
        self._link.close()

    def begin(self, name: str, *, ttl: float, wait: float, note: str) -> Hold:
        """Ask for a lock without waiting for it: for ``sidestep.locks.aio``. Raises LockRefused."""
        if wrong := wrong_acquire(name, ttl, wait, note):
            raise LockRefused(wrong)
        hold = Hold(name, ttl=ttl, wait=wait, note=note, clock=self._link.clock, margin=self._margin)
        self._link.add(hold)
        return hold

    @property
    def link(self) -> Link:
        """The connection; for ``sidestep.locks.aio`` and tests."""
        return self._link

    def __enter__(self) -> Locks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
