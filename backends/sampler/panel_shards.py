"""The rows of shards in a panel: which host's rows are where, kept while their names stay."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.backends.sampler.protocol import SHARD_COLUMNS
from sidestep.fleet.labels import Label

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
WIDTH: Final = len(SHARD_COLUMNS)


class ShardRows:
    """Rows of shards, host after host, those of a host sorted by name."""

    def __init__(self, hosts: int) -> None:
        self._of: list[tuple[Label, ...]] = [()] * hosts
        self.names: tuple[Label, ...] = ()
        self.host: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self.values: F64 = np.empty((0, WIDTH))
        self.rates: F64 = np.empty((0, WIDTH))
        #: how many rows each host has, and the first of them
        self.counts: I64 = np.zeros(hosts, dtype=np.int64)
        self.starts: I64 = np.zeros(hosts, dtype=np.int64)
        #: rises when the rows changed
        self.layout = 0

    def rename(self, changed: Mapping[int, tuple[Label, ...]]) -> None:
        """Give hosts new names of shards; a shard that stays on its host keeps its numbers."""
        changed = {row: names for row, names in changed.items() if names != self._of[row]}
        if not changed:
            return
        old = _Old(self._of.copy(), self.starts, self.counts, self.values, self.rates)
        self.counts = self.counts.copy()
        for row, names in changed.items():
            self._of[row] = names
            self.counts[row] = len(names)
        self.starts = np.cumsum(self.counts) - self.counts
        self.names = tuple(chain.from_iterable(self._of))
        self.host = np.repeat(np.arange(len(self._of), dtype=np.int32), self.counts)
        kept = old.rows(self.starts, self.counts, changed)
        self.values, self.rates = old.taken(old.values, kept), old.taken(old.rates, kept)
        self.layout += 1

    def rows(self, hosts: I64) -> tuple[I64, I64]:
        """All rows of these hosts in their order, and for each the place of its host in ``hosts``."""
        return spread(self.starts[hosts], self.counts[hosts])


def spread(starts: I64, counts: I64) -> tuple[I64, I64]:
    """start, start + 1, ... ``count`` of them, for every pair; and which pair each is of."""
    of = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    before = np.cumsum(counts) - counts
    return np.arange(len(of), dtype=np.int64) + (starts - before)[of], of


class _Old:
    """The rows of before, to carry numbers over."""

    def __init__(self, names: list[tuple[Label, ...]], starts: I64, counts: I64, values: F64, rates: F64) -> None:
        self.names, self.starts, self.counts, self.values, self.rates = names, starts, counts, values, rates

    def rows(self, starts: I64, counts: I64, changed: Mapping[int, tuple[Label, ...]]) -> I64:
        """For every new row the one that it had; -1 for a shard that was not on that host."""
        rows, _ = spread(self.starts, counts)
        for host, names in changed.items():
            start = int(self.starts[host])
            known = {name: start + place for place, name in enumerate(self.names[host])}
            first = int(starts[host])
            rows[first : first + len(names)] = [known.get(name, -1) for name in names]
        return rows

    @staticmethod
    def taken(numbers: F64, rows: I64) -> F64:
        new = np.full((len(rows), WIDTH), np.nan)
        kept = rows >= 0
        new[kept] = numbers[rows[kept]]
        return new
