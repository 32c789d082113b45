"""One wish for a lock, from the request to its end: what to send next, and what an answer means. No I/O.

WANTED → CONFIRMING → HELD → LEAVING → ENDED. A grant that took long to come (somebody else had
the lock) is confirmed by a renewal before the app gets it, since the lease is counted from what was
*sent*. Every request may be sent again, on any connection. The caller serialises the calls.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum
from typing import Final

from sidestep.locks.errors import LockBusy, LockError, LockRefused, LockUnavailable
from sidestep.locks.lease import MARGIN, Clock, Lease
from sidestep.locks.wire import CLAIM, Acquire, Answer, Granted, Refused, Release, Released, Renew, Renewed

#: a grant that came within this share of the ttl needs no confirmation
_PROMPT: Final = 0.25
#: seconds beyond the wait that the service has for its answer, and that a release is tried for
PATIENCE: Final = 5.0
_WORDS: Final = {"busy": LockBusy, "storage": LockUnavailable, "full": LockUnavailable, "lost": LockBusy}

Body = Acquire | Renew | Release
Bodies = tuple[Body, ...]


class Phase(Enum):
    """How far it has come."""

    WANTED = "wanted"
    CONFIRMING = "confirming"
    HELD = "held"
    LEAVING = "leaving"
    ENDED = "ended"


class Hold:
    """The state of one wish; ``future`` is done when it is held or failed, ``lost`` is set when it is not held."""

    def __init__(self, name: str, *, ttl: float, wait: float, note: str, clock: Clock, margin: float = MARGIN) -> None:
        self.name, self.note, self.ttl = name, note, ttl
        self.claim = os.urandom(CLAIM)
        self.token = 0
        self.lease = Lease(ttl, margin)
        self.phase = Phase.WANTED
        self.lost, self.left = threading.Event(), threading.Event()
        #: called once it is lost, by whichever thread finds out; must not block
        self.watchers: list[Callable[[], object]] = []
        self.future: Future[Hold] = Future()
        self._clock, self._margin, self._deadline = clock, margin, clock() + wait
        self._until = 0.0

    def resend(self, now: float) -> Bodies:
        """What to send on a new connection, whatever was sent on an older one."""
        match self.phase:
            case Phase.WANTED:
                return (Acquire(self.name, self.claim, self.ttl, max(0.0, self._deadline - now), self.note),)
            case Phase.CONFIRMING | Phase.HELD:
                self.lease.sent(now)
                return (Renew(self.name, self.claim, self.token),)
            case Phase.LEAVING:
                return (Release(self.name, self.claim),)
            case Phase.ENDED:
                return ()

    def due(self, now: float) -> Bodies:
        """What to send because of the time; notices what time has ended."""
        if self.phase is Phase.HELD and not self.lease.sure(now):
            self.leave(now)
            return (Release(self.name, self.claim),)
        if self.phase is Phase.HELD and now >= self.lease.due():
            return self.resend(now)
        if self.phase in {Phase.WANTED, Phase.CONFIRMING} and now >= self._deadline + PATIENCE:
            self.fail(LockUnavailable(f"lock {self.name}: the service did not answer"), now)
            return (Release(self.name, self.claim),)
        if self.phase is Phase.LEAVING and now >= self._until:
            self._end()
        return ()

    def next(self) -> float:
        """When ``due`` has something to say, by the clock."""
        match self.phase:
            case Phase.HELD:
                return min(self.lease.due(), self.lease.sure_until)
            case Phase.LEAVING:
                return self._until
            case Phase.ENDED:
                return float("inf")
            case _:
                return self._deadline + PATIENCE

    def unreachable(self, why: str, now: float) -> None:
        """There is no service at present; that ends a wish whose time is over, and no hold."""
        if self.phase is Phase.WANTED and now >= self._deadline:
            self.fail(LockUnavailable(f"lock {self.name}: {why}"), now)
            self._end()

    def answered(self, request: Body, sent: float, answer: Answer, now: float) -> Bodies:
        """Take one answer; what to send now, if anything."""
        if isinstance(answer, Released):
            if self.phase is Phase.LEAVING:
                self._end()
            return ()
        if self.phase in {Phase.LEAVING, Phase.ENDED}:
            return ()
        if isinstance(answer, Granted) and isinstance(request, Acquire):
            return self._granted(answer, sent, now)
        if isinstance(answer, Renewed) and isinstance(request, Renew):
            self.lease.acked(sent, now)
            return self._hand_over(now)
        if isinstance(answer, Refused):
            return self._refused(request, answer, now)
        return ()

    def leave(self, now: float, why: str = "it was released") -> None:
        """Not ours any more, for the app at once; the service is told for as long as the lease may run there."""
        if self.phase is Phase.ENDED:
            return
        self.lease.lose(why)
        self.phase, self._until = Phase.LEAVING, now + min(self.ttl, PATIENCE)
        self._tell()

    def fail(self, error: LockError, now: float) -> None:
        """The app gets the error instead of the lock."""
        self.leave(now, str(error))
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def end(self, why: str, now: float) -> None:
        """Nobody keeps it any more."""
        if self.phase in {Phase.WANTED, Phase.CONFIRMING}:
            self.fail(LockUnavailable(f"lock {self.name}: {why}"), now)
        self.leave(now, why)
        self._end()

    def sure(self) -> bool:
        """Whether it is held for certain at this moment."""
        return self.phase is Phase.HELD and self.lease.sure(self._clock())

    def _granted(self, answer: Granted, sent: float, now: float) -> Bodies:
        if self.phase is not Phase.WANTED:
            return ()
        self.token, self.phase = answer.token, Phase.CONFIRMING
        if now - sent > self.ttl * _PROMPT:
            return self.resend(now)
        self.lease.acked(sent, now)
        return self._hand_over(now)

    def _hand_over(self, now: float) -> Bodies:
        if self.phase is not Phase.CONFIRMING:
            return ()
        self.phase = Phase.HELD
        if not self.lease.sure(now):  # an answer that came too late: wish anew, while there is time
            return (Release(self.name, self.claim), *self._anew(now))
        if not self.future.set_running_or_notify_cancel():  # nobody waits for it any more
            self.leave(now)
            return (Release(self.name, self.claim),)
        self.future.set_result(self)
        return ()

    def _anew(self, now: float) -> Bodies:
        self.claim, self.token, self.phase = os.urandom(CLAIM), 0, Phase.WANTED
        self.lease = Lease(self.ttl, self._margin)
        if now >= self._deadline:
            self.fail(LockBusy(f"lock {self.name}: the grant came too late to be kept"), now)
            return ()
        return self.resend(now)

    def _refused(self, request: Body, answer: Refused, now: float) -> Bodies:
        if isinstance(request, Renew):
            if request.claim != self.claim:
                return ()
            if self.phase is Phase.CONFIRMING:
                return self._anew(now)
            self.leave(now, answer.message)
            self._end()
        elif isinstance(request, Acquire) and self.phase is Phase.WANTED and request.claim == self.claim:
            self.fail(_WORDS.get(answer.code, LockRefused)(answer.message), now)
            self._end()
        return ()

    def _end(self) -> None:
        self.phase = Phase.ENDED
        self._tell()
        self.left.set()

    def _tell(self) -> None:
        self.lost.set()
        while self.watchers:
            self.watchers.pop()()
