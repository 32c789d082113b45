"""What keeps a pool from flapping: a stabilisation window before anything shrinks, and a largest step (S4.19)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

#: what is left of what was learned of errors after one more decision
FORGET: Final = 0.995
#: decisions that the assumption of a right forecast counts for
ASSUMED: Final = 50.0


class Stabiliser:
    """Remembers what was wanted of ``pools`` pools; ``window`` (P,) is in seconds, ``every`` the time of a tick.

    A pool grows at once, and shrinks to the most that was wanted within its window.
    """

    def __init__(self, window: NDArray[np.floating], every: float) -> None:
        self._window = np.asarray(window, dtype=np.float64)
        length = max(1, int(np.ceil(self._window.max(initial=0.0) / every)) + 1)
        self._wanted = np.zeros((length, len(self._window)), dtype=np.int64)
        self._when = np.full(length, -np.inf)
        self._next = 0

    def hold(self, now: float, wanted: I64) -> I64:
        """(P,) the most that was wanted within each pool's window, now included."""
        self._wanted[self._next], self._when[self._next] = wanted, now
        self._next = (self._next + 1) % len(self._when)
        # a clock that went back forgets nothing: what is ahead of us counts as of now
        recent = (now - self._when)[:, None] < np.maximum(self._window, 1e-9)[None, :]
        return np.asarray(np.maximum(np.where(recent, self._wanted, 0).max(axis=0), wanted))


def step(now: I64, wanted: I64, up: I64, down: I64) -> I64:
    """(P,) ``wanted``, but no further from ``now`` than ``up`` and ``down``; 0 is no limit."""
    free = np.iinfo(np.int64).max // 4
    up, down = np.where(up > 0, up, free), np.where(down > 0, down, free)
    return np.clip(wanted, now - down, now + up)


def bound(wanted: I64, least: I64, most: I64) -> I64:
    """(P,) ``wanted`` between ``least`` and ``most``; where these contradict each other, the upper one holds."""
    return np.asarray(np.minimum(np.maximum(wanted, least), most))


def within(wanted: I64, least: I64, pool: I64, most: I64) -> I64:
    """(A,) what apps want, cut so that the sum of each ``pool`` (A,) is at most ``most`` (P,).

    Every app first gets its ``least`` (A,), as far as all of these fit, then a fair share of the rest of its wish.
    """
    base = _cut(np.minimum(least, wanted), pool, most)
    left = most - np.bincount(pool, base, len(most)).astype(np.int64)
    return np.asarray(base + _cut(wanted - base, pool, left))


def _cut(part: I64, pool: I64, room: I64) -> I64:
    """(A,) the parts, or the same share of each where they do not fit, rounded down."""
    total = np.bincount(pool, part, len(room))
    share = np.where(total > room, room / np.maximum(total, 1), 1.0)
    return np.asarray(np.floor(part * share[pool] + 1e-9), dtype=np.int64)


class Surprise:
    """How much wider than said what came was, of ``pools`` pools: forecasts of several apps may err together."""

    def __init__(self, pools: int) -> None:
        self._squares, self._weight = np.full(pools, ASSUMED), np.full(pools, ASSUMED)
        self._mean, self._sd = np.zeros(pools), np.zeros(pools)

    @property
    def factor(self) -> F64:
        """(P,) by which deviations are to be multiplied; 1 while forecasts are right, and never below a half."""
        return np.asarray(np.maximum(np.sqrt(self._squares / self._weight), 0.5))

    def expect(self, mean: F64, sd: F64) -> None:
        """What is said of the next decision's need (P,)."""
        self._mean, self._sd = mean, sd

    def learn(self, came: F64) -> None:
        """What was needed (P,) since ``expect``."""
        known = self._sd > 0
        error = np.where(known, (came - self._mean) / np.where(known, self._sd, 1.0), 0.0)
        self._squares = np.where(known, FORGET * self._squares + np.minimum(error**2, 100.0), self._squares)
        self._weight = np.where(known, FORGET * self._weight + 1.0, self._weight)
