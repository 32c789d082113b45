"""The lock table together with its journal and clock: writes what changed, for many wishes at once, then answers.

Grants that come while a transaction is being synced share the next one, so that their number is
not bound by the number of syncs. Between two transactions the daemon gets some of the time.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_store import JournalError
from sidestep.autopilot.locks.table import LockTable, Outcome, Seat
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label, scrub
from sidestep.locks.wire import (
    LONGEST_NOTE,
    MOST_LISTED,
    Acquire,
    Answer,
    HeldLock,
    LockList,
    Query,
    Refused,
    Release,
    Renew,
    wrong_acquire,
    wrong_name,
)

#: seconds that a lock which was let go may stay in the file: after a crash its next holder waits for the ttl
_LAZY: Final = 0.2
#: the daemon's share of the time, as a part of how long the last transaction took
_PAUSE: Final = 0.25
#: seconds until a transaction that failed is tried again
_AGAIN: Final = 1.0


@dataclass(slots=True)
class Counts:
    """What was done since the start, for metrics and benchmarks."""

    grants: int = 0
    transactions: int = 0
    broken: int = 0


@dataclass(kw_only=True)
class LockService:
    """Answers requests; ``tell`` sends an answer that came later. Belongs to one running loop.

    ``clock`` is monotonic and decides every expiry; ``wall`` only says to people when. Raises
    JournalError when it is made from a journal that cannot be read.
    """

    journal: Journal
    tell: Callable[[Seat, Answer], None] = field(default=lambda _seat, _answer: None)
    report: Callable[[str], None] = field(default=lambda _: None)
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._table = LockTable.restored(*self.journal.locks(), self.clock())
        self.counts = Counts()
        self._write: asyncio.TimerHandle | None = None
        self._write_at, self._open_at = float("inf"), float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._failing = False
        self._wake()

    def request(self, seat: Seat, body: Acquire | Renew | Release | Query, holder: Label) -> Answer | None:
        """The answer, or None if ``tell`` gives it later."""
        answer: Answer | None = None
        now = self.clock()
        match body:
            case Acquire():
                answer = self._acquire(seat, body, holder, now)
            case Renew():
                answer = self._table.renew(body.name, _digest(body.claim), body.token, now)
            case Release():
                answer, outcomes = self._table.release(body.name, _digest(body.claim), now, self.wall())
                self._answer(outcomes)
            case Query():
                wrong = wrong_name(body.name) if body.name else ""
                answer = Refused("usage", wrong) if wrong else self.listed(body.name)
        self._wake()
        return answer

    def left(self, connection: int) -> None:
        """That connection ended; what it held stays held for the ttl."""
        self._table.leave(connection, self.clock())
        self._wake()

    def listed(self, name: str = "") -> LockList:
        """What is held."""
        found: list[HeldLock] = []
        for lock in self._table.held(self.clock(), name):
            if len(found) == MOST_LISTED:
                return LockList(tuple(found), more=True)
            found.append(lock)
        return LockList(tuple(found))

    def break_(self, name: str, *, actor: Label, reason: str) -> HeldLock:
        """Take a lock from its holder, durable and audited. Raises UsageError, JournalError.

        Until its next renewal the holder may believe that it has it: whatever it writes has an older token.
        """
        lock = next(self._table.held(self.clock(), name), None) if name else None
        if lock is None:
            raise UsageError(f"nobody holds a lock {scrub(name)}", hint="see who holds what: sidestep locks")
        self.journal.break_lock(lock, actor=actor, reason=reason)
        self.counts.broken += 1
        self._answer(self._table.break_(name, self.clock(), self.wall()))
        self._wake()
        return lock

    def close(self) -> None:
        """Write what was let go lately; answers nobody any more."""
        for handle in (self._write, self._timer):
            if handle is not None:
                handle.cancel()
        self._table.unwritten("the service ends")
        changes = self._table.changes()
        if changes is not None:
            try:
                self.journal.keep_locks(changes)
            except JournalError as error:
                self.report(f"locks that were let go stay in the journal for their ttl: {error.args[0]}")

    def _acquire(self, seat: Seat, body: Acquire, holder: Label, now: float) -> Answer | None:
        if wrong := wrong_acquire(body.name, body.ttl, body.wait, body.note):
            return Refused("usage", wrong)
        if self.journal.trouble:
            return Refused("storage", f"no lock can be granted: {self.journal.trouble}")
        ask = body if body.note.isprintable() else Acquire(
            body.name, body.claim, body.ttl, body.wait, scrub(body.note, LONGEST_NOTE)
        )  # fmt: skip
        self._answer(self._table.acquire(seat, ask, _digest(body.claim), holder, now, self.wall()))
        return None

    def _answer(self, outcomes: list[Outcome]) -> None:
        for seat, answer in outcomes:
            self.tell(seat, answer)

    def _wake(self) -> None:
        """See to it that what is to be written is, and that the table is looked at in time."""
        now = self.clock()
        if self._table.urgent or self._table.changes() is not None:
            at = max(self._open_at, now if self._table.urgent else now + _LAZY)
            if at < self._write_at:
                if self._write is not None:
                    self._write.cancel()
                self._write_at, self._write = at, self._loop.call_later(max(0.0, at - now), self._flush)
        if self._table.next() < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = self._table.next()
            self._timer = self._loop.call_later(min(3600.0, max(0.0, self._timer_at - now)), self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        self._answer(self._table.tick(self.clock(), self.wall()))
        self._wake()

    def _flush(self) -> None:
        self._write, self._write_at = None, float("inf")
        changes = self._table.changes()
        if changes is None:
            return
        began = self.clock()
        try:
            self.journal.keep_locks(changes)
        except JournalError as error:
            self._open_at = self.clock() + _AGAIN
            if not self._failing:
                self.report(f"locks cannot be granted: {error.args[0]}")
            self._failing = True
            self._answer(self._table.unwritten(scrub(f"no lock can be granted: {error.args[0]}")))
        else:
            ended = self.clock()
            self._open_at = ended + _PAUSE * (ended - began)
            self._failing = False
            self.counts.transactions += 1
            self.counts.grants += len(changes.grants)
            self._answer(self._table.written(ended))
        self._wake()


def _digest(claim: bytes) -> str:
    return hashlib.sha256(claim).hexdigest()
