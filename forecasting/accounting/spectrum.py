"""How much structure the recent values of a series have, from the entropy of their spectrum (S5.22).

White noise has a flat spectrum, of the highest entropy: nothing can be foreseen. A random
walk has a steep one, but its *changes* are white noise: nothing can be foreseen beyond where
it is. So both are looked at, the values and their changes, and the lower one counts.

Memory is bounded: a share of the series is collected at a time, those that have waited
longest first; windows that are full are transformed a few at a step.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.accounting.held import F32, Rows, taken

#: values in a window
SPAN: Final = 64
#: the share of all series that is collected at a time, but at least so many
SHARE: Final = 10
_LEAST: Final = 512
#: so many windows are transformed in one step
_AT_ONCE: Final = 512
#: a window with more missing values says nothing
_MISSING: Final = 0.2
#: the expected entropy of a periodogram of white noise is lower than the logarithm of its bins by this
_RAGGED: Final = 1 - 0.5772156649
#: how much of an earlier window's result remains after the next
_REMAINS: Final = 0.6

_TAPER: Final[F32] = np.hanning(SPAN + 2)[1:-1].astype(np.float32)


def structure(values: NDArray[Any]) -> F32:
    """(M,) 0 for noise and walks to 1 for what repeats or climbs, of ``values`` (T, M); NaN with too many missing.

    A series that does not change has all the structure there is. Does not depend on shift or scale.
    """
    missing = ~np.isfinite(values)
    if missing.any():
        values = _filled(values, missing)
    start = values - values[0]
    size = np.abs(start).max(axis=0)
    with np.errstate(invalid="ignore"):
        unit = np.where(size > 0, start / np.where(size > 0, size, 1), 0).astype(np.float32)
    changes = np.diff(unit, axis=0)
    taper = _TAPER[:, None] if len(unit) == SPAN else np.hanning(len(unit) + 2)[1:-1, None].astype(np.float32)
    own = _order((unit - unit.mean(axis=0)) * taper, 1)
    # the changes with their mean: a steady climb is a strong line at frequency 0
    step = _order(changes, 0)
    found = np.where(size > 0, np.minimum(own, step), np.float32(1))
    return np.where(missing.mean(axis=0) > _MISSING, np.float32(np.nan), found).astype(np.float32)


def _order(values: F32, first: int) -> F32:
    """(M,) 1 - entropy of the spectrum over that expected of white noise, cut to 0..1."""
    power = np.square(np.abs(np.fft.rfft(values, axis=0)[first:]))
    total = power.sum(axis=0)
    share = power / np.where(total > 0, total, 1) + 1e-12
    entropy = -(share * np.log(share)).sum(axis=0)
    flat = math.log(len(power)) - _RAGGED
    found: F32 = np.clip(np.where(total > 0, 1 - entropy / flat, 1), 0, 1).astype(np.float32)
    return found


def _filled(values: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    """Missing values take the last known one, or the next where there is none before."""
    at = np.where(missing, -1, np.arange(len(values))[:, None])
    at = np.maximum.accumulate(at, axis=0)
    first = np.argmax(~missing, axis=0)
    at = np.where(at < 0, first, at)
    found: NDArray[Any] = np.nan_to_num(np.take_along_axis(values, at, axis=0))
    return found


class Spectrum:
    """Structure of every series, renewed in turn; ``structure`` is NaN until its first turn."""

    def __init__(self, series: int) -> None:
        self.structure = np.full(series, np.nan, np.float32)
        #: the window in which a series had its last turn, 0 is never
        self._turn = np.zeros(series, np.int32)
        self._window = 1
        self._begin()

    def _begin(self) -> None:
        """Choose who is next: whoever has waited longest."""
        series = len(self._turn)
        count = min(series, max(-(-series // SHARE), _LEAST))
        self._members = (
            np.arange(series, dtype=np.int32)
            if count == series
            else np.argpartition(self._turn, count)[:count].astype(np.int32)
        )
        self._ring = np.full((SPAN, count), np.nan, np.float32)
        self._at = self._done = 0

    def observe(self, truth: F32) -> None:
        """Add one value of every series; NaN is missing."""
        if self._at < SPAN:
            self._ring[self._at] = truth[self._members]
            self._at += 1
            return
        part = slice(self._done, self._done + _AT_ONCE)
        rows = self._members[part]
        found, old = structure(self._ring[:, part]), self.structure[rows]
        mixed = np.where(np.isfinite(old), old + (1 - _REMAINS) * (found - old), found)
        self.structure[rows] = np.where(np.isfinite(found), mixed, old)
        self._turn[rows] = self._window
        self._done += _AT_ONCE
        if self._done >= len(self._members):
            self._window += 1
            self._begin()

    def select(self, rows: Rows) -> None:
        """Keep and reorder series; those that are being collected go on if they are still there."""
        place = np.full(len(self._turn), -1, np.int64)
        place[self._members] = np.arange(len(self._members))
        place[self._members[: self._done]] = -1
        where = taken(place, rows, -1)
        self.structure = taken(self.structure, rows, np.nan)
        self._turn = taken(self._turn, rows, 0)
        members = np.flatnonzero(where >= 0)
        if not len(members):
            self._begin()
            return
        self._members = members.astype(np.int32)
        self._ring = np.ascontiguousarray(self._ring[:, where[members]])
        self._done = 0
