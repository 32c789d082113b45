"""What forecasts were worth: every one is held until its time and compared with what came."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.forecast_types import Account
from sidestep.fleet.labels import scrub
from sidestep.forecasting.calibrate import Pending, ladder

F64 = NDArray[np.float64]

#: forecasts per host and horizon over which an account goes back, roughly
WINDOW: Final = 300.0
#: the band that is scored: its levels, 80 %
BAND: Final = (0.1, 0.5, 0.9)
#: no skill is worse than this, so that one still host cannot drown the others
WORST: Final = -10.0


class Accounts:
    """One model beside persistence, over ``rows`` series (hosts' cpu), at a ladder of horizons."""

    def __init__(self, model: str, rows: int, horizon: int) -> None:
        self.model = model
        self.horizons = ladder(horizon)
        self._clock = 0
        self._said = Pending(self.horizons, (2, len(BAND), rows))
        #: discounted sums (2, rows, B): absolute error and hits of model and persistence
        self._error = np.zeros((2, rows, len(self.horizons)))
        self._inside = np.zeros((2, rows, len(self.horizons)))
        self._number = np.zeros((rows, len(self.horizons)))
        self.scored = 0

    def settle(self, truth: F64, model: F64, persistence: F64) -> None:
        """Score what was said about this step, then keep what is said now.

        ``truth`` is (rows,); the forecasts are (rows, B, 3) at ``horizons`` and ``BAND``.
        """
        self._clock += 1
        now = np.stack([model, persistence]).transpose(0, 3, 1, 2)
        due = self._said.swap(self._clock, now)
        low, median, high = due[:, 0], due[:, 1], due[:, 2]
        error = np.abs(truth[None, :, None] - median)
        valid = np.isfinite(error).all(axis=0)
        # f4 in the ring: a value on the edge of a band of no width is inside it
        slack = 1e-6 * np.abs(truth)[None, :, None]
        with np.errstate(invalid="ignore"):
            hit = (truth[None, :, None] >= low - slack) & (truth[None, :, None] <= high + slack)
        keep = np.where(valid, 1 - 1 / WINDOW, 1.0)
        self._error = self._error * keep + np.where(valid, error, 0.0)
        self._inside = self._inside * keep + (hit & valid)
        self._number = self._number * keep + valid
        self.scored += int(valid.sum())

    def skill(self) -> float:
        """1 - error / error of persistence, over all horizons, median over hosts; NaN before anything was scored."""
        return _median(_skills(self._error.sum(axis=2), self._number.sum(axis=1)))

    def depth(self) -> float:
        """How often the farthest horizon was scored lately, median over hosts."""
        return float(np.median(self._number[:, -1])) if len(self._number) else 0.0

    def by_horizon(self) -> tuple[tuple[int, float, float], ...]:
        """(steps ahead, skill, share inside the 80 % band) for every horizon that was scored."""
        rows = []
        for b, horizon in enumerate(self.horizons):
            count = self._number[:, b].sum()
            if count > 0:
                skill = _median(_skills(self._error[:, :, b], self._number[:, b]))
                rows.append((int(horizon), skill, float(self._inside[0, :, b].sum() / count)))
        return tuple(rows)

    def rows(self) -> tuple[Account, ...]:
        """The model's account, and that of persistence."""
        count = self._number.sum()
        inside = self._inside.sum(axis=(1, 2)) / count if count else (np.nan, np.nan)
        own = Account(model=scrub(self.model), skill=self.skill(), coverage=float(inside[0]), scored=self.scored)
        plain = Account(
            model=scrub("persistence"),
            skill=0.0 if count else float("nan"),
            coverage=float(inside[1]),
            scored=self.scored,
        )
        return (plain,) if self.model == "persistence" else (own, plain)

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder rows; -1 is a host that is new."""
        self._said.select(rows)
        index, new = np.maximum(rows, 0), rows < 0
        self._error, self._inside = self._error[:, index], self._inside[:, index]
        self._number = self._number[index]
        self._error[:, new], self._inside[:, new], self._number[new] = 0.0, 0.0, 0.0


def _skills(error: F64, number: F64) -> F64:
    """(rows,) skill of every row, NaN for one that was never scored; ``error`` is (2, rows)."""
    model, plain = error
    with np.errstate(invalid="ignore", divide="ignore"):
        skill = np.where(plain > 0, 1 - model / plain, np.where(model > 0, WORST, 0.0))
    return np.where(number > 0, np.maximum(skill, WORST), np.nan)


def _median(values: F64) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
