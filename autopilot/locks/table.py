"""Who holds which lock, and who waits for it: pure, driven by requests and by the monotonic clock.

A grant exists in three steps: the table decides it, the caller makes its row durable, and only
then is it answered and its ttl begins (``written``). Tokens rise over all names together, so a
name that was let go needs no row, and the table is no larger than what is held.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sidestep.locks.wire import Acquire, Answer, Granted, HeldLock, Refused, Released, Renewed

#: locks that may be held, and wishes that may wait, in all
MOST_HELD: Final = 10_000
MOST_WAITING: Final = 5_000
_NEVER: Final = float("inf")
_LONG_AGO: Final = float("-inf")
#: times that may be kept beside those that are still so
_STALE: Final = 1000

#: the connection and the request that wait for an answer
Seat = tuple[int, int]
Outcome = tuple[Seat, Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What is durable of a held lock. ``claim`` is a digest of the client's; ``granted`` is unix seconds."""

    name: str
    token: int
    claim: str
    holder: str
    note: str
    ttl: float
    granted: float


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to be written in one transaction: new grants, names that are held no more, the highest token."""

    grants: tuple[Grant, ...]
    gone: tuple[str, ...]
    token: int


@dataclass(slots=True)
class _Held:
    grant: Grant
    #: NEVER until it is durable
    expires: float = _NEVER
    seat: Seat | None = None

    @property
    def durable(self) -> bool:
        return self.expires < _NEVER


@dataclass(slots=True)
class _Wish:
    claim: str
    holder: str
    note: str
    ttl: float
    deadline: float
    seat: Seat | None
    #: when a wish whose connection is gone is given up
    until: float = _NEVER


@dataclass(slots=True)
class LockTable:
    """The table. ``now`` is always the monotonic clock, ``wall`` unix seconds."""

    token: int = 0
    _held: dict[str, _Held] = field(default_factory=dict)
    _queues: dict[str, deque[_Wish]] = field(default_factory=dict)
    _waiting: int = 0
    #: when something may have to be done for a name, and the same as a heap, with times that are not so any more
    _due: dict[str, float] = field(default_factory=dict)
    _times: list[tuple[float, str]] = field(default_factory=list)
    _new: set[str] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)

    @classmethod
    def restored(cls, token: int, grants: Iterable[Grant], now: float) -> LockTable:
        """After a start: the clock of before is gone, so every lock is held for its whole ttl from now."""
        table = cls(token)
        for grant in grants:
            table._held[grant.name] = _Held(grant, now + grant.ttl)
            table._at(now + grant.ttl, grant.name)
        return table

    def acquire(self, seat: Seat, ask: Acquire, claim: str, holder: str, now: float, wall: float) -> list[Outcome]:
        """A wish, or the same one again on another connection; the answers that are due at once."""
        held = self._held.get(ask.name)
        if held is not None and held.grant.claim == claim:
            if not held.durable:
                held.seat = seat
                return []
            self._extend(held, now)
            return [(seat, Granted(held.grant.token, held.grant.ttl))]
        queue = self._queues.setdefault(ask.name, deque())
        wish = next((wish for wish in queue if wish.claim == claim), None)
        if wish is not None:
            wish.seat, wish.deadline, wish.until = seat, now + ask.wait, _NEVER
        else:
            if self._waiting >= MOST_WAITING or len(self._held) >= MOST_HELD:
                self._tidy(ask.name)
                return [(seat, Refused("full", f"{len(self._held)} locks are held and {self._waiting} wait"))]
            wish = _Wish(claim, holder, ask.note, ask.ttl, now + ask.wait, seat)
            queue.append(wish)
            self._waiting += 1
        return self._settle(ask.name, now, wall)

    def renew(self, name: str, claim: str, token: int, now: float) -> Answer:
        """The whole ttl again, if the claim still holds the lock."""
        held = self._held.get(name)
        if held is None or held.grant.claim != claim or held.grant.token != token or not held.durable:
            return Refused("lost", f"token {token} does not hold the lock any more")
        if held.expires <= now:
            return Refused("lost", f"token {token} was not renewed within {held.grant.ttl:g} s")
        self._extend(held, now)
        return Renewed()

    def release(self, name: str, claim: str, now: float, wall: float) -> tuple[Answer, list[Outcome]]:
        """Take back a hold or a wish, and whom that helps."""
        held = self._held.get(name)
        had = held is not None and held.grant.claim == claim
        if had:
            self._drop(name)
        for wish in [wish for wish in self._queues.get(name, ()) if wish.claim == claim]:
            self._forget(name, wish)
        return Released(had), self._settle(name, now, wall)

    def break_(self, name: str, now: float, wall: float) -> list[Outcome]:
        """Take a lock from its holder; the next one has a higher token. Whom that helps."""
        held = self._held.get(name)
        if held is not None and held.durable:
            self._drop(name)
        return self._settle(name, now, wall)

    def leave(self, connection: int, now: float) -> None:
        """That connection ended. Holds stay; wishes keep their place for one ttl, and are passed over meanwhile."""
        for name, queue in self._queues.items():
            for wish in queue:
                if wish.seat is not None and wish.seat[0] == connection:
                    wish.seat, wish.until = None, min(wish.deadline, now + wish.ttl)
                    self._at(wish.until, name)
        for name in self._new:
            held = self._held.get(name)
            if held is not None and held.seat is not None and held.seat[0] == connection:
                held.seat = None

    def tick(self, now: float, wall: float) -> list[Outcome]:
        """Whatever time has ended."""
        outcomes: list[Outcome] = []
        while self._times and self._times[0][0] <= now:
            time, name = heapq.heappop(self._times)
            if self._due.get(name) == time:
                outcomes += self._settle(name, now, wall)
        return outcomes

    def next(self) -> float:
        """When to call ``tick``."""
        return self._times[0][0] if self._times else _NEVER

    def changes(self) -> Changes | None:
        """What is not durable yet; None if everything is."""
        if not self._new and not self._gone:
            return None
        grants = tuple(self._held[name].grant for name in sorted(self._new))
        return Changes(grants, tuple(sorted(self._gone - self._new)), self.token)

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for a row to be written."""
        return bool(self._new)

    def written(self, now: float) -> list[Outcome]:
        """All changes are durable: grants begin, and may be told."""
        outcomes: list[Outcome] = []
        for name in sorted(self._new):
            held = self._held[name]
            self._extend(held, now)
            self._at(held.expires, name)
            if held.seat is not None:
                outcomes.append((held.seat, Granted(held.grant.token, held.grant.ttl)))
                held.seat = None
        self._new.clear()
        self._gone.clear()
        return outcomes

    def unwritten(self, why: str) -> list[Outcome]:
        """Nothing could be written: new grants never were. Their tokens are not used again."""
        outcomes: list[Outcome] = []
        for name in sorted(self._new):
            held = self._held.pop(name)
            self._gone.add(name)  # the row of whoever held it before may still be there
            self._at(_LONG_AGO, name)  # whoever is next may try
            if held.seat is not None:
                outcomes.append((held.seat, Refused("storage", why)))
        self._new.clear()
        return outcomes

    def held(self, now: float, name: str = "") -> Iterator[HeldLock]:
        """What is held, by name."""
        for key in [name] if name else sorted(self._held):
            held = self._held.get(key)
            if held is not None and held.durable and held.expires > now:
                grant = held.grant
                yield HeldLock(
                    key, grant.token, grant.holder, grant.note, grant.ttl, held.expires - now,
                    len(self._queues.get(key, ())), grant.granted,
                )  # fmt: skip

    @property
    def waiting(self) -> int:
        """Wishes that wait."""
        return self._waiting

    def _settle(self, name: str, now: float, wall: float) -> list[Outcome]:
        """End what is over for that name, grant it if it is free, and note when to look again."""
        held = self._held.get(name)
        if held is not None and held.expires <= now:
            self._drop(name)
            held = None
        outcomes: list[Outcome] = []
        for wish in tuple(self._queues.get(name, ())):
            if held is None and wish.seat is not None:
                self._forget(name, wish)
                held = self._grant(name, wish, wall)
            elif wish.deadline <= now or wish.until <= now:
                self._forget(name, wish)
                if wish.seat is not None:
                    outcomes.append((wish.seat, Refused("busy", f"lock {name} is held by {self._holder(name)}")))
        self._tidy(name)
        times = [time for wish in self._queues.get(name, ()) for time in (wish.deadline, wish.until)]
        self._due.pop(name, None)
        self._at(min([held.expires if held is not None else _NEVER, *times]), name)
        return outcomes

    def _holder(self, name: str) -> str:
        held = self._held.get(name)
        return held.grant.holder if held is not None else "nobody"

    def _grant(self, name: str, wish: _Wish, wall: float) -> _Held:
        self.token += 1
        grant = Grant(
            name=name, token=self.token, claim=wish.claim, holder=wish.holder, note=wish.note, ttl=wish.ttl,
            granted=wall,
        )  # fmt: skip
        held = self._held[name] = _Held(grant, seat=wish.seat)
        self._new.add(name)
        return held

    def _extend(self, held: _Held, now: float) -> None:
        held.expires = now + held.grant.ttl

    def _drop(self, name: str) -> None:
        del self._held[name]
        self._new.discard(name)
        self._gone.add(name)

    def _forget(self, name: str, wish: _Wish) -> None:
        self._queues[name].remove(wish)
        self._waiting -= 1

    def _tidy(self, name: str) -> None:
        if not self._queues.get(name, True):
            del self._queues[name]

    def _at(self, time: float, name: str) -> None:
        if time >= self._due.get(name, _NEVER):
            return
        self._due[name] = time
        heapq.heappush(self._times, (time, name))
        if len(self._times) > 2 * len(self._due) + _STALE:
            self._times = [(time, name) for name, time in self._due.items()]
            heapq.heapify(self._times)
