"""What every slot will ask for at the worst moment to come, by the oracle's own models.

A series for each of 16384 slots would be noise; one for each node would break whenever slots move. So series are of
cells of neighbouring slots, whoever has them, and a cell's forecast is divided among its slots as its demand has been.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.backends.redis_cluster.balance import Demand
from sidestep.backends.redis_cluster.ranges import SLOTS
from sidestep.backends.redis_cluster.topology import Owners
from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.sums import summed
from sidestep.forecasting.dense import core_of
from sidestep.forecasting.horizon import steps_ahead

#: slots of one series
CELL: Final = 64
#: of the newest reading in how a cell's demand is divided among its slots
NEWEST: Final = 0.2
#: readings before a forecast is more than a guess
FEWEST: Final = 8
#: steps ahead that are looked at, at most
MOST: Final = 12
F64 = NDArray[np.float64]


class Outlook(Struct, frozen=True, kw_only=True):
    """Cores: ``now`` and ``peak`` of each master, float64[masters]; ``slots``: what each is of its master's peak.

    ``ahead``: seconds to the peak of each.

    Without a forecast (too little is known, or none was wanted) the peak is now, and ``ahead`` is 0.
    """

    now: F64
    peak: F64
    ahead: F64
    slots: Demand
    predicted: bool


class Foresight:
    """Learns readings at a fixed step, and says what is to come.

    ``quantile``: how sure; ``rho``: correlation of any two cells' errors; ``season``: seconds, 0 for none.
    """

    def __init__(
        self, step: float, horizon: float, *, model: str = "aggregate", quantile: float = 0.9, rho: float = 0.3,
        season: float = 0.0,
    ) -> None:  # fmt: skip
        self.step, self.quantile, self.rho = step, quantile, rho
        self.steps = steps_ahead(horizon, step)
        self._core = core_of(model, season / step if season > 0 else 0.0, self.steps, SLOTS // CELL)
        #: cores: how demand has been divided, and of each cell what there is now
        self._slots: Demand = np.zeros(SLOTS)
        self._now: F64 = np.zeros(SLOTS // CELL)
        self.known = 0

    def learn(self, cpu: Demand) -> None:
        """One reading: cores of every slot, NaN where it is not known."""
        cells = cpu.reshape(-1, CELL)
        known = np.isfinite(cells)
        total = np.where(known.any(axis=1), np.where(known, cells, 0.0).sum(axis=1), np.nan)
        self._core.observe(total.astype(np.float32))
        values = np.where(np.isfinite(cpu), cpu, self._slots)
        self._slots = values if not self.known else self._slots + NEWEST * (values - self._slots)
        self._now = np.where(np.isfinite(total), total, self._now)
        self.known += 1

    def outlook(self, owners: Owners, masters: int, *, forecast: bool = True) -> Outlook:
        """What these owners have now, and at the worst step to come of each."""
        total = self._slots.reshape(-1, CELL).sum(axis=1, keepdims=True)
        inside = np.divide(self._slots.reshape(-1, CELL), total, out=np.zeros((len(total), CELL)), where=total > 0)
        whose = owners.reshape(-1, CELL) == np.arange(masters)[:, None, None]
        # of each cell, what each master has: (masters, cells)
        part = (whose * inside).sum(axis=2)
        now = part @ self._now
        if not forecast or self.known < FEWEST:
            slots = (inside * self._now[:, None]).reshape(-1)
            return Outlook(now=now, peak=now, ahead=np.zeros(masters), slots=slots, predicted=False)
        steps = np.unique(np.linspace(1, self.steps, min(self.steps, MOST)).round().astype(np.int64))
        said = np.nan_to_num(np.asarray(self._core.forecast(steps, LEVELS), dtype=np.float64))
        cells, peak, worst = np.zeros((len(total), CELL)), np.zeros(masters), np.zeros(masters, dtype=np.int64)
        for at in range(masters):
            curve = at_level(summed(said * part[at][:, None, None], LEVELS, self.rho), self.quantile)
            worst[at] = int(np.argmax(curve))
            peak[at] = curve[worst[at]]
            found = at_level(said[:, worst[at]], self.quantile)
            # sums of quantiles are more than quantiles of sums: each slot is a part of the latter
            whole = float((found * part[at]).sum())
            cells += whose[at] * inside * (found * (peak[at] / whole if whole > 0 else 0.0))[:, None]
        ahead = np.asarray(steps[worst] * self.step, dtype=np.float64)
        return Outlook(now=now, peak=peak, ahead=ahead, slots=cells.reshape(-1), predicted=True)


def at_level(quantiles: F64, level: float) -> F64:
    """The value (...) of one level of ``quantiles`` (..., Q) at LEVELS; lines between them."""
    above = min(max(int(np.searchsorted(LEVELS, level)), 1), len(LEVELS) - 1)
    low, high = LEVELS[above - 1], LEVELS[above]
    part = min(max((level - low) / (high - low), 0.0), 1.0)
    return np.asarray(quantiles[..., above - 1] + part * (quantiles[..., above] - quantiles[..., above - 1]))
