"""The arithmetic of the baselines: the last value, and the value one season ago."""

from __future__ import annotations

from typing import Final

import numpy as np

from sidestep.forecasting.cores import F64, PanelCore, Rows, Steps, kept

#: no more memory of the size of changes than so many values
MEMORY: Final = 120.0
#: at most so many bins hold the last season, each the mean of its steps
BINS: Final = 288
FLOOR: Final = 1e-6


class PersistenceCore(PanelCore):
    """The last value is the forecast; the spread starts from the size of one-step changes."""

    def __init__(self, series: int, horizon: int, floor: float | None) -> None:
        super().__init__(series, horizon, floor)
        self._last = np.full(series, np.nan)
        self._change = np.zeros(series)
        self._count = np.zeros(series)
        self._stale = np.zeros(series)

    def _learn(self, values: F64) -> None:
        valid = np.isfinite(values)
        known = valid & np.isfinite(self._last)
        with np.errstate(invalid="ignore"):
            square = np.square(values - self._last) / (1.0 + self._stale)
        guess = np.square(0.1 * np.abs(np.nan_to_num(values)))
        self._change = np.where(valid & ~known, guess, self._change)
        self._count = np.where(valid, np.minimum(self._count + 1.0, MEMORY), self._count)
        # Newer values weigh more, so that the first guess is soon forgotten.
        moved = self._change + (square - self._change) * 2.0 / (self._count + 2.0)
        self._change = np.where(known, moved, self._change)
        self._last = np.where(valid, values, self._last)
        self._stale = np.where(valid, 0.0, self._stale + 1.0)

    def _say(self, steps: Steps) -> tuple[F64, F64]:
        floor = np.square(FLOOR * np.abs(self._last)) + 1e-18
        late = steps + self._stale[:, None]
        spread = np.sqrt(np.maximum(self._change, floor)[:, None] * np.sqrt(late))
        spread[~np.isfinite(self._last)] = np.nan
        return np.repeat(self._last[:, None], len(steps), axis=1), spread

    def _freedom(self) -> F64:
        return np.minimum(self._count + 1.0, 30.0)

    def _select(self, rows: Rows) -> None:
        self._last = kept(self._last, rows, np.nan)
        self._change = kept(self._change, rows, 0.0)
        self._count = kept(self._count, rows, 0.0)
        self._stale = kept(self._stale, rows, 0.0)


class SeasonalCore(PersistenceCore):
    """What was measured one season ago is the forecast; persistence until a season was seen.

    The spread is that of errors against the value one season ago, once there are any.
    """

    def __init__(self, series: int, horizon: int, floor: float | None, season: float) -> None:
        super().__init__(series, horizon, floor)
        self._season = max(1.0, float(season))
        self._bins = max(1, min(BINS, round(self._season)))
        self._profile = np.full((series, self._bins), np.nan)
        self._sum = np.zeros(series)
        self._number = np.zeros(series)
        self._miss = np.zeros(series)
        self._missed = np.zeros(series)
        self._open = -1

    def _bin(self, clock: int | Steps) -> Steps:
        """The bin of the season that a step falls into."""
        phase = np.mod(np.asarray(clock, dtype=np.float64), self._season) / self._season
        return np.minimum((phase * self._bins).astype(np.int64), self._bins - 1)

    def _learn(self, values: F64) -> None:
        super()._learn(values)
        now = int(self._bin(self.clock))
        if now != self._open:
            self._close()
            self._open = now
        error = values - self._profile[:, now]
        heard = np.isfinite(error)
        self._missed += heard
        rate = np.where(heard, 1.0 / np.minimum(self._missed, MEMORY).clip(1.0), 0.0)
        self._miss += (np.square(np.where(heard, error, 0.0)) - self._miss) * rate
        valid = np.isfinite(values)
        self._sum += np.where(valid, values, 0.0)
        self._number += valid
        if self._bins >= self._season:
            self._close()
            self._open = -1

    def _close(self) -> None:
        """Put the mean of the bin that just ended into the profile."""
        if self._open >= 0:
            mean = self._sum / np.maximum(self._number, 1.0)
            self._profile[:, self._open] = np.where(self._number > 0, mean, self._profile[:, self._open])
        self._sum = np.zeros(self.series)
        self._number = np.zeros(self.series)

    def _say(self, steps: Steps) -> tuple[F64, F64]:
        median, spread = super()._say(steps)
        ago = self._profile[:, self._bin(self.clock + steps)]
        known = np.isfinite(ago)
        typical = np.sqrt(self._miss)[:, None]
        spread = np.where(known & (self._missed[:, None] >= 10), np.maximum(typical, FLOOR * np.abs(ago)), spread)
        return np.where(known, ago, median), spread

    def _select(self, rows: Rows) -> None:
        super()._select(rows)
        self._profile = kept(self._profile, rows, np.nan)
        for name in ("_sum", "_number", "_miss", "_missed"):
            setattr(self, name, kept(getattr(self, name), rows, 0.0))
