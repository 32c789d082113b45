"""Edges of the bands that learn from their misses: adaptive conformal inference, per series and horizon.

Every edge is moved by a factor on its distance from the median: wider after a miss, narrower
after a hit, in such proportion that in the long run it holds as often as it says. Factors
are in units of what the model says, never absolute, and bounded.
(Gibbs and Candes, Adaptive conformal inference under distribution shift, NeurIPS 2021.)
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.aggregate.weighing import FLIGHTS, JUDGED, Weighing
from sidestep.forecasting.network.features import KNOTS
from sidestep.forecasting.network.memory import F32, LEVELS
from sidestep.forecasting.network.net import MEDIAN

#: the edges that are watched
WATCHED: Final = tuple(LEVELS.index(level) for level in (0.025, 0.1, 0.9, 0.975))
_SIDE: Final = np.array([-1, -1, 1, 1], np.float32)[:, None]
_BEYOND: Final = np.array([0.025, 0.1, 0.1, 0.025], np.float32)[:, None]
#: bounds of the logarithms of the factors
LOW, HIGH = math.log(0.5), math.log(4.0)
#: how far one miss moves an edge at first and in the long run, per unit of its rarity
FIRST: Final = 0.35
LONG: Final = 0.06
#: so many scores' worth of the next shorter horizon stand for what a horizon has not shown yet
DOUBT: Final = 12.0


class Edges:
    """Logarithms of factors (E, G, S) and the bands in flight."""

    def __init__(self, series: int) -> None:
        self.log: F32 = np.zeros((len(WATCHED), len(JUDGED), series), np.float32)
        self.count: F32 = np.zeros((len(JUDGED), series), np.float32)
        self._held: list[F32] = [np.full((f, len(WATCHED) + 1, series), np.nan, np.float32) for f in FLIGHTS]

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.log.nbytes + self.count.nbytes + sum(held.nbytes for held in self._held)

    def settle(self, clock: int, truth: F32, due: list[int]) -> None:
        """Move the edges by what came at this step."""
        for group in due:
            held = self._held[group][Weighing._at(clock, group)]
            median, edges = held[0], held[1:]
            valid = np.isfinite(truth) & np.isfinite(median)
            reach = np.maximum((edges - median) * _SIDE, 0.0) * np.exp(self.shrunk(group))
            beyond = (truth - median) * _SIDE > reach
            rate = np.maximum(FIRST / np.sqrt(1.0 + self.count[group]), LONG)
            move = np.where(beyond, 1.0 - _BEYOND, -_BEYOND) * rate
            np.clip(self.log[:, group] + np.where(valid, move, 0.0), LOW, HIGH, out=self.log[:, group])
            self.count[group] += valid

    def hold(self, clock: int, group: int, said: F32) -> None:
        """Keep the bands (S, Q) that are said now about ``JUDGED[group]`` steps ahead."""
        held = self._held[group][Weighing._at(clock, group)]
        held[0] = said[:, MEDIAN]
        for row, column in enumerate(WATCHED):
            held[1 + row] = said[:, column]

    def shrunk(self, group: int) -> F32:
        """(E, S) a horizon's factors, leaning on the next shorter one while it has few scores."""
        own = self.log[:, group]
        if group == 0:
            return own
        count = self.count[group]
        return np.asarray((count * own + DOUBT * self.shrunk(group - 1)) / (count + DOUBT))

    def widened(self, mixed: F32) -> F32:
        """(S, B, Q) with every distance from the median times its factor; quantiles still ascend."""
        logs = np.stack([self.shrunk(group) for group in range(len(JUDGED))])
        place = np.interp(np.log(KNOTS), np.log(JUDGED), np.arange(len(JUDGED)))
        out = mixed.copy()
        median = mixed[:, :, MEDIAN]
        for b, at in enumerate(place):
            low = min(int(at), len(JUDGED) - 2)
            part = np.float32(at - low)
            log = logs[low] * (1 - part) + logs[low + 1] * part
            outer_low, inner_low, inner_high, outer_high = np.exp(log)
            for side, columns, factors in (
                (-1, range(MEDIAN - 1, -1, -1), _along(inner_low, outer_low, range(MEDIAN - 1, -1, -1))),
                (1, range(MEDIAN + 1, len(LEVELS)), _along(inner_high, outer_high, range(MEDIAN + 1, len(LEVELS)))),
            ):
                reach = np.zeros_like(median[:, b])
                for column, factor in zip(columns, factors, strict=True):
                    reach = np.maximum(reach, np.abs(mixed[:, b, column] - median[:, b]) * factor)
                    out[:, b, column] = median[:, b] + side * reach
        return out

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder series; -1 makes one whose bands never missed."""
        index, new = np.maximum(rows, 0), rows < 0
        self.log, self.count = self.log[:, :, index], self.count[:, index]
        self.log[:, :, new], self.count[:, new] = 0.0, 0.0
        for group, held in enumerate(self._held):
            kept = held[:, :, index]
            kept[:, :, new] = np.nan
            self._held[group] = kept


def _along(inner: F32, outer: F32, columns: range) -> list[F32]:
    """The factor of every column of one side, from the median outwards."""
    found = []
    for column in columns:
        level = min(LEVELS[column], 1 - LEVELS[column])
        if level > 0.2:
            found.append(np.sqrt(inner))
        elif level > 0.08:
            found.append(inner)
        elif level > 0.03:
            found.append(np.sqrt(inner * outer))
        else:
            found.append(outer)
    return found
