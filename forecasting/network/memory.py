"""What is remembered of every series: constant in the length of its history, updated a whole fleet at a time.

Arrays are (k, S) float32, so that one step of time is a handful of contiguous row operations.
Values are kept relative to a series' first one: a shift of all values changes nothing. No
series looks at another, and nothing depends on the order of rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: newest values, every one of them
RECENT: Final = 32
#: sparser picks of raw values, so many in each ring
PICKS: Final = 48
#: steps between picks of the finer ring; the coarser one covers a season
STRIDE: Final = 4
#: slots that a season is cut into
SLOTS: Final = 96
#: steps that a window covers where there is no season
WINDOW: Final = 300
#: rates of the running means, quick to slow
RATES: Final = np.array([0.5, 0.2, 0.08, 0.03, 0.01], np.float32)[:, None]
#: the running mean that is the location of a series
CENTRE: Final = 1
#: rates of the two variances about the slowest mean, and their shares in the scale
SPREADS: Final = np.array([0.03, 0.003], np.float32)[:, None]
SHARES: Final = (0.7, 0.3)
#: lags over which changes are remembered, and how quickly they are forgotten
LAGS: Final = (1, 4, 16, 60)
FORGET: Final = 0.03
#: share of the newest season in the profile
PROFILE: Final = 0.3
#: levels of the window's quantiles
LEVELS: Final = (0.01, 0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99)
#: the window is sorted anew every so many steps, and at every step while a series is young
SORTED: Final = 4
#: no value is farther from the first one than this, so that its square is a number
MOST: Final = 1e17
EVERY: Final = slice(None)
_ROWS: Final = (
    "anchor", "seen", "stale", "gap", "recent", "means", "spread", "change", "season_error", "picks_fine",
    "picks_wide", "peaks_fine", "window", "yesterday", "profile", "highest", "usual", "slot_sum", "slot_count",
    "slot_max",
)  # fmt: skip


class Memory:
    """``series`` rows; ``season`` is its length in steps, 0 for none."""

    def __init__(self, series: int, season: float = 0.0) -> None:
        self.season = float(season)
        self.slots = max(1, min(SLOTS, int(self.season))) if self.season > 1 else 0
        self.reach = max(PICKS, int(self.season) if self.slots else WINDOW)
        self.wide = max(STRIDE, -(-self.reach // PICKS))
        self.clock = 0
        self._empty(series)

    def _empty(self, count: int) -> None:
        def rows(number: int, value: float = np.nan) -> F32:
            return np.full((number, count), value, np.float32)

        self.series = count
        self.anchor: F64 = np.full((1, count), np.nan)
        #: valid values so far, steps since the last one, share of missing ones lately
        self.seen, self.stale, self.gap = rows(1, 0), rows(1, 0), rows(1, 0)
        self.recent, self.means, self.spread = rows(RECENT), rows(len(RATES), 0), rows(len(SPREADS), 0)
        #: mean absolute change over LAGS; that of the seasonal value's error, smooth, moved to the level, and as it was
        self.change, self.season_error = rows(len(LAGS), 0), rows(3, 0)
        self.picks_fine, self.picks_wide, self.peaks_fine = rows(PICKS), rows(PICKS), rows(PICKS)
        self.window = rows(len(LEVELS), 0)
        self.yesterday, self.profile = rows(self.slots), rows(self.slots)
        self.highest, self.usual = rows(self.slots), rows(self.slots)
        self.slot_sum, self.slot_count, self.slot_max = rows(1, 0), rows(1, 0), rows(1, -np.inf)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return sum(getattr(self, name).nbytes for name in _ROWS)

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder series; -1 makes one that has seen nothing."""
        old, index = rows >= 0, np.maximum(rows, 0)
        kept = {name: getattr(self, name)[:, index] if self.series else None for name in _ROWS}
        self._empty(len(rows))
        for name, values in kept.items():
            if values is not None:
                getattr(self, name)[:, old] = values[:, old]

    # --- time -------------------------------------------------------------------------

    def observe(self, values: NDArray[np.floating]) -> None:
        """Let one step pass and learn its values (S,); NaN is missing."""
        valid = np.isfinite(values)
        first = valid & (self.seen[0] == 0)
        if first.any():
            self.anchor[0, first] = values[first]
        y = np.clip(values - self.anchor[0], -MOST, MOST).astype(np.float32)
        if first.any():
            self.means[:, first] = 0.0
        whole = bool(valid.all())
        self.stale[0] = 0.0 if whole else np.where(valid, 0.0, self.stale[0] + 1)
        self.gap[0] += np.float32(0.02) * ((~valid) - self.gap[0])
        seasonal = self.seasonal(0) if self.slots else None
        self._learn(y, valid, whole, seasonal)
        self._keep(y)
        self.clock += 1
        self._sort()

    def _learn(self, y: F32, valid: NDArray[np.bool_], whole: bool, seasonal: F32 | None) -> None:
        """The running statistics; rows without a value keep theirs."""
        self.seen[0] += valid
        young = 1.0 / np.maximum(self.seen, 1.0)
        x = y if whole else np.where(valid, y, 0.0)
        off = valid.astype(np.float32) if not whole else np.float32(1.0)
        before = self.means[-1]
        error = x - before
        rates = np.maximum(SPREADS, np.minimum(1.0, 1.0 / np.maximum(self.seen - 1.0, 1.0)))
        # Welford's product of the errors before and after, so that few values do not look narrow
        after = error * (1 - np.maximum(RATES[-1], young[0]))
        square = error * after
        self.spread += off * rates * (square - self.spread) * (self.seen > 1)
        self.means += off * np.maximum(RATES, young) * (x - self.means)
        for row, lag in enumerate(LAGS):
            then = self.back(lag - 1)
            moved = np.abs(y - then)
            rate = np.maximum(FORGET, young[0])
            np.copyto(moved, self.change[row], where=~np.isfinite(moved))
            self.change[row] += rate * (moved - self.change[row])
        if seasonal is not None:
            level = seasonal + self.means[CENTRE] - self.level_then()
            for row, said in enumerate((seasonal, level, self.last_season(0))):
                miss = np.abs(y - said)
                np.copyto(miss, self.season_error[row], where=~np.isfinite(miss))
                known = self.season_error[row]
                self.season_error[row] = np.where(known == 0, miss, known + FORGET * (miss - known))

    def _keep(self, y: F32) -> None:
        """The rings and the season's slots."""
        self.recent[self.clock % RECENT] = y
        if self.clock % STRIDE == 0:
            at = (self.clock // STRIDE) % PICKS
            self.picks_fine[at] = y
            self.peaks_fine[at] = y
        else:
            at = (self.clock // STRIDE) % PICKS
            np.fmax(self.peaks_fine[at], y, out=self.peaks_fine[at])
        if self.clock % self.wide == 0:
            self.picks_wide[(self.clock // self.wide) % PICKS] = y
        if self.slots:
            self._keep_slot(y)

    def _keep_slot(self, y: F32) -> None:
        valid = np.isfinite(y)
        self.slot_sum[0] += np.where(valid, y, 0.0)
        self.slot_count[0] += valid
        np.fmax(self.slot_max[0], y, out=self.slot_max[0])
        slot = self.slot(0)
        if self.slot(1) == slot:
            return
        known = self.slot_count[0] > 0
        mean = self.slot_sum[0] / np.maximum(self.slot_count[0], 1)
        for ring, slow, value in (
            (self.yesterday, self.profile, mean),
            (self.highest, self.usual, self.slot_max[0]),
        ):
            ring[slot] = np.where(known, value, ring[slot])
            fresh = np.isnan(slow[slot])
            moved = np.where(fresh, value, slow[slot] + PROFILE * (value - slow[slot]))
            slow[slot] = np.where(known, moved, slow[slot])
        self.slot_sum[0], self.slot_count[0], self.slot_max[0] = 0.0, 0.0, -np.inf

    def _sort(self) -> None:
        """Quantiles of the window: all values while young, else equally spaced picks of it."""
        due = self.clock % SORTED == 0
        young = self.seen[0] < PICKS
        if due:
            rows = None
        elif young.any():
            rows = np.flatnonzero(young)
        else:
            return
        if rows is not None and len(rows) == self.series:
            rows = None
        age = self.seen[0] if rows is None else self.seen[0, rows]

        def part(ring: F32) -> F32:
            return ring if rows is None else ring[:, rows]

        reach = PICKS * STRIDE if self.wide > STRIDE else np.inf
        groups = (
            (age <= RECENT, self.recent),
            ((age > RECENT) & (age <= reach), self.picks_fine),
            (age > reach, self.picks_wide),
        )
        for chosen, ring in groups:
            if not chosen.any():
                continue
            every = bool(chosen.all())
            source = part(ring) if every else part(ring)[:, chosen]
            found = quantiles(np.sort(source.T, axis=1), LEVELS).T
            if rows is None and every:
                self.window[:] = np.where(np.isfinite(found), found, self.window)
            else:
                target = np.flatnonzero(chosen) if rows is None else rows[chosen]
                self.window[:, target] = np.where(np.isfinite(found), found, self.window[:, target])

    # --- looking back -----------------------------------------------------------------

    def back(self, steps: int) -> F32:
        """(S,) the value ``steps`` steps before the newest one kept; NaN if it is missing or too far back."""
        at = self.clock - 1 - steps
        if at < 0:
            return np.full(self.series, np.nan, np.float32)
        if steps < RECENT:
            return np.asarray(self.recent[at % RECENT])
        at -= at % STRIDE
        return np.asarray(self.picks_fine[(at // STRIDE) % PICKS])

    def slot(self, ahead: int) -> int:
        """The season's slot of the step ``ahead`` of the open one."""
        return int(((self.clock + ahead) % self.season) * self.slots / self.season + 1e-6) % self.slots

    def seasonal(self, ahead: int, ring: F32 | None = None, take: slice | NDArray[np.int64] = EVERY) -> F32:
        """(S,) the smoothed value of the last season for the step ``ahead`` of the open one; NaN where unseen."""
        ring = self.yesterday if ring is None else ring
        at = self.slot(ahead)
        here, before, after = ring[at, take], ring[at - 1, take], ring[(at + 1) % self.slots, take]
        found = _smooth(here, before + after)
        if np.isnan(found).any():
            found = _smooth(here, np.where(np.isnan(before), here, before) + np.where(np.isnan(after), here, after))
        return found

    def last_season(self, ahead: int) -> F32:
        """(S,) the value one season before the step ``ahead`` of the open one: its own if every step has a slot."""
        return np.asarray(self.yesterday[self.slot(ahead)]) if self.slots == self.season else self.seasonal(ahead)

    def level_then(self) -> F32:
        """(S,) what yesterday's profile says of the step just passed."""
        return self.seasonal(-1)

    def scale(self) -> F32:
        """(S,) how far values usually stray from their mean; 0 for a series that never changed."""
        return np.asarray(np.sqrt(np.maximum(SHARES[0] * self.spread[0] + SHARES[1] * self.spread[1], 0.0)))

    def wander(self) -> F32:
        """(S,) how changes grow with time: 0 where four steps move as far as one does, 1 from a walk on."""
        one, four = self.change[0], self.change[1]
        grown = (one > 0) & (four > one)
        ratio = np.divide(four, one, out=np.ones_like(one), where=grown)
        return np.asarray(np.minimum(np.log2(ratio), np.float32(1.0)))

    def last(self) -> F32:
        """(S,) the newest value, or the quick mean where it is missing; relative to the anchor."""
        newest = self.back(0)
        return np.where(np.isfinite(newest), newest, self.means[0])


def _smooth(here: F32, sides: F32) -> F32:
    sides *= np.float32(0.25)
    sides += here * np.float32(0.5)
    return sides


def quantiles(ordered: F32, levels: tuple[float, ...]) -> F32:
    """(S, Q) of ascending rows (S, K) with NaN at the end, by lines between order statistics.

    Plotting positions are k / (n + 1), so that few values say nothing certain of the tails; beyond
    the outermost values the nearest two are carried on by at most half their distance.
    """
    count = np.isfinite(ordered).sum(axis=1).astype(np.float32)
    place = np.asarray(levels, np.float32)[None, :] * (count[:, None] + 1.0) - 1.0
    low = np.clip(np.floor(place), 0, np.maximum(count - 2, 0)[:, None]).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0)[:, None].astype(np.int64))
    left = np.take_along_axis(ordered, low, 1)
    right = np.take_along_axis(ordered, high, 1)
    part = np.clip(place - low, -0.5, 1.5)
    return np.asarray(left + (right - left) * part)
