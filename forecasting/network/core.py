"""The network alone, and the recent window alone, as cores of estimators."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.cores import Floats, Rows, Steps
from sidestep.forecasting.network.features import KNOTS, WINDOWS, columns
from sidestep.forecasting.network.memory import F32, Memory
from sidestep.forecasting.network.net import Network, Weights, shipped
from sidestep.forecasting.network.spread import absolute, along, at_levels


class MemoryCore(ABC):
    """A core that says everything from one memory; ``floor`` is the least value that can occur, or None."""

    def __init__(self, series: int, season: float, floor: float | None) -> None:
        self.memory = Memory(series, season)
        self.floor = floor

    @property
    def series(self) -> int:
        """How many rows."""
        return self.memory.series

    def observe(self, values: NDArray[np.floating]) -> None:
        """Learn one step (S,) or several (K, S), oldest first; infinite values count as missing."""
        block = np.atleast_2d(np.asarray(values, dtype=np.float64))
        if block.shape[1] != self.series:
            raise ValueError(f"{block.shape[1]} values for {self.series} series")
        for row in np.where(np.isfinite(block), block, np.nan):
            self.memory.observe(row)

    @abstractmethod
    def _at_knots(self) -> F32:
        """(Q, B, S) at KNOTS and the memory's levels, relative to the anchor."""

    def forecast(self, steps: Steps, levels: tuple[float, ...]) -> Floats:
        """(S, T, Q) at ``steps`` (T,) >= 1 steps after the last observed one; NaN for a series never seen."""
        return self._absolute(at_levels(along(self._at_knots(), np.asarray(steps)), levels))

    def _absolute(self, found: F32) -> Floats:
        return absolute(found, self.memory.anchor[0], self.floor)

    def select(self, rows: Rows) -> None:
        """Keep and reorder series; -1 adds one that was never seen."""
        self.memory.select(rows)


class NetworkCore(MemoryCore):
    """What the network says, as it says it."""

    def __init__(self, series: int, season: float, floor: float | None, weights: Weights | None = None) -> None:
        super().__init__(series, season, floor)
        self.network = Network(weights if weights is not None else shipped())

    def _said(self) -> F32:
        seen, location, scale = columns(self.memory)
        found = self.network.quantiles(seen)
        found *= scale
        found += location
        return found

    def _at_knots(self) -> F32:
        return self._said()[:, : len(KNOTS)]

    def peaks(self, windows: Steps, levels: tuple[float, ...], first: int | None = None) -> Floats:
        """(S, W, Q) quantiles of the highest value within the next ``windows`` (W,) steps; of the ``first`` series."""
        said = self._said()
        whole = np.concatenate([said[:, :1], said[:, len(KNOTS) :]], axis=1)
        found = along(whole, np.asarray(windows), np.array((1, *WINDOWS)))
        return self._absolute(at_levels(found, levels))[:first]


class WindowCore(MemoryCore):
    """The future is like the recent window: the same quantiles for every step."""

    def _at_knots(self) -> F32:
        return np.repeat(self.memory.window[:, None, :], len(KNOTS), axis=1)
