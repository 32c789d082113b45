"""The account of every request: sent, acknowledged, late, lost, counted twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: seconds from its planned time after which an answer is late
LATE: Final = 1.0
#: a sequence number beyond this is a damaged answer
_ABSURD: Final = 1 << 30


class _Marks:
    """Which numbers were seen: one bit each."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self.seen = 0

    def mark(self, number: int) -> bool:
        """True if the number is new."""
        spot, bit = number >> 3, 1 << (number & 7)
        if spot >= len(self._bits):
            self._bits.extend(bytes(spot + 1024 - len(self._bits)))
        new = not self._bits[spot] & bit
        self._bits[spot] |= bit
        self.seen += new
        return new

    def above(self, limit: int) -> int:
        """How many numbers over ``limit`` were seen."""
        first, rest = divmod(limit + 1, 8)
        if first >= len(self._bits):
            return 0
        return (self._bits[first] >> rest).bit_count() + sum(b.bit_count() for b in self._bits[first + 1 :])


class _Page:
    """One shard's requests."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.requests = self.acked = self.late = self.unanswered = self.repeated = 0
        self.max_wait = 0.0
        self.marks = _Marks()

    def close(self, total: int | None) -> dict[str, int | float]:
        """The shard's account, given what it says it has applied; None if it cannot be asked."""
        counted = 0 if total is None else total - self.before
        missing = self.acked if total is None else max(self.marks.above(total), self.acked - counted)
        extra = 0 if total is None else max(0, counted - self.acked - self.unanswered)
        return {
            "requests": self.requests,
            "acked": self.acked,
            "late": self.late,
            "lost": self.unanswered + max(0, missing),
            "duplicated": self.repeated + extra,
            "max_wait_ms": round(self.max_wait * 1000, 1),
            "applied": -1 if total is None else counted,
        }


class Ledger:
    """Written while requests come and go, closed once by an audit.

    A shard numbers what it applies without gaps, so that an acknowledged number above its
    total is a lost request, and a number seen twice, or a total above what was sent, is a
    request that counted twice.
    """

    def __init__(self, before: Mapping[str, int]) -> None:
        self._pages = {shard: _Page(count) for shard, count in before.items()}

    def sent(self, shard: str) -> None:
        """A request is on its way."""
        self._pages[shard].requests += 1

    def acked(self, shard: str, number: int, wait: float) -> None:
        """It was answered as the ``number``-th of its shard, ``wait`` seconds after its planned time.

        A shard that a split has brought answers for keys of another; it has a page of its own from then on.
        """
        page = self._pages.get(shard)
        if page is None:
            page = self._pages[shard] = _Page(0)
        page.acked += 1
        page.late += wait > LATE
        page.max_wait = max(page.max_wait, wait)
        if not 0 < number < _ABSURD or not page.marks.mark(number):
            page.repeated += 1

    def unanswered(self, shard: str) -> None:
        """Nobody will answer it any more."""
        self._pages[shard].unanswered += 1

    def standing(self) -> dict[str, Any]:
        """The sums so far; losses and duplicates in the shards' states show only in the audit."""
        pages = self._pages.values()
        return {
            "requests": sum(p.requests for p in pages),
            "acked": sum(p.acked for p in pages),
            "late": sum(p.late for p in pages),
            "lost": sum(p.unanswered for p in pages),
            "duplicated": sum(p.repeated for p in pages),
            "max_wait_ms": round(max((p.max_wait for p in pages), default=0.0) * 1000, 1),
        }

    def close(self, totals: Mapping[str, int | None]) -> dict[str, Any]:
        """The account, reconciled with what every shard says it has applied in all."""
        shards = {shard: page.close(totals.get(shard)) for shard, page in self._pages.items()}
        sums = {
            name: sum(page[name] for page in shards.values())
            for name in ("requests", "acked", "late", "lost", "duplicated")
        }
        longest = max((page["max_wait_ms"] for page in shards.values()), default=0.0)
        return {**sums, "max_wait_ms": longest, "shards": shards}
