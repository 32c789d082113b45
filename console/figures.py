"""The numbers of a picture as arrays over all hosts and shards: what tables sort and filter by.

The only module of the console that needs numpy; it is loaded with the first picture, never
for the first paint. Each array is made when it is first asked for, once a picture.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from sidestep.autopilot.protocol import HOST_STATES, SHARD_STATES
from sidestep.console.hostrows import HostRow, host_rows
from sidestep.console.query import Words
from sidestep.fleet.machines import HostState
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY, PLANNED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sidestep.console.view import Condition, FleetView

    Floats = NDArray[np.float64]
    Rows = NDArray[np.intp]

#: conditions of hosts, worst first
CONDITIONS: Final[tuple[Condition, ...]] = ("down", "hot", "warming", "stale", "held", "ok")
#: what stands for a time that nobody predicts (s)
NEVER: Final = 1e9


class Figures:
    """Arrays over one FleetView. Rows are those of the view."""

    def __init__(self, view: FleetView) -> None:
        self._seen = weakref.ref(view)  # a ring would keep every picture until the collector comes
        self.hosts, self.shards = len(view.hosts), len(view.shards)

    @property
    def _view(self) -> FleetView:
        view = self._seen()
        if view is None:
            raise ReferenceError("these figures have outlived their picture")
        return view

    def _matrix(self, data: memoryview[float], rows: int, columns: int) -> Floats:
        return np.asarray(data, dtype=np.float64).reshape(rows, columns)

    @cached_property
    def load(self) -> Floats:
        """(H, D) present use as a fraction of what may be handed out; NaN where that is not known."""
        use = self._matrix(self._view.use, self.hosts, len(DIMENSIONS))
        room = self._matrix(self._view.allocatable, self.hosts, len(DIMENSIONS))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(room > 0, use / room, np.nan)
        return np.asarray(found, dtype=np.float64)

    @cached_property
    def risk(self) -> Floats:
        """(H, R) chances of contention."""
        return self._matrix(self._view.risk, self.hosts, PLANNED)

    @cached_property
    def chance(self) -> Floats:
        """(H,) the likeliest of a host's chances; NaN if none is known."""
        known = np.where(np.isnan(self.risk), -1.0, self.risk).max(axis=1, initial=-1.0)
        return np.where(known < 0, np.nan, known)

    @cached_property
    def future(self) -> Floats:
        """(H, R, T, levels) the forecast; no steps where there is none."""
        steps = self._view.frame.future_steps
        return np.frombuffer(self._view.future, dtype="<f2").reshape(self.hosts, PLANNED, steps, 5)

    @cached_property
    def peak(self) -> Floats:
        """(H, R) the highest value ahead at the 0.8 quantile; NaN without a forecast."""
        if not self._view.frame.future_steps:
            return np.full((self.hosts, PLANNED), np.nan)
        return np.asarray(np.fmax.reduce(self.future[:, :, :, 3], axis=2), dtype=np.float64)

    @cached_property
    def _hosts(self) -> dict[int, HostRow]:
        return {}

    def ready(self, hosts: Sequence[int]) -> None:
        """Make the rows of these hosts at once: they are about to be looked at."""
        missing = [host for host in hosts if host not in self._hosts]
        if not missing:
            return
        conditions = [CONDITIONS[at] for at in self.condition[missing].tolist()]
        self._hosts.update(zip(missing, host_rows(self._view, missing, conditions), strict=True))
        self._view.know(dict(zip(missing, conditions, strict=True)))

    def row(self, host: int) -> HostRow:
        """What tables say of one host."""
        if host not in self._hosts:
            self.ready((host,))
        return self._hosts[host]

    @cached_property
    def starts(self) -> Floats:
        """(H,) the unix time at which contention starts; ``NEVER`` past now where none is predicted."""
        found = np.full(self.hosts, self._view.time + NEVER)
        for name, item in self._view.contentions.items():
            if (row := self._view.rows.get(name)) is not None:
                found[row] = item.starts_at
        return found

    @cached_property
    def condition(self) -> Rows:
        """(H,) index into ``CONDITIONS``; as ``FleetView.condition``."""
        view = self._view
        states = np.frombuffer(view.frame.host_state, dtype=np.uint8)
        over = (self.load[:, CPU] > view.threshold(CPU)) | (self.load[:, MEMORY] > view.threshold(MEMORY))
        hot = over | (self.starts < view.time + NEVER)
        warm = np.nan_to_num(self.chance, nan=0.0) >= view.WARMING
        found = np.where(hot, 1, np.where(warm, 2, 5))
        ages = np.asarray(view.age, dtype=np.float64)
        found = np.where((states != HOST_STATES.index(HostState.READY)) | (ages > view.STALE_AFTER), 3, found)
        held = np.array([state in view.HELD for state in HOST_STATES])
        found = np.where(held[states], 4, found)
        return np.where(states == HOST_STATES.index(HostState.DEAD), 0, found).astype(np.intp)

    @cached_property
    def urgency(self) -> Floats:
        """(H,) what hosts are sorted by: time to contention, then those that need a look, then chance.

        Lower comes first. Times are rounded to five seconds, so that a table holds still.
        """
        floor = np.array([0.6, 0.5, 0.0, 0.25, 0.0, 0.0])[self.condition]
        worry = np.maximum(floor, np.round(np.nan_to_num(self.chance, nan=0.0), 2))
        soon = np.where(self.condition == CONDITIONS.index("hot"), 0.0, NEVER * (2 - worry))
        ahead = np.round(np.maximum(0.0, self.starts - self._view.time) / 5) * 5
        return np.where(self.starts < self._view.time + NEVER, ahead, soon)

    @cached_property
    def shard_host(self) -> Rows:
        """(N,) the host's row; below 0 for none."""
        return np.asarray(self._view.shard_host, dtype=np.intp)

    @cached_property
    def shard_use(self) -> Floats:
        """(N, R) cores and bytes."""
        return self._matrix(self._view.shard_use, self.shards, PLANNED)

    @cached_property
    def shard_share(self) -> Floats:
        """(N, R) use as a fraction of what the host may hand out; NaN on no host."""
        room = self._matrix(self._view.allocatable, self.hosts, len(DIMENSIONS))[:, :PLANNED]
        at = np.clip(self.shard_host, 0, max(0, self.hosts - 1))
        if not self.hosts:
            return np.full((self.shards, PLANNED), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((self.shard_host >= 0)[:, None], self.shard_use / room[at], np.nan)

    @cached_property
    def shard_bytes(self) -> Floats:
        """(N,) bytes that a move would carry."""
        return np.asarray(self._view.shard_bytes, dtype=np.float64)

    @cached_property
    def shard_count(self) -> Rows:
        """(H,) shards on each host."""
        placed = self.shard_host[self.shard_host >= 0]
        return np.bincount(placed, minlength=self.hosts)[: self.hosts]

    def keep_places(self, before: Figures) -> None:
        """Take what is known of where shards are: they all are where they were in the picture before."""
        for name in ("shard_host", "shard_count", "_by_host"):
            if (made := vars(before).get(name)) is not None:
                vars(self)[name] = made

    @cached_property
    def _by_host(self) -> tuple[Rows, Rows]:
        order = np.argsort(self.shard_host, kind="stable")
        return order, np.searchsorted(self.shard_host[order], np.arange(-1, self.hosts + 1))

    def shards_of(self, host: int) -> list[int]:
        """The rows of a host's shards, in the fleet's order; empty for a host that is not there."""
        if not 0 <= host < self.hosts:
            return []
        order, edges = self._by_host
        return [int(row) for row in order[edges[host + 1] : edges[host + 2]]]

    @cached_property
    def host_states(self) -> Words:
        """The hosts' conditions as words."""
        return Words(CONDITIONS, self.condition)

    @cached_property
    def shard_states(self) -> Words:
        """The shards' states as words."""
        codes = np.frombuffer(self._view.frame.shard_state, dtype=np.uint8).astype(np.intp)
        return Words(tuple(state.lower() for state in SHARD_STATES), codes)

    @cached_property
    def shard_places(self) -> Words:
        """The shards' hosts as words; "" for none."""
        return Words(("", *self._view.host_names), self.shard_host + 1)
