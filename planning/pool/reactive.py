"""The correction by what is measured, within bounds of its own (S4.20): a forecast may be wrong.

It only ever adds to what the forecast asks for, or takes back what it has added itself; so it can bring a pool
at most ``most`` instances above the forecast, and never below it, unless ``may_shrink`` says that
under-use may take away up to ``most`` as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


class Reactive:
    """The corrections of so many pools; thresholds (P,) are shares of the places that serve."""

    def __init__(
        self, high: NDArray[np.floating], low: NDArray[np.floating], most: I64, may_shrink: NDArray[np.bool_],
        patience: int = 3,
    ) -> None:  # fmt: skip
        self._high, self._low, self._most, self._may_shrink = high, low, most, may_shrink
        self._patience = patience
        self.added = np.zeros(len(most), dtype=np.int64)
        self._forecast = np.zeros(len(most), dtype=np.int64)
        self._quiet = np.zeros(len(most), dtype=np.int64)

    def correct(self, load: F64, serving: I64, places: NDArray[np.floating], forecast: I64) -> I64:
        """(P,) instances to add to ``forecast`` (P,), given ``load`` (P,) places in use on ``serving`` instances.

        At once where there is overload, by what is lacking; back by one after ``patience`` quiet looks, and by as
        much as the forecast has risen since. A load that is not known changes nothing.
        """
        known = np.isfinite(load)
        load = np.where(known, load, 0.0)
        use = load / np.maximum(serving * places, 1e-9)
        over = known & np.where(serving > 0, use > self._high, load > 0)
        under = known & (serving > 0) & (use < self._low)
        self._quiet = np.where(under, self._quiet + 1, np.where(known, 0, self._quiet))
        needed = np.ceil(load / (places * self._high) - 1e-9).astype(np.int64)
        risen = np.where(self.added > 0, np.maximum(forecast - self._forecast, 0), 0)
        kept = np.where(self.added > 0, np.maximum(self.added - risen, 0), self.added)
        added = np.where(over, np.maximum(np.maximum(needed - forecast, kept), 0), kept)
        back = self._quiet >= self._patience
        self._quiet, self._forecast = np.where(back, 0, self._quiet), forecast.copy()
        added = np.where(back, added - 1, added)
        self.added = np.clip(added, np.where(self._may_shrink, -self._most, 0), self._most)
        return self.added.copy()

    def needed(self, load: F64, places: NDArray[np.floating]) -> I64:
        """(P,) instances that hold a measured load without overload; as many as can be where it is not known."""
        never = np.iinfo(np.int64).max // 4
        with np.errstate(invalid="ignore"):
            held = np.ceil(np.nan_to_num(load) / (places * self._high) - 1e-9).astype(np.int64)
        return np.where(np.isfinite(load), held, never)
