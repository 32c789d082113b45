"""Codes of rows that stay the same when rows of the panel come, go and move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.occasions import Occasion
from sidestep.fleet.resources import HOST_SERIES, SHARD_SERIES
from sidestep.forecasting.calendar.layout import Layout

Ints = NDArray[np.int64]

#: a code is the number of its owner times this, and the metric
METRICS: Final = 8


class Owners:
    """Numbers for ``host NAME`` and ``shard NAME`` that have pairs."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._number: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The number of an owner, a new one for a name that is not known."""
        found = self._number.get(name)
        if found is None:
            found = self._number[name] = len(self.names)
            self.names.append(name)
        return found

    def rows(self, codes: Ints, layout: Layout) -> Ints:
        """The row of each code, -1 for one that is not in the panel."""
        owners = codes // METRICS
        start = np.full(len(self.names) + 1, -1, dtype=np.int64)
        for owner in np.unique(owners).tolist():
            start[owner] = layout.start(self.names[owner])
        return np.where(start[owners] >= 0, start[owners] + codes % METRICS, -1)

    def away(self, lesson: Ints, code: Ints, occasions: Sequence[Occasion], layout: Layout) -> NDArray[np.bool_]:
        """(P,) pairs of a host's timer with a shard that is on another host now."""
        found = np.zeros(len(code), dtype=np.bool_)
        if layout.homes is None or not len(code):
            return found
        owner = code // METRICS
        homes = np.full(len(self.names), -1, dtype=np.int64)
        shard = np.zeros(len(self.names), dtype=np.bool_)
        first = len(layout.hosts) * len(HOST_SERIES)
        for each in np.unique(owner).tolist():
            if self.names[each].startswith("shard "):
                shard[each] = True
                row = layout.start(self.names[each])
                if row >= 0:
                    homes[each] = layout.homes[(row - first) // len(SHARD_SERIES)]
        for at in np.unique(lesson[shard[owner]]).tolist():
            if occasions[at].hosts:
                mine = (lesson == at) & shard[owner]
                found |= mine & ~np.isin(homes[owner], layout.hosts_of(occasions[at]))
        return found


def codes_of(occasion: Occasion, layout: Layout, owners: Owners, *, deep: bool) -> Ints:
    """Rows that an occasion may touch; of a timer the shards only once it was seen to touch its host."""
    hosts = layout.hosts_of(occasion)
    shards = layout.shards_of(occasion, hosts) if deep or occasion.kind == "event" else np.zeros(0, dtype=np.int64)
    codes: list[Ints] = []
    for names, rows, metrics in (
        ([f"host {layout.hosts[at]}" for at in hosts.tolist()], hosts, len(HOST_SERIES)),
        ([f"shard {layout.shards[at]}" for at in shards.tolist()], shards, len(SHARD_SERIES)),
    ):
        if len(rows):
            numbers = np.array([owners.number(name) for name in names], dtype=np.int64)
            codes.append((numbers[:, None] * METRICS + np.arange(metrics)).reshape(-1))
    return np.concatenate(codes) if codes else np.zeros(0, dtype=np.int64)
