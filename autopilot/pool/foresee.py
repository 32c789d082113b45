"""What demand the apps of pools will have: the product's own model over what was measured, a step at a time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.inventory import OracleSpec
from sidestep.forecasting.dense import CORES, core_of
from sidestep.planning.pool.lead import highest_within

F64 = NDArray[np.float64]

LEVELS: Final = (0.05, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99)
#: steps of a season at most, and steps ahead that are forecast
_FINEST: Final = 1440
AHEAD: Final = 12


class Foresight:
    """Forecasts of ``apps`` series; ``every`` is the time between two measurements (s).

    A step is a 1440th of the season, or the time between two measurements if that is longer; its value is the
    highest load within it.
    """

    def __init__(self, oracle: OracleSpec, apps: int, every: float) -> None:
        self.step = max(every, oracle.season / _FINEST)
        model = oracle.model if oracle.model in CORES else "network"
        self._core = core_of(model, oracle.season / self.step, AHEAD, apps) if oracle.enabled and apps else None
        self._seen, self._needed, self._apps = 0, oracle.min_steps, apps
        self._open, self._peak = -np.inf, np.full(apps, np.nan)
        self._nothing = np.full((apps, AHEAD, len(LEVELS)), np.nan)
        self.quantiles = self._nothing
        #: why nothing is forecast, or ""
        self.why = "" if self._core is not None else "the oracle is switched off"

    def observe(self, now: float, load: F64) -> None:
        """Take what was measured (A,) at unix time ``now``; NaN is not known."""
        bin_ = np.floor(now / self.step)
        if self._core is None or bin_ < self._open:
            return
        if bin_ > self._open:
            if np.isfinite(self._open):
                self._learn(int(min(bin_ - self._open, AHEAD)))
            self._open, self._peak = bin_, np.full(self._apps, np.nan)
        self._peak = np.fmax(self._peak, load)

    def _learn(self, steps: int) -> None:
        assert self._core is not None
        self._core.observe(np.vstack([self._peak, *[np.full(self._apps, np.nan)] * (steps - 1)]))
        self._seen += 1
        if self._seen >= self._needed:
            found = self._core.forecast(np.arange(1, AHEAD + 1), LEVELS)
            self.quantiles = np.asarray(found, dtype=np.float64)
        self.why = "" if self._seen >= self._needed else f"{self._seen} of {self._needed} steps were seen"

    def soon(self) -> F64:
        """(A,) the demand that is exceeded in one of ten cases within the next step; NaN unknown."""
        if not self._apps:
            return np.zeros(0)
        return highest_within(self.quantiles, np.ones(self._apps, dtype=np.int64))[:, LEVELS.index(0.9)]
