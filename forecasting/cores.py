"""The arithmetic of the estimators: whole panels as arrays, no sktime and no loop over series.

A core takes one row of values (S,) per step, in constant time and memory, and says
quantiles (S, T, Q). NaN is a missing value. Cores of one history are equal however the
history was cut into calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.calibrate import Bands, Pending, along, ladder

F64 = NDArray[np.float64]
Floats = NDArray[np.floating]
Steps = NDArray[np.int64]
Rows = NDArray[np.int64]

#: values that a spread must rest on before the bands learn from it
KNOWN: Final = 12.0


class Core(Protocol):
    """What a service and an estimator need of a model: rows in, quantiles out."""

    @property
    def series(self) -> int:
        """How many rows."""
        ...

    def observe(self, values: NDArray[np.floating]) -> None:
        """Learn one step (S,) or several (K, S), oldest first; NaN is missing."""
        ...

    def forecast(self, steps: Steps, levels: tuple[float, ...]) -> Floats:
        """(S, T, Q) at ``steps`` (T,) >= 1 steps after the last observed one; NaN for a series never seen."""
        ...

    def select(self, rows: Rows) -> None:
        """Keep and reorder series; -1 adds one that was never seen."""
        ...


@runtime_checkable
class PeakCore(Core, Protocol):
    """A core that also knows the highest value of a coming window."""

    def peaks(self, windows: Steps, levels: tuple[float, ...], first: int | None = None) -> Floats:
        """(S, W, Q) quantiles of the highest value within the next ``windows`` (W,) steps; of the ``first`` series."""
        ...


class PanelCore(ABC):
    """What every core does with its forecasts: hold them until they come due and learn the bands.

    ``floor`` is the least value that a forecast may have (0 for demand), or None.
    """

    def __init__(self, series: int, horizon: int, floor: float | None) -> None:
        self._series, self.horizon, self.floor = series, horizon, floor
        self.horizons = ladder(horizon)
        self.clock = 0
        self.bands = Bands(series, self.horizons)
        self._median = Pending(self.horizons, (series,))
        self._spread = Pending(self.horizons, (series,))

    @property
    def series(self) -> int:
        """How many rows."""
        return self._series

    @abstractmethod
    def _learn(self, values: F64) -> None:
        """Let one step pass and learn its values."""

    @abstractmethod
    def _say(self, steps: Steps) -> tuple[F64, F64]:
        """(S, T) median and spread so many steps ahead; NaN where nothing was ever seen."""

    @abstractmethod
    def _freedom(self) -> F64:
        """(S,) how many values the spread rests on."""

    @abstractmethod
    def _select(self, rows: Rows) -> None:
        """Keep and reorder series."""

    def observe(self, values: NDArray[np.floating]) -> None:
        """Learn one step (S,) or several (K, S), oldest first; infinite values count as missing."""
        block = np.atleast_2d(np.asarray(values, dtype=np.float64))
        if block.shape[1] != self.series:
            raise ValueError(f"{block.shape[1]} values for {self.series} series")
        for row in np.where(np.isfinite(block), block, np.nan):
            self.clock += 1
            self._learn(row)
            self._score(row)

    def _score(self, row: F64) -> None:
        median, spread = self._say(self.horizons)
        # A spread that is still a guess teaches nothing about the bands.
        spread = np.where(self._freedom()[:, None] >= KNOWN, spread, np.nan)
        due = self._median.swap(self.clock, median)
        with np.errstate(invalid="ignore", divide="ignore"):
            self.bands.learn((row[:, None] - due) / self._spread.swap(self.clock, spread))

    def forecast(self, steps: Steps, levels: tuple[float, ...]) -> F64:
        """(S, T, Q) at ``steps`` (T,) >= 1 steps after the last observed one."""
        median, spread = self._say(steps)
        found = self.bands.quantiles(median, spread, self._freedom(), levels, steps)
        return found if self.floor is None else np.maximum(found, self.floor)

    def drop(self, rows: NDArray[np.bool_]) -> None:
        """Forget what was said about these series and is not due yet."""
        self._median.drop(rows)
        self._spread.drop(rows)

    def select(self, rows: Rows) -> None:
        """Keep and reorder series; -1 adds one that was never seen."""
        self._select(rows)
        self.bands.select(rows)
        self._median.select(rows)
        self._spread.select(rows)
        self._series = len(rows)


def kept(values: NDArray[np.floating], rows: Rows, fresh: float) -> F64:
    """``values`` by rows on the first axis, ``fresh`` for new ones."""
    found = np.array(values[np.maximum(rows, 0)], dtype=np.float64)
    found[rows < 0] = fresh
    return found


__all__ = ["F64", "Core", "Floats", "PanelCore", "PeakCore", "Rows", "Steps", "along", "kept"]
