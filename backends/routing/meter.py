"""What a router measures of the requests that pass it: totals, latencies, and the newest calls one by one."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from math import ceil, log
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.invocation_sketch import BINS, GAMMA, SECONDS

#: calls that are kept for whoever asks; at a thousand requests a second that is some seconds
KEPT: Final = 8192
#: words of an answer that are looked at, and the longest of them
_WORDS: Final = 20
_LONGEST: Final = 130
#: how a shard says in its answer what a request cost it, and what its input was like: ``cpu_s=0.002 x.size=12``
COSTS: Final = ("cpu_s", "max_rss")
FEATURE: Final = "x."
_STEP: Final = log(GAMMA)


#: unix time of the end, app, shard, seconds, bytes both ways, and what the shard said of itself
Call = tuple[float, str, str, float, int, dict[str, str]]


class Meter:
    """Totals since the router's start. A latency is the time from the request to its answer, waiting included."""

    def __init__(self) -> None:
        #: names this life of the router, so that nobody subtracts totals of two
        self.run = os.urandom(8).hex()
        self._rows: dict[str, int] = {}
        self._requests = np.zeros(0, dtype=np.int64)
        self._failed = np.zeros(0, dtype=np.int64)
        self._latency: NDArray[np.uint32] = np.zeros((0, BINS), dtype=np.uint32)
        self._calls: deque[tuple[int, Call]] = deque(maxlen=KEPT)
        self._number = count(1)

    def answered(self, app: str, shard: str, end: float, seconds: float, asked: str, words: Sequence[str]) -> None:
        """A request was answered: ``words`` are the whole answer, ``asked`` the whole request."""
        row = self._row(shard)
        self._requests[row] += 1
        self._latency[row, _bin(seconds)] += 1
        length = len(asked) + sum(map(len, words)) + len(words)
        self._calls.append((next(self._number), (end, app, shard, seconds, length, dict(_said(words)))))

    def failed(self, shard: str) -> None:
        """A request was sent, and nobody will answer it."""
        row = self._row(shard)
        self._requests[row] += 1
        self._failed[row] += 1

    def keep(self, shards: frozenset[str]) -> None:
        """Forget shards that are no longer routed to."""
        stay = [name for name in self._rows if name in shards]
        if len(stay) < len(self._rows):
            rows = [self._rows[name] for name in stay]
            self._requests, self._failed = self._requests[rows], self._failed[rows]
            self._latency = self._latency[rows]
            self._rows = {name: row for row, name in enumerate(stay)}

    def report(self, after: int) -> dict[str, Any]:
        """Totals of every shard, and the calls with a number above ``after``; arrays are little-endian bytes.

        ``rows``, ``bins`` and ``counts`` are the bins of latencies that are not empty.
        """
        count = len(self._rows)
        rows, bins = np.nonzero(self._latency[:count])
        return {
            "run": self.run,
            "shards": list(self._rows),
            "requests": self._requests[:count].astype("<i8").tobytes(),
            "failed": self._failed[:count].astype("<i8").tobytes(),
            "rows": rows.astype("<u4").tobytes(),
            "bins": bins.astype("<u2").tobytes(),
            "counts": self._latency[rows, bins].astype("<u4").tobytes(),
            "newest": self._calls[-1][0] if self._calls else 0,
            "calls": [call for number, call in self._calls if number > after],
        }

    def _row(self, shard: str) -> int:
        row = self._rows.get(shard)
        if row is None:
            row = self._rows[shard] = len(self._rows)
            if row >= len(self._requests):
                more = max(16, row)
                self._requests = np.concatenate([self._requests, np.zeros(more, np.int64)])
                self._failed = np.concatenate([self._failed, np.zeros(more, np.int64)])
                self._latency = np.concatenate([self._latency, np.zeros((more, BINS), np.uint32)])
        return row


def _bin(seconds: float) -> int:
    """The bin of one latency, as ``invocation_sketch.bins`` has it."""
    if not seconds > SECONDS:
        return 0
    return min(BINS - 1, ceil(log(seconds / SECONDS) / _STEP - 1e-9))


def _said(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What an answer says of the request's cost and input, as it came."""
    for word in words[:_WORDS]:
        name, equals, value = word.partition("=")
        if equals and len(word) <= _LONGEST and (name in COSTS or name.startswith(FEATURE)):
            yield name, value
