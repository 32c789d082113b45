"""Round-trip times between hosts: few are measured, the others estimated from them (S1.16, S2.5). Pure.

Every host remembers its newest few peers. A pair that was not measured lately is estimated
from coordinates: every host has a place and a height above it, so chosen that distances of
places plus both heights are what was measured (Vivaldi; Dabek et al. 2004). Where a host has
too few measurements for a place, the median of its zones answers, else that of the fleet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: peers that a host remembers, and seconds after which a measurement is no longer true
PEERS: Final = 8
FRESH: Final = 6 * 3600.0
#: how an estimate came to be, best first
SOURCES: Final = ("measured", "coordinates", "zones", "fleet", "unknown")
_DIMENSIONS: Final = 3
#: measurements of a host from which it has a place
PLACED: Final = 3
#: rounds of moving places after every batch, and how far one goes
_ROUNDS: Final = 40
_STEP: Final = 0.3
#: how far a place is drawn to the middle of its zone in a round: hosts of one zone are usually near
_PULL: Final = 0.05
#: no round trip is shorter, in seconds, or believed to be longer
LEAST: Final = 1e-6
MOST: Final = 60.0


class Estimates(Struct, frozen=True):
    """For each asked pair: seconds (P,), index into SOURCES (P,), and age in seconds (P,), NaN if not measured."""

    seconds: F64
    source: NDArray[np.int8]
    age: F64


class RoundTrips:
    """What is known of the round trips between ``zones``-many hosts; both directions are one pair."""

    def __init__(self, zones: Sequence[str], *, seed: int = 0) -> None:
        count = len(zones)
        names = {name: number for number, name in enumerate(dict.fromkeys(zones))}
        self._zone = np.array([names[zone] for zone in zones], dtype=np.int64)
        self._zones = max(1, len(names))
        self.peer = np.full((count, PEERS), -1, dtype=np.int64)
        self.seconds = np.full((count, PEERS), np.nan)
        self.at = np.full((count, PEERS), -np.inf)
        # places begin apart, or they would never part
        self._place = np.random.default_rng(seed).normal(0, 1e-4, (count, _DIMENSIONS))
        self._height = np.full(count, 1e-4)

    def __len__(self) -> int:
        return len(self.peer)

    def record(self, ones: I64, others: I64, seconds: F64, now: float) -> None:
        """Take measurements of pairs at one time; what is NaN, of a host with itself, or absurd, is left out."""
        ones, others = np.asarray(ones, dtype=np.int64), np.asarray(others, dtype=np.int64)
        seconds = np.asarray(seconds, dtype=np.float64)
        good = (ones != others) & (seconds >= 0) & (seconds <= MOST)
        for one, other, took in zip(ones[good].tolist(), others[good].tolist(), seconds[good].tolist(), strict=True):
            self._put(one, other, max(took, LEAST), now)
        if good.any():
            self._settle(now)

    def pairs(self, now: float) -> tuple[I64, I64, F64, F64]:
        """Measured pairs that are still true: hosts, seconds, ages in seconds."""
        rows, slots = np.nonzero((self.peer >= 0) & (now - self.at <= FRESH))
        return rows, self.peer[rows, slots], self.seconds[rows, slots], now - self.at[rows, slots]

    def between(self, ones: I64, others: I64, now: float) -> Estimates:
        """What a round trip between these hosts takes, as well as is known."""
        ones, others = np.asarray(ones, dtype=np.int64), np.asarray(others, dtype=np.int64)
        seconds = np.full(len(ones), np.nan)
        source = np.full(len(ones), SOURCES.index("unknown"), dtype=np.int8)
        rows, peers, took, _ = self.pairs(now)
        if len(rows):
            seconds[:], source[:] = float(np.median(took)), SOURCES.index("fleet")
            medians = self._medians(rows, peers, took)[self._zone[ones], self._zone[others]]
            seconds = np.where(np.isnan(medians), seconds, medians)
            source[~np.isnan(medians)] = SOURCES.index("zones")
            placed = self._placed(rows, peers)
            both = placed[ones] & placed[others]
            seconds = np.where(both, self._distance(ones, others), seconds)
            source[both] = SOURCES.index("coordinates")
        measured, age = self._measured(ones, others, now)
        known = ~np.isnan(measured)
        source[known | (ones == others)] = SOURCES.index("measured")
        seconds = np.where(ones == others, 0.0, np.where(known, measured, seconds))
        return Estimates(seconds, source, age)

    def matrix(self, now: float) -> F64:
        """(H, H) seconds, symmetric, 0 on the diagonal, NaN where nothing is known; for up to a few thousand hosts."""
        count = len(self)
        ones, others = np.divmod(np.arange(count * count, dtype=np.int64), max(count, 1))
        return self.between(ones, others, now).seconds.reshape(count, count)

    def _put(self, one: int, other: int, seconds: float, now: float) -> None:
        """In the row of the one that asked; a pair that is there from the other side is replaced, too."""
        back = np.flatnonzero(self.peer[other] == one)
        if len(back):
            self.at[other, back] = -np.inf
            self.peer[other, back] = -1
        mine = np.flatnonzero(self.peer[one] == other)
        slot = int(mine[0]) if len(mine) else int(np.argmin(self.at[one]))
        self.peer[one, slot], self.seconds[one, slot], self.at[one, slot] = other, seconds, now

    def _measured(self, ones: I64, others: I64, now: float) -> tuple[F64, F64]:
        """(P,) seconds and ages of the newest measurement in either direction, NaN for none."""
        seconds, newest = np.full(len(ones), np.nan), np.full(len(ones), -np.inf)
        for here, there in ((ones, others), (others, ones)):
            match = (self.peer[here] == there[:, None]) & (now - self.at[here] <= FRESH)
            slot = np.argmax(match, axis=1)
            found = match.any(axis=1) & (self.at[here, slot] > newest)
            seconds[found], newest[found] = self.seconds[here[found], slot[found]], self.at[here[found], slot[found]]
        return seconds, np.where(np.isfinite(newest), now - newest, np.nan)

    def _medians(self, rows: I64, peers: I64, took: F64) -> F64:
        """(Z, Z) median between hosts of two zones, NaN where nothing was measured."""
        made = np.full((self._zones, self._zones), np.nan)
        low = np.minimum(self._zone[rows], self._zone[peers])
        high = np.maximum(self._zone[rows], self._zone[peers])
        key = low * self._zones + high
        order = np.lexsort((took, key))
        key, took = key[order], took[order]
        kinds, start, count = np.unique(key, return_index=True, return_counts=True)
        middle = (took[start + (count - 1) // 2] + took[start + count // 2]) / 2
        one, other = np.divmod(kinds, self._zones)
        made[one, other] = made[other, one] = middle
        return made

    def _placed(self, rows: I64, peers: I64) -> NDArray[np.bool_]:
        count = np.bincount(np.concatenate([rows, peers]), minlength=len(self))
        return np.asarray(count >= PLACED)

    def _distance(self, ones: I64, others: I64) -> F64:
        apart = np.linalg.norm(self._place[ones] - self._place[others], axis=1)
        return np.asarray(apart + self._height[ones] + self._height[others])

    def _centres(self) -> F64:
        """(Z, dimensions) the middle of every zone."""
        total = np.zeros((self._zones, _DIMENSIONS))
        np.add.at(total, self._zone, self._place)
        return np.asarray(total / np.bincount(self._zone, minlength=self._zones)[:, None])

    def _settle(self, now: float) -> None:
        """Move places towards what was measured; the relative error counts, so that near hosts are told apart."""
        rows, peers, took, _ = self.pairs(now)
        ends = np.concatenate([rows, peers])
        degree = np.maximum(np.bincount(ends, minlength=len(self)), 1)
        for _ in range(_ROUNDS):
            apart = self._place[rows] - self._place[peers]
            length = np.linalg.norm(apart, axis=1)
            said = length + self._height[rows] + self._height[peers]
            pull = (took - said) * np.minimum(1.0, took / np.maximum(said, LEAST)) ** 0.5
            push = (pull / np.maximum(length, 1e-9))[:, None] * apart
            move = np.zeros_like(self._place)
            np.add.at(move, rows, push)
            np.add.at(move, peers, -push)
            lift = np.bincount(rows, pull, len(self)) + np.bincount(peers, pull, len(self))
            self._place += _STEP * move / degree[:, None]
            if self._zones > 1:
                self._place += _PULL * (self._centres()[self._zone] - self._place)
            self._height = np.maximum(self._height + 0.5 * _STEP * lift / degree, LEAST)
