"""The oracle's own model in arrays: one memory, five experts, their weights, and bands that learn."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.aggregate.bands import Edges
from sidestep.forecasting.aggregate.experts import MOVED, NETWORK, PERSISTENCE, SHAPE, WINDOW, Said, ask
from sidestep.forecasting.aggregate.weighing import JUDGED, SCORED, Weighing
from sidestep.forecasting.cores import F64, Rows, Steps
from sidestep.forecasting.network.features import KNOTS, WINDOWS
from sidestep.forecasting.network.memory import F32, Memory
from sidestep.forecasting.network.net import Network, Weights, shipped
from sidestep.forecasting.network.spread import along, at_levels

_KNOTS: Final = np.array(KNOTS)


class AggregateCore:
    """``series`` rows; ``season`` in steps, 0 for none; ``floor`` is the least value that can occur, or None.

    One step costs a pass of the network, because what it says now is judged when it comes due;
    the same pass answers the forecasts until the next step.
    """

    def __init__(self, series: int, season: float, floor: float | None, weights: Weights | None = None) -> None:
        self.season, self.floor = season, floor
        self.memory = Memory(series, season)
        self.network = Network(weights if weights is not None else shipped())
        self.weighing = Weighing(series)
        self.edges = Edges(series)
        self._said: Said | None = None
        self._mixed: F32 | None = None

    @property
    def series(self) -> int:
        """How many rows."""
        return self.memory.series

    @property
    def nbytes(self) -> int:
        """Bytes of all state that lasts."""
        return self.memory.nbytes + self.weighing.nbytes + self.edges.nbytes

    def observe(self, values: NDArray[np.floating]) -> None:
        """Learn one step (S,) or several (K, S), oldest first; infinite values count as missing."""
        block = np.atleast_2d(np.asarray(values))
        if block.shape[1] != self.series:
            raise ValueError(f"{block.shape[1]} values for {self.series} series")
        for row in np.where(np.isfinite(block), block, np.nan):
            self.memory.observe(row)
            relative = (row - self.memory.anchor[0]).astype(np.float32)
            clock = self.memory.clock
            # once a step the horizons whose turn it is are judged, and said anew
            due = [g for g, knot in enumerate(JUDGED) if self.weighing.due(clock, g)]
            self.edges.settle(clock, relative, due)
            self.weighing.settle(clock, relative, due)
            said = self._said = ask(self.memory, self.network)
            mixed = self._mixed = self._mix(said)
            for g in due:
                knot = KNOTS.index(JUDGED[g])
                self.weighing.hold(clock, g, said.at(knot, list(SCORED)))
                self.edges.hold(clock, g, mixed[:, knot])

    def _mix(self, said: Said) -> F32:
        """(S, B, Q) the weighed mean of every quantile."""
        share = self.weighing.shares(said.season)
        mixed = said.network[:, : len(KNOTS)] * share[NETWORK][:, :, None]
        mixed += share[WINDOW][:, :, None] * said.window[:, None, :]
        rules = share[PERSISTENCE : MOVED + 1]
        mixed += (rules * said.centre).sum(axis=0)[:, :, None]
        mixed += (rules * said.spread).sum(axis=0)[:, :, None] * SHAPE
        return mixed

    def shares(self) -> F32:
        """(K, S, B) the weight of every expert of ``NAMES`` at every knot; a row without a season has none of it."""
        said = self._opinions()[0]
        return self.weighing.shares(said.season)

    def _opinions(self) -> tuple[Said, F32]:
        if self._said is None or self._mixed is None:
            self._said = ask(self.memory, self.network)
            self._mixed = self._mix(self._said)
        return self._said, self._mixed

    def at_knots(self) -> F32:
        """(S, B, Q) calibrated quantiles at ``KNOTS`` and the memory's levels, relative to the anchor."""
        return self.edges.widened(self._opinions()[1])

    def forecast(self, steps: Steps, levels: tuple[float, ...]) -> F64:
        """(S, T, Q) at ``steps`` (T,) >= 1 steps after the last observed one; NaN for a series never seen."""
        found = at_levels(along(self.at_knots(), np.asarray(steps)), levels)
        return self._absolute(found)

    def peaks(self, windows: Steps, levels: tuple[float, ...]) -> F64:
        """(S, W, Q) quantiles of the highest value within the next ``windows`` (W,) steps.

        Never below those of any step in the window: the highest is at least as high as each.
        """
        said = self._opinions()[0].network[:, len(KNOTS) :]
        top = np.maximum.accumulate(self.at_knots(), axis=1)
        reached = np.searchsorted(_KNOTS, np.array(WINDOWS), side="right") - 1
        known = np.maximum(said, top[:, reached])
        first = top[:, :1]
        places = np.array((1, *WINDOWS))
        whole = np.concatenate([first, known], axis=1)
        found = np.maximum.accumulate(at_levels(along(whole, np.asarray(windows), places), levels), axis=1)
        return self._absolute(found)

    def _absolute(self, found: F64) -> F64:
        found = found + self.memory.anchor[0][:, None, None]
        return found if self.floor is None else np.maximum(found, self.floor)

    def select(self, rows: Rows) -> None:
        """Keep and reorder series; -1 adds one that was never seen."""
        self.memory.select(rows)
        self.weighing.select(rows)
        self.edges.select(rows)
        self._said = self._mixed = None
