"""What the past of a series says about its next window, beside the forecast: a few numbers a step.

Everything is kept in the series' own unit and compared with the limit only when it is asked
for, in units of the series' own recent spread: so a limit may change, and a fleet of small and
big hosts is one population. Memories are multiples of the window, so that minutes and hours of
horizon are alike. Constant time a step, bounded state, no loop over series.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

#: what the columns of ``Signs.at`` are, in order
NAMES: Final = (
    "now", "mean_3", "mean_third", "mean_1", "mean_4", "mean_12", "top_third", "top_1", "top_2", "top_4",
    "day_top_half", "day_top", "days_top_half", "days_top", "day_mean", "days_mean", "above_day", "above_days",
    "rough", "jumps", "habit_jumps", "q05", "q50", "q95", "since_half", "since_4", "since_24", "onsets_6",
    "onsets_24", "hour", "base",
)  # fmt: skip
#: the day is kept in so many slots, how often it was over in so many hours
SLOTS: Final = 96
HOURS: Final = 48
#: highest values of so many parts of a window are kept, for four windows
PARTS: Final = 6
_RING: Final = 4 * PARTS
_LEVELS: Final = np.array([[0.05], [0.5], [0.95]])
#: how much of a new day goes into the days before
_NEW_DAY: Final = 0.3


def squashed(values: NDArray[np.floating]) -> F64:
    """Signed logarithm: straight near 0, slow far away."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)), dtype=np.float64)


class Signs:
    """State of ``rows`` series; ``window`` and ``season`` (0 is none) are steps."""

    def __init__(self, rows: int, window: int, season: float = 0.0) -> None:
        self.window, self.season = window, season
        self.clock = 0
        self._rates = np.array([1 / 3, min(1.0, 3 / window), 1 / window, 1 / (4 * window), 1 / (12 * window)])[:, None]
        self._slow = np.array([1 / (2 * window), 1 / (12 * window)])[:, None]
        self._part = max(1, window // PARTS)
        self._slots = int(min(SLOTS, season)) if season >= 2 * window else 0
        self._slot, self._hour = -1, -1
        self._fresh(rows)

    def _fresh(self, rows: int) -> None:
        self.seen = np.zeros(rows)
        self._last = np.zeros(rows)
        self._means, self._quantiles = np.zeros((5, rows)), np.zeros((3, rows))
        self._square, self._jump = np.zeros((2, rows)), np.zeros((2, rows))
        self._parts, self._top = np.full((_RING, rows), np.nan, np.float32), np.full(rows, np.nan)
        self._tops = np.full((2, self._slots, rows), np.nan, np.float32)
        self._levels = np.full((2, self._slots, rows), np.nan, np.float32)
        self._slot_top, self._slot_sum, self._slot_count = np.full(rows, np.nan), np.zeros(rows), np.zeros(rows)
        self._over, self._known = np.zeros((2, HOURS, rows), np.float32)
        self._since, self._was = np.full(rows, np.inf), np.zeros(rows, np.bool_)
        self._onsets = np.zeros((2, rows))

    def observe(self, truth: F64, over: NDArray[np.bool_]) -> None:
        """Let one step pass; ``truth`` (n,) is NaN where missing, ``over`` says where it is above the limit."""
        known = np.isfinite(truth)
        value = np.where(known, truth, self._means[0])
        new = known & (self.seen == 0)
        if new.any():
            self._means[:, new] = self._quantiles[:, new] = value[new]
            self._last[new] = value[new]
        self.seen += known
        heard = np.maximum(self.seen, 1.0)
        self._means += np.maximum(self._rates, 1 / heard) * (value - self._means)
        rate = np.maximum(self._slow, 1 / np.maximum(heard, 2.0))
        self._square += rate * (np.square(value - self._means[3:]) - self._square)
        self._jump += rate * (np.abs(value - self._last) - self._jump)
        self._last = value
        step = np.maximum(1 / (8 * self.window), 1 / np.maximum(heard, 3.0)) * 2 * np.sqrt(self._square[1])
        self._quantiles += step * (_LEVELS - (value < self._quantiles))
        self._count(known, over)
        self.clock += 1
        self._keep(np.where(known, truth, np.nan), known)

    def _count(self, known: NDArray[np.bool_], over: NDArray[np.bool_]) -> None:
        self._since = np.where(over, 0.0, self._since + 1)
        onset = over & ~self._was
        self._was = np.where(known, over, self._was)
        rate = np.array([[1 / (6 * self.window)], [1 / (24 * self.window)]])
        self._onsets += rate * (onset * float(self.window) - self._onsets)
        hour = self._hour_at(self.clock)
        if hour != self._hour:
            # A month of days is remembered.
            self._over[hour] *= 1 - 1 / 30
            self._known[hour] *= 1 - 1 / 30
            self._hour = hour
        self._over[hour] += over
        self._known[hour] += known

    def _keep(self, value: F64, known: NDArray[np.bool_]) -> None:
        self._top = np.fmax(self._top, value)
        if self.clock % self._part == 0:
            self._parts[self.clock // self._part % _RING] = self._top
            self._top = np.full(len(value), np.nan)
        if not self._slots:
            return
        slot = self._slot_at(self.clock)
        if slot != self._slot and self._slot >= 0:
            self._close(self._slot)
        self._slot = slot
        self._slot_top = np.fmax(self._slot_top, value)
        self._slot_sum += np.where(known, value, 0.0)
        self._slot_count += known

    def _close(self, slot: int) -> None:
        """A slot of the day is over: it is yesterday's, and goes into those before."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(self._slot_count > 0, self._slot_sum / self._slot_count, np.nan)
        for kept, found in ((self._tops, self._slot_top), (self._levels, mean)):
            before = kept[1, slot]
            mixed = np.where(np.isnan(before), found, before + _NEW_DAY * (found - before))
            kept[1, slot] = np.where(np.isnan(found), before, mixed)
            kept[0, slot] = np.where(np.isnan(found), kept[0, slot], found)
        self._slot_top[:] = np.nan
        self._slot_sum[:] = 0.0
        self._slot_count[:] = 0.0

    def _slot_at(self, clock: int) -> int:
        return int(clock % self.season / self.season * self._slots) % self._slots

    def _hour_at(self, clock: int) -> int:
        return int(clock % self.season / self.season * HOURS) % HOURS if self._slots else 0

    def at(self, limit: F64) -> F64:
        """(n, len(NAMES)) the signs now, against ``limit`` (n,), which must be finite."""
        spread = np.sqrt(self._square[1]) + 1e-3 * np.abs(self._means[1]) + 1e-12

        def near(values: NDArray[np.floating]) -> F64:
            return squashed((np.where(np.isnan(values), self._means[3], values) - limit) / spread)

        recent = [self._recent(parts) for parts in (2, PARTS, 2 * PARTS, 4 * PARTS - 2)]
        tops, levels, past = self._day(recent[1])
        since = [np.exp(-self._since / (k * self.window)) for k in (0.5, 4.0, 24.0)]
        columns = [
            near(self._last),
            *(near(mean) for mean in self._means),
            *(near(top) for top in recent),
            *(near(each) for each in (*tops, *levels)),
            *(squashed(np.nan_to_num((self._means[2] - each) / spread)) for each in past),
            squashed(np.sqrt(self._square[0]) / spread),
            *(squashed(jump / spread) for jump in self._jump),
            *(near(quantile) for quantile in self._quantiles),
            *since,
            *self._onsets,
            *self._habits(),
        ]
        return np.stack(columns, axis=1)

    def _recent(self, parts: int) -> F64:
        now = self.clock // self._part
        rows = self._parts[[(now - back) % _RING for back in range(parts)]]
        return np.asarray(np.fmax(self._top, np.fmax.reduce(rows, axis=0)), dtype=np.float64)

    def _day(self, recent: F64) -> tuple[list[F64], list[F64], list[F64]]:
        """Highest and mean values of the days before: in the next window, and in the last one."""
        if not self._slots:
            return [recent] * 4, [self._means[2]] * 2, [self._means[2]] * 2
        whole, half = self._ahead(self.window), self._ahead(max(1, self.window // 2))
        tops = [np.fmax.reduce(self._tops[age][slots], axis=0) for age in (0, 1) for slots in (half, whole)]
        tops = [np.where(np.isnan(top), recent, top) for top in tops]
        with np.errstate(invalid="ignore"):
            levels = [self._levels[age][whole].mean(axis=0) for age in (0, 1)]
            behind = self._ahead(-self.window)
            past = [self._levels[age][behind].mean(axis=0) for age in (0, 1)]
        return tops, [np.where(np.isnan(each), self._means[2], each) for each in levels], past

    def _ahead(self, steps: int) -> list[int]:
        """The slots of the next ``steps`` steps, of the last ones if negative."""
        each = max(1.0, self.season / self._slots)
        count = int(np.ceil(abs(steps) / each))
        now = self._slot_at(self.clock + (1 if steps > 0 else 0))
        return [(now + at if steps > 0 else now - 1 - at) % self._slots for at in range(count)]

    def _habits(self) -> tuple[F64, F64]:
        """Logarithms of how often it is over at this time of day, and at any."""
        over, known = (each.sum(axis=0).astype(np.float64) for each in (self._over, self._known))
        base = (over + 0.5) / (known + 20.0)
        if not self._slots:
            return np.log(base + 1e-3), np.log(base)
        hours = {self._hour_at(self.clock + self.window * part // 2) for part in (0, 1, 2)}
        some = list(hours)
        weight = 0.5 * self.window
        here = (self._over[some].sum(axis=0) + weight * base) / (self._known[some].sum(axis=0) + weight)
        return np.log(here + 1e-3), np.log(base)

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder series; -1 is one that was never seen."""
        old = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        kept, here = rows >= 0, np.maximum(rows, 0)
        self._fresh(len(rows))
        for name, value in old.items():
            fresh = getattr(self, name)
            if name not in ("_rates", "_slow") and len(value.T):
                fresh[..., kept] = value[..., here[kept]]
