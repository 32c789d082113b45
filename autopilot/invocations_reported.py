"""Requests and latencies of shards, as routers count them and runners report them; pure.

A router tells totals, so that a poll that failed loses nothing; runners push invocations one
by one. Both become requests a second and the median and 95th percentile of the latency over
the time between two looks, all shards at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet import invocation_sketch as sketches
from sidestep.fleet.invocations import Invocation
from sidestep.fleet.resources import REPORTED

F64 = NDArray[np.float64]
Counts = NDArray[np.int64]

LATENCIES: Final = (0.5, 0.95)
#: intervals, and at least seconds, after which what was reported is no longer true
STALE_INTERVALS: Final = 3.0
STALE: Final = 5.0


class Reported:
    """What is reported of the shards of a fleet, by row; NaN for shards of which nothing is."""

    def __init__(self, shards: Sequence[str], *, interval: float) -> None:
        self._rows = {name: row for row, name in enumerate(shards)}
        self._count = len(shards)
        self._stale = max(STALE, STALE_INTERVALS * interval)
        self._values: F64 = np.full((0, len(REPORTED)), np.nan)
        self._at: F64 = np.full(0, -np.inf)
        #: the router's totals at the last look, by row of the fleet
        self._run = ""
        self._looked = np.nan
        self._requests: Counts = np.zeros(0, dtype=np.int64)
        self._sketch: NDArray[np.uint32] = np.zeros((0, sketches.BINS), dtype=np.uint32)
        #: what runners pushed since the last look, and which shards they ever named
        self._pushed: dict[int, list[tuple[float, int]]] = {}
        self._pushing: set[int] = set()
        self._closed = np.nan

    def rows(self, names: Sequence[str]) -> Counts:
        """Rows of shards by name, -1 for those that the fleet does not have."""
        return np.array([self._rows.get(name, -1) for name in names], dtype=np.int64)

    def columns(self, now: float) -> F64 | None:
        """(N, len(REPORTED)) at a monotonic time; None while nobody ever reported."""
        if not len(self._values):
            return None
        return np.where((now - self._at <= self._stale)[:, None], self._values, np.nan)

    def totals(self, now: float, run: str, rows: Counts, requests: Counts, sketch: NDArray[np.integer]) -> None:
        """A router's totals: (K,) requests and (K, BINS) latencies in seconds of shards ``rows``.

        ``run`` names the life of the router: totals of another one begin anew.
        """
        self._grow()
        if not len(self._requests):
            self._requests = np.zeros(self._count, dtype=np.int64)
            self._sketch = np.zeros((self._count, sketches.BINS), dtype=np.uint32)
        known = rows >= 0
        rows, requests, sketch = rows[known], requests[known], sketch[known].astype(np.uint32)
        seconds = now - self._looked
        if run != self._run:
            self._run, seconds = run, np.nan
        before = self._requests[rows]
        fresh = requests - before
        self._looked = now
        if seconds > 0:
            # Of a shard whose totals fell there is no rate for one look.
            good = fresh >= 0
            latencies = (sketch - self._sketch[rows]).astype(np.int64)
            self._values[rows[~good]] = np.nan
            self._set(rows[good], now, fresh[good] / seconds, latencies[good])
        # A router counts a shard from 0 when it first routes to it.
        self._requests[:], self._sketch[:] = 0, 0
        self._requests[rows], self._sketch[rows] = requests, sketch

    def tell(self, now: float, rows: Counts, values: F64, *, lasts: float) -> None:
        """(K, len(REPORTED)) of shards ``rows`` from another source; NaN leaves what was there.

        It counts as long as anything else, and at least for ``lasts`` seconds.
        """
        self._grow()
        rows, values = rows[rows >= 0], values[rows >= 0]
        known = np.isfinite(values)
        fresh = known.any(axis=1)
        rows, values, known = rows[fresh], values[fresh], known[fresh]
        held = np.where((now - self._at[rows] <= self._stale)[:, None], self._values[rows], np.nan)
        self._values[rows] = np.where(known, values, held)
        self._at[rows] = now + max(0.0, lasts - self._stale)

    def push(self, batch: Sequence[Invocation]) -> None:
        """Invocations that runners reported by themselves; counted at the next ``close``."""
        for each in batch:
            row = self._rows.get(each.shard, -1)
            if row >= 0:
                self._pushed.setdefault(row, []).append((each.wall_s, each.n))

    def close(self, now: float) -> None:
        """Make rates of what was pushed since the last time; silence of those who push is a rate of 0."""
        seconds, self._closed = now - self._closed, now
        self._pushing |= self._pushed.keys()
        pushed, self._pushed = self._pushed, {}
        if not self._pushing or not seconds > 0:
            return
        self._grow()
        rows = np.array(sorted(self._pushing), dtype=np.int64)
        counts = np.zeros((len(rows), sketches.BINS), dtype=np.int64)
        for place, row in enumerate(rows.tolist()):
            if row in pushed:
                walls, n = zip(*pushed[row], strict=True)
                counts[place] = sketches.sketch(np.array(walls), sketches.SECONDS, np.array(n))
        self._set(rows, now, counts.sum(axis=1) / seconds, counts)

    def _set(self, rows: Counts, now: float, rate: F64, latencies: Counts) -> None:
        self._values[rows, 0] = rate
        self._values[rows, 1:] = sketches.quantiles(latencies, LATENCIES, sketches.SECONDS)
        self._at[rows] = now

    def _grow(self) -> None:
        if not len(self._values):
            self._values = np.full((self._count, len(REPORTED)), np.nan)
            self._at = np.full(self._count, -np.inf)
