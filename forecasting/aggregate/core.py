"""The oracle's own model in arrays: one memory, five experts, their weights, and bands that learn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.aggregate.bands import Edges
from sidestep.forecasting.aggregate.experts import (
    MOVED,
    NETWORK,
    PERSISTENCE,
    SEASONAL,
    SHAPE,
    WINDOW,
    Later,
    Said,
    ask,
    parts,
)
from sidestep.forecasting.aggregate.weighing import JUDGED, SCORED, Weighing
from sidestep.forecasting.cores import Floats, Rows, Steps
from sidestep.forecasting.network.features import KNOTS, WINDOWS
from sidestep.forecasting.network.memory import F32, MOST, Memory
from sidestep.forecasting.network.net import Network, Weights, shipped
from sidestep.forecasting.network.spread import absolute, along, at_levels, precise


class AggregateCore:
    """``series`` rows; ``season`` in steps, 0 for none; ``floor`` is the least value that can occur, or None.

    One step costs a pass of the network, because what it says now is judged when it comes due;
    the same pass answers the forecasts until the next step.
    """

    #: a forecast takes little more memory than its answer: it is worked out for some series at a time
    in_parts = True

    def __init__(self, series: int, season: float, floor: float | None, weights: Weights | None = None) -> None:
        self.season, self.floor = season, floor
        self.memory = Memory(series, season)
        self.network = Network(weights if weights is not None else shipped())
        self.weighing = Weighing(series)
        self.edges = Edges(series)
        self._later: Later | None = None
        #: (Q, B, S) the experts' weighed opinion, and whether its bands have been widened already
        self._mixed: F32 | None = None
        self._wide = False
        self._adopted = b""

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
            relative = np.clip(row - self.memory.anchor[0], -MOST, MOST).astype(np.float32)
            clock = self.memory.clock
            # once a step the horizons whose turn it is are judged, and said anew
            due = [g for g, knot in enumerate(JUDGED) if self.weighing.due(clock, g)]
            self.edges.settle(clock, relative, due, self.memory.wander())
            self.weighing.settle(clock, relative, due)
            said, mixed = self._think()
            for g in due:
                knot = KNOTS.index(JUDGED[g])
                self.weighing.hold(clock, g, said.at(knot, SCORED), said.guessed)
                self.edges.hold(clock, g, mixed[:, knot], said.guessed)

    def _mix(self, said: Said) -> F32:
        """(Q, B, S) the weighed mean of every quantile."""
        share = self.weighing.shares(said.season, self.memory.seen[0])
        rules = share[PERSISTENCE : MOVED + 1]
        centre, spread = _weighed(rules, said.centre), _weighed(rules, said.spread)
        mixed = np.empty((len(SHAPE), *centre.shape), np.float32)
        part = np.empty_like(centre)
        for level, shape in enumerate(SHAPE):
            here = np.multiply(said.network[level, : len(KNOTS)], share[NETWORK], out=mixed[level])
            here += centre
            here += np.multiply(spread, shape, out=part)
            here += np.multiply(share[WINDOW], said.window[level], out=part)
        return mixed

    def shares(self) -> F32:
        """(K, B, S) the weight of every expert of ``NAMES`` at every knot; a row without a season has none of it."""
        return self.weighing.shares(self._kept().season, self.memory.seen[0])

    def _think(self) -> tuple[Said, F32]:
        """Ask all experts, weigh what they say, and keep what forecasts need of it."""
        said = ask(self.memory, self.network)
        mixed = self._mix(said)
        self._later, self._mixed, self._wide = said.later(), mixed, False
        return said, mixed

    def _kept(self) -> Later:
        if self._later is None:
            self._think()
        assert self._later is not None
        return self._later

    def at_knots(self) -> F32:
        """(Q, B, S) calibrated quantiles at ``KNOTS`` and the memory's levels, relative to the anchor."""
        if self._mixed is None:
            self._think()
        assert self._mixed is not None
        if not self._wide:
            self.edges.widen(self._mixed, self.memory.wander())
            self._wide = True
        return self._mixed

    def forecast(self, steps: Steps, levels: tuple[float, ...]) -> Floats:
        """(S, T, Q) at ``steps`` (T,) >= 1 steps after the last observed one; NaN for a series never seen."""
        steps = np.asarray(steps)
        known, anchor, shape = self.at_knots(), self.memory.anchor[0], self._shape(steps)
        out = np.empty((self.series, len(steps), len(levels)), precise(anchor))
        for some in parts(self.series):
            found = at_levels(along(known[:, :, some], steps), levels)
            if shape:
                found = found.copy()  # it may be what is kept
                for row, rise in shape.items():
                    found[:, row] += rise[some]
            absolute(found, anchor[some], self.floor, out[some])
        return out

    def _shape(self, steps: Steps) -> dict[int, F32]:
        """(S,) by the rows of steps between the knots: there the season keeps its shape, as far as it is believed."""
        between = [row for row, step in enumerate(steps.tolist()) if step not in KNOTS and step < KNOTS[-1]]
        if not between or not self.memory.slots:
            return {}
        kept = self._kept()
        share = self.shares()[SEASONAL : MOVED + 1].sum(axis=0)
        lines = along(kept.last[None], steps[between])[0]
        belief = along(share[None], steps[between])[0]
        true = [self.memory.last_season(int(steps[row]) - 1) for row in between]
        return {row: belief[at] * np.nan_to_num(true[at] - lines[at]) for at, row in enumerate(between)}

    def peaks(self, windows: Steps, levels: tuple[float, ...], first: int | None = None) -> Floats:
        """(S, W, Q) quantiles of the highest value within the next ``windows`` (W,) steps; of the ``first`` series.

        Never below those of any step in the window: the highest is at least as high as each.
        """
        said, known = self._kept().windows[:, :, :first], self.at_knots()[:, :, :first]
        rows = np.empty((len(known), 1 + len(WINDOWS), known.shape[2]), np.float32)
        rows[:, 0] = known[:, 0]
        for at in range(len(WINDOWS)):
            np.maximum(rows[:, at], said[:, at], out=rows[:, at + 1])
        windows = np.asarray(windows)
        found = along(rows, windows, np.array((1, *WINDOWS)))
        highest, knot = known[:, 0].copy(), 1
        for row in np.argsort(windows, kind="stable").tolist():
            while knot < len(KNOTS) and KNOTS[knot] <= windows[row]:
                np.maximum(highest, known[:, knot], out=highest)
                knot += 1
            np.maximum(found[:, row], highest, out=found[:, row])
            if windows[row] > KNOTS[-1]:
                # beyond the knots every step is wider than the one before
                np.maximum(found[:, row], along(known, windows[row : row + 1])[:, 0], out=found[:, row])
        return absolute(at_levels(found, levels), self.memory.anchor[0, :first], self.floor)

    def adopt(self, weights: bytes) -> None:
        """Use another network from now on; what was learned of the series stays. Raises BadWeights for what is none."""
        if weights == self._adopted:
            return
        self.network = Network(Weights.from_bytes(weights))
        self._adopted = weights
        self._later = self._mixed = None

    def select(self, rows: Rows) -> None:
        """Keep and reorder series; -1 adds one that was never seen."""
        self.memory.select(rows)
        self.weighing.select(rows)
        self.edges.select(rows)
        self._later = self._mixed = None


def _weighed(shares: F32, values: F32) -> F32:
    """(B, S) the sum over experts of (K, B, S) values times their shares."""
    found: F32 = shares[0] * values[0]
    part = np.empty_like(found)
    for share, value in zip(shares[1:], values[1:], strict=True):
        found += np.multiply(share, value, out=part)
    return found
