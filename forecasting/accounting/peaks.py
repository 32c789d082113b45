"""Peaks: the highest value of a window as it was said, against the highest that came.

Plans act on peaks, so they are scored by themselves: for hosts only, one window of each
length in flight. The simple rule to beat is that the last window's peak comes again.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.accounting.held import Held, Rows, taken
from sidestep.forecasting.accounting.ledger import FORECASTS
from sidestep.forecasting.accounting.scores import LEVELS, ROUNDING, Scores, pinball, ratio, scaled, skill_of

#: a window of which more was missing is not scored
_MISSING: Final = 0.2
_N, _ERROR, _PLAIN, _COMPARED, _IN80, _IN95, _LOSS, _BIAS = range(8)
_MIDDLE: Final = LEVELS.index(0.5)
_SIDES: Final = [at for at in range(len(LEVELS)) if at != _MIDDLE]


class PeakLedger:
    """Accounts of predicted peaks of ``series`` series over windows of so many steps, ascending."""

    def __init__(self, series: int, windows: tuple[int, ...]) -> None:
        self.windows = np.array(windows, np.int64)
        self.levels = LEVELS
        self._clock = 0
        self._held = [Held(series, int(window), len(_SIDES)) for window in windows]
        shape = (len(windows), series)
        #: since the forecast in flight was taken: the highest value so far, and how many were missing
        self._high = np.full(shape, np.nan, np.float32)
        self._missing = np.zeros(shape, np.int32)
        self._last = np.full(shape, np.nan, np.float32)
        self._sums = np.zeros((8, *shape), np.float32)

    @property
    def series(self) -> int:
        """S, the number of series."""
        return int(self._last.shape[1])

    def wants(self) -> NDArray[np.bool_]:
        """(W,) which windows the next ``settle`` will hold; the others may be NaN then."""
        return np.array([held.pace.takes(self._clock + 1) for held in self._held])

    def settle(self, truth: NDArray[Any], said: NDArray[Any]) -> None:
        """Add this step to the windows under way, score those that end with it, and take new ones.

        ``truth`` is (S,), NaN is missing; ``said`` (S, W, 5) the quantiles at ``levels`` of the
        highest value within the next ``windows`` steps, of which this one is not part.
        """
        self._clock += 1
        with np.errstate(over="ignore"):
            came = np.asarray(truth).astype(np.float32)
        for at, held in enumerate(self._held):
            self._high[at] = np.fmax(self._high[at], came)
            self._missing[at] += ~np.isfinite(came)
            if held.pace.due(self._clock):
                self._score(at, held)
            # nothing is said from within a hole: the next that is said is held
            if held.pace.takes(self._clock) and np.isfinite(said[:, at, _MIDDLE]).any():
                with np.errstate(over="ignore"):
                    now = np.asarray(said[:, at]).astype(np.float32).T
                held.keep(self._clock, now[_MIDDLE], now[_SIDES])
                self._high[at], self._missing[at] = np.nan, 0

    def _score(self, at: int, held: Held) -> None:
        peak = np.where(self._missing[at] <= _MISSING * held.pace.ahead, self._high[at], np.float32(np.nan))
        away, offsets = peak - held.median, held.offsets()
        slack = ROUNDING * np.abs(peak)
        error, plain = np.abs(away), np.abs(peak - self._last[at])
        error[error <= slack] = 0.0
        valid, compared = np.isfinite(error), np.isfinite(error) & np.isfinite(plain)
        loss = error / 2
        for side, level in enumerate(_SIDES):
            loss = loss + pinball(away - offsets[side], LEVELS[level])
        inside = [(away >= offsets[a] - slack) & (away <= offsets[b] + slack) for a, b in ((1, 2), (0, 3))]
        # skill holds both to the same windows: of the first one nothing came before
        parts = (valid, np.where(compared, error, 0), plain, compared, *inside, loss * 2 / len(LEVELS), -away)
        for column, part in enumerate(parts):
            counts = compared if column in (_ERROR, _PLAIN, _COMPARED) else valid
            kept = np.where(counts, np.float32(1 - 1 / FORECASTS), np.float32(1))
            self._sums[column, at] = self._sums[column, at] * kept + np.where(counts, part, np.float32(0))
        self._last[at] = np.where(np.isfinite(peak), peak, self._last[at])

    def scores(self) -> Scores:
        """Every series and window as columns (S, W); ``horizons`` are the windows.

        Pinball is in units of how much the peak differs from one window to the next.
        """
        sums, n = self._sums, self._sums[_N]
        scale = ratio(sums[_PLAIN], sums[_COMPARED])
        columns = (
            n,
            skill_of(sums[_ERROR], sums[_PLAIN], sums[_COMPARED]),
            ratio(sums[_IN80], n),
            ratio(sums[_IN95], n),
            scaled(sums[_LOSS], n, np.nan_to_num(scale)),
            ratio(sums[_ERROR], sums[_COMPARED]),
            ratio(sums[_BIAS], n),
        )
        return Scores(self.windows, *(np.ascontiguousarray(c.T, dtype=np.float32) for c in columns))

    def select(self, rows: Rows) -> None:
        """Keep and reorder series; -1 is one that is new."""
        rows = np.asarray(rows)
        for held in self._held:
            held.select(rows)
        self._high = taken(self._high, rows, np.nan)
        self._missing = taken(self._missing, rows, 0)
        self._last = taken(self._last, rows, np.nan)
        self._sums = taken(self._sums, rows, 0)
