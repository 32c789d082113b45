"""The rows that lessons are about: how their model takes surprises up, and how noisy they are.

A model that adapts takes part of an occasion's effect into its own level while the occasion
runs: what is missing from its forecast is then the effect less what it has taken up. From
one-step errors alone, ``taken`` follows that part: how far the model's next forecast follows
each error is measured where errors are large, and is the row's usual share ``gain`` where they
are small.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]

#: gain that is assumed, and with how much weight (of errors of one deviation)
GAIN: Final = 0.4
PRIOR: Final = 10.0
#: steps that the noise is learned from, and that the gain is remembered
LATELY: Final = 500.0
MEMORY: Final = 5000.0
#: errors beyond so many deviations teach nothing more about the noise
WILD: Final = 5.0
#: one error counts for no more than so many deviations when the gain is learned
HUGE: Final = 50.0
#: steps until the noise is believed
WARM: Final = 8
#: an error of so many deviations is as much measured as assumed
LARGE: Final = 3.0
_FIELDS: Final = ("noise", "seen", "taken", "_kept", "_top", "_bottom", "_error", "_said")


class Tracked:
    """Columns over the rows that have lessons; ``codes`` (R,) ascending name them through layouts."""

    def __init__(self) -> None:
        self.codes: Ints = np.zeros(0, dtype=np.int64)
        #: where in the panel, -1 for absent
        self.rows: Ints = np.zeros(0, dtype=np.int64)
        #: variance of one-step errors, how many were seen, and what the model has taken up
        self.noise, self.seen, self.taken = np.zeros(0), np.zeros(0), np.zeros(0)
        #: share of it that is kept in a step; 0 where nothing is under way
        self._kept = np.zeros(0)
        self._top, self._bottom = np.zeros(0), np.zeros(0)
        self._error, self._said = np.zeros(0), np.zeros(0)

    def become(self, codes: Ints, rows: Ints) -> None:
        """Track these (unique, ascending) from now on; what is known of those that stay is kept."""
        at = np.searchsorted(self.codes, codes)
        at = np.minimum(at, max(0, len(self.codes) - 1))
        old = self.codes[at] == codes if len(self.codes) else np.zeros(len(codes), dtype=np.bool_)
        for name in _FIELDS:
            fresh = np.nan if name in {"_error", "_said"} else 0.0
            column = np.full(len(codes), fresh)
            column[old] = getattr(self, name)[at[old]]
            setattr(self, name, column)
        self.codes, self.rows = codes, rows

    @property
    def gain(self) -> F64:
        """(R,) share of an error that stays in the next forecast."""
        return np.clip((self._top + GAIN * PRIOR) / (self._bottom + PRIOR), 0.0, 1.0)

    def read(self, values: NDArray[np.floating]) -> F64:
        """(R,) of the panel's values (S,), NaN for rows that are absent."""
        if not len(values):
            return np.full(len(self.rows), np.nan)
        return np.where(self.rows >= 0, values[np.maximum(self.rows, 0)], np.nan).astype(np.float64)

    def learn(self, truth: F64, expected: F64) -> F64:
        """Take a step (S,) of the panel; returns its errors (R,), NaN where either is missing."""
        said = self.read(expected)
        error = self.read(truth) - said
        error = np.where(np.isfinite(error), error, np.nan)
        scale = np.sqrt(self.noise)
        with np.errstate(invalid="ignore", divide="ignore"):
            before = np.clip(self._error / scale, -HUGE, HUGE)
            answer = np.clip((said - self._said) / scale, -HUGE, HUGE)
        good = np.isfinite(before) & np.isfinite(answer) & (self.seen >= WARM)
        weight = np.where(good, before * before, 0.0)
        self._top += np.where(good, weight * before * np.nan_to_num(answer), 0.0) - self._top / MEMORY
        self._bottom += np.where(good, weight * np.nan_to_num(before) ** 2, 0.0) - self._bottom / MEMORY
        self.taken = self.next_taken(said)
        self._error, self._said = error, said
        known = np.isfinite(error)
        square = np.where(known, error * error, 0.0)
        square = np.where(self.seen >= WARM, np.minimum(square, WILD**2 * self.noise), square)
        self.seen += known
        rate = np.where(known, 1.0 / np.clip(self.seen, 1.0, LATELY), 0.0)
        # What is constant to the last bit still has a noise above nothing, and finds back from it.
        floor = np.where(np.isfinite(said), (1e-5 * np.abs(np.nan_to_num(said))) ** 2, 0.0) + 1e-18
        self.noise = np.maximum(self.noise + rate * (square - self.noise), floor)
        return error

    def next_taken(self, said: F64 | None = None) -> F64:
        """(R,) what will have been taken up when the model says ``said`` (R,) of the next step; None: not known."""
        error = np.nan_to_num(self._error)
        share = self.gain
        if said is not None:
            large = error * error / (error * error + LARGE**2 * np.maximum(self.noise, 1e-18))
            with np.errstate(invalid="ignore", divide="ignore"):
                followed = np.clip((said - self._said) / self._error, 0.0, 1.0)
            share = np.where(np.isfinite(followed), large * followed + (1.0 - large) * share, share)
        return np.asarray((self.taken + error * share) * self._kept)

    def under_way(self, busy: NDArray[np.bool_], window: F64) -> None:
        """On which rows something is under way, and for how many steps the longest of it goes on (R,).

        What was taken up long before, in windows, is the level by then and is forgotten.
        """
        self._kept = np.where(busy, 1.0 - 0.5 / np.maximum(window, 1.0), 0.0)
        self.taken = np.where(busy, self.taken, 0.0)
