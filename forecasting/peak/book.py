"""Chances that one can act on: what is said is held until it comes due, and learned from.

A chance of contention within the window is said from the model's raw chance and from signs of the
series' own past, by a regression that the whole fleet teaches. It is mixed with the raw chance and
with the climatology by how right each was. Only what was said of a series that was *not* over at
that time counts for skill: that what is over stays over is no foresight.

A series is ``proven`` when on this very series the chances have beaten the climatology: over at
least 20 independent windows with 3 events, the mean gain in Brier score less one standard error is
above 0 (then for as long as the mean gain itself is). A series that never has an event is never
proven: there was nothing to foresee, and a high chance on it would be the first of its kind.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.peak import prior
from sidestep.forecasting.peak.mixture import Mixture
from sidestep.forecasting.peak.pool import Pool, log_odds
from sidestep.forecasting.peak.record import Record
from sidestep.forecasting.peak.signs import NAMES, Signs

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: chances are held at so many instants of a window; between them nothing is learned
HELD: Final = 12
#: windows of which less than this share is known teach nothing, unless it came
KNOWN: Final = 0.5
#: independent windows of the fleet's climatology that a series begins with, and those it remembers
_GUESS: Final = 4.0
_MEMORY: Final = 500.0
#: the climatology of a fleet that has seen nothing, when not over and when over
_FIRST: Final = (0.05, 0.7)


class Said(NamedTuple):
    """What was said of all series at one instant."""

    clock: int
    #: (n, F + 1) signs and the raw chance's log-odds
    signs: NDArray[np.float32]
    #: (3, n) chances: raw, learned, plain
    chances: NDArray[np.float32]
    #: (n,) the one that was given out
    given: NDArray[np.float32]
    #: (n,) whether the series was over, whether anything was known, and how many values had been seen
    over: Mask
    usable: Mask
    seen: F64


class ChanceBook:
    """``rows`` series with one limit each; ``window``, ``duration`` and ``season`` (0 is none) in steps.

    Every step: ``settle`` what is true, then ``say``. State is bounded (below 5 KB a series) and
    the cost of a step does not depend on the past.
    """

    def __init__(self, rows: int, window: int, duration: int, season: float = 0.0) -> None:
        """Raises ValueError for a window or a duration that is not positive."""
        if window < 1 or duration < 1:
            raise ValueError(f"window {window} and duration {duration} must be positive")
        self.window, self.duration = window, min(duration, window)
        self._stride = max(1, window // HELD)
        share = self._stride / window
        self._share = share
        self.signs = Signs(rows, window, season)
        self._pools = tuple(Pool(rows, start, prior.SCALE, share) for start in (prior.QUIET, prior.OVER))
        self._mixtures = (Mixture(rows, share), Mixture(rows, share))
        self.record = Record(rows, share)
        self._said: list[Said] = []
        self._clock = 0
        self._fresh(rows)

    def _fresh(self, rows: int) -> None:
        self._run, self._hot_at = np.zeros(rows), np.full(rows, -np.inf)
        self._over: Mask = np.zeros(rows, np.bool_)
        self._limit = np.full(rows, np.nan)
        self._rates = np.zeros((2, 2, rows))

    def settle(self, truth: NDArray[np.floating], limit: NDArray[np.floating]) -> None:
        """One closed step: ``truth`` (n,) is NaN where missing; ``limit`` (n,) NaN or infinite where there is none.

        Raises ValueError if they are not of this book's series.
        """
        if truth.shape != self._run.shape or limit.shape != self._run.shape:
            raise ValueError(f"{truth.shape} values and {limit.shape} limits for {len(self._run)} series")
        value: F64 = np.where(np.isfinite(truth), truth, np.nan).astype(np.float64)
        self._limit = np.where(np.isfinite(limit), limit, np.nan).astype(np.float64)
        self._clock += 1
        with np.errstate(invalid="ignore"):
            over = value > self._limit
        # A missing value neither ends a run nor lengthens it.
        self._run = np.where(over, self._run + 1, np.where(np.isnan(value), self._run, 0.0))
        self._hot_at = np.where(over & (self._run >= self.duration), float(self._clock), self._hot_at)
        self._over = self._run > 0
        self.signs.observe(value, over)
        while self._said and self._said[0].clock + self.window <= self._clock:
            self._learn(self._said.pop(0))

    def prime(self, truth: NDArray[np.floating], limit: NDArray[np.floating]) -> None:
        """Several closed steps (K, n) of the past, oldest first: signs are learned, chances were not said."""
        for row in np.asarray(truth, np.float64):
            self.settle(row, limit)

    def say(self, raw: NDArray[np.floating]) -> tuple[F64, Mask]:
        """(n,) the chance of contention within the window, and whether this series' chances are proven.

        ``raw`` (n,) is the model's own, NaN where it has none. NaN is said where neither model nor past
        know anything; where there is no limit, 0.
        """
        raw = np.clip(np.asarray(raw, np.float64), 0.0, 1.0)
        limited = np.isfinite(self._limit)
        known = np.isfinite(raw)
        usable = limited & known & (self.signs.seen > 0)
        plain = self._climatology()
        chance = np.where(known, raw, plain)
        signs = np.concatenate([self.signs.at(np.where(limited, self._limit, 0.0)), log_odds(chance)[:, None]], axis=1)
        learned = np.where(self._over, self._pools[1].chance(signs), self._pools[0].chance(signs))
        chances = np.stack([chance, learned, plain])
        ripe = self.signs.seen / self.window
        weights = np.where(self._over, self._mixtures[1].weights(ripe), self._mixtures[0].weights(ripe))
        given = (weights * chances).sum(axis=0)
        if self._clock % self._stride == 0 and (not self._said or self._said[-1].clock < self._clock):
            small = signs.astype(np.float32), chances.astype(np.float32), given.astype(np.float32)
            self._said.append(Said(self._clock, *small, self._over, usable, self.signs.seen.copy()))
        found = np.where(usable, given, np.where(known & ~limited, 0.0, np.where(known, raw, np.nan)))
        return found, self.record.proven & usable

    def _climatology(self) -> F64:
        """(n,) how often it came so far, of this series, shrunken towards that of the fleet."""
        events, windows = self._rates
        fleet = (events.sum(axis=1) + np.array(_FIRST) * _GUESS) / (windows.sum(axis=1) + _GUESS)
        rate = (events + _GUESS * fleet[:, None]) / (windows + _GUESS)
        return np.asarray(np.where(self._over, rate[1], rate[0]), dtype=np.float64)

    def _learn(self, said: Said) -> None:
        """Something has come due."""
        came = self._hot_at >= said.clock + self.duration
        heard = self.signs.seen - said.seen
        due = said.usable & (came | (heard >= KNOWN * self.window))
        for regime, where in enumerate((due & ~said.over, due & said.over)):
            if not where.any():
                continue
            self._pools[regime].learn(said.signs, came, where)
            self._mixtures[regime].learn(said.chances.astype(np.float64), came, where)
            fade = np.where(where, 1 - self._share / _MEMORY, 1.0)
            fresh = np.stack([where & came, where]).astype(np.float64)
            self._rates[:, regime] = self._rates[:, regime] * fade + self._share * fresh
        quiet = due & ~said.over
        self.record.learn(said.given.astype(np.float64), said.chances[2].astype(np.float64), came, quiet)

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder series; -1 is one of which nothing was seen or said."""
        rows = np.asarray(rows, np.int64)
        self.signs.select(rows)
        self.record.select(rows)
        for pool, mixture in zip(self._pools, self._mixtures, strict=True):
            pool.select(rows)
            mixture.select(rows)
        kept = rows >= 0
        old = (self._run, self._hot_at, self._over, self._limit, self._rates)
        self._fresh(len(rows))
        fresh = (self._run, self._hot_at, self._over, self._limit, self._rates)
        for before, after in zip(old, fresh, strict=True):
            after[..., kept] = before[..., rows[kept]]
        self._said = [_selected(said, rows) for said in self._said]


def _selected(said: Said, rows: NDArray[np.int64]) -> Said:
    kept = rows >= 0
    here = rows[kept]
    blank = np.zeros(len(rows), np.bool_)
    over, usable, seen = blank.copy(), blank.copy(), np.zeros(len(rows))
    over[kept], usable[kept], seen[kept] = said.over[here], said.usable[here], said.seen[here]
    signs = np.zeros((len(rows), said.signs.shape[1]), np.float32)
    chances, given = np.zeros((3, len(rows)), np.float32), np.zeros(len(rows), np.float32)
    signs[kept], chances[:, kept], given[kept] = said.signs[here], said.chances[:, here], said.given[here]
    return Said(said.clock, signs, chances, given, over, usable, seen)


SIGNS: Final = (*NAMES, "raw")
