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

from sidestep.forecasting.aggregate.weighing import FLIGHTS, JUDGED, PLACES, Weighing
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
FIRST: Final = 0.2
LONG: Final = 0.03
#: so many scores' worth of the next shorter horizon stand for what a horizon has not shown yet
DOUBT: Final = 40.0
#: what wanders and was seen for an hour has not shown yet how far it strays in a day: its edges a horizon h ahead
#: are wider by (1 + h / n) to these powers after n scores of the next step
YOUTH: Final[F32] = np.array([0.8, 0.4, 0.4, 0.8], np.float32)[:, None]


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

    def settle(self, clock: int, truth: F32, due: list[int], wander: F32) -> None:
        """Move the edges by what came at this step; ``wander`` (S,) as in ``shrunk``."""
        for group in due:
            held = self._held[group][Weighing._at(clock, group)]
            median, edges = held[0], held[1:]
            valid = np.isfinite(truth) & np.isfinite(median)
            reach = np.maximum((edges - median) * _SIDE, 0.0) * np.exp(self.shrunk(group, wander))
            beyond = (truth - median) * _SIDE > reach
            rate = np.maximum(FIRST / np.sqrt(1.0 + self.count[group]), LONG)
            move = np.where(beyond, 1.0 - _BEYOND, -_BEYOND) * rate
            np.clip(self.log[:, group] + np.where(valid, move, 0.0), LOW, HIGH, out=self.log[:, group])
            self.count[group] += valid

    def hold(self, clock: int, group: int, said: F32, without: NDArray[np.bool_]) -> None:
        """Keep the bands (Q, S) that are said now about ``JUDGED[group]`` steps ahead, but for some series."""
        held = self._held[group][Weighing._at(clock, group)]
        held[0] = said[MEDIAN]
        for row, column in enumerate(WATCHED):
            held[1 + row] = said[column]
        if without.any():
            held[:, without] = np.nan

    def shrunk(self, group: int, wander: F32) -> F32:
        """(E, S) a horizon's factors; ``wander`` (S,) is 0 of a series about a level, 1 of a walk."""
        young = np.log1p(np.float32(JUDGED[group]) / (1.0 + self.count[0]))
        return np.asarray(self._learned(group) + YOUTH * (young * wander))

    def _learned(self, group: int) -> F32:
        """(E, S) a horizon's factors, leaning on the next shorter one while it has few scores."""
        own = self.log[:, group]
        if group == 0:
            return own
        count = self.count[group]
        return np.asarray((count * own + DOUBT * self._learned(group - 1)) / (count + DOUBT))

    def widen(self, mixed: F32, wander: F32) -> None:
        """Take every distance from the median of (Q, B, S) times its factor, in place; quantiles still ascend."""
        factors = np.exp(np.stack([self.shrunk(group, wander) for group in range(len(JUDGED))], axis=1))
        at = np.empty((len(WATCHED), len(KNOTS), factors.shape[2]), np.float32)
        for b, (low, part) in enumerate(PLACES):
            np.multiply(factors[:, low], 1 - part, out=at[:, b])
            at[:, b] += factors[:, low + 1] * part
        median = mixed[MEDIAN]
        for side, levels, inner, outer in (
            (-1, range(MEDIAN - 1, -1, -1), at[1], at[0]),
            (1, range(MEDIAN + 1, len(LEVELS)), at[2], at[3]),
        ):
            reach = np.zeros_like(median)
            for level in levels:
                distance = np.subtract(mixed[level], median)
                if side < 0:
                    np.negative(distance, out=distance)
                distance *= _factor(level, inner, outer)
                np.maximum(reach, distance, out=reach)
                (np.subtract if side < 0 else np.add)(median, reach, out=mixed[level])

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder series; -1 makes one whose bands never missed."""
        index, new = np.maximum(rows, 0), rows < 0
        self.log, self.count = self.log[:, :, index], self.count[:, index]
        self.log[:, :, new], self.count[:, new] = 0.0, 0.0
        for group, held in enumerate(self._held):
            kept = held[:, :, index]
            kept[:, :, new] = np.nan
            self._held[group] = kept


def _factor(level: int, inner: F32, outer: F32) -> F32:
    """The factor of a level, from those of the watched edges about it."""
    tail = min(LEVELS[level], 1 - LEVELS[level])
    if tail > 0.2:
        return np.sqrt(inner)
    if tail > 0.08:
        return inner
    return np.sqrt(inner * outer) if tail > 0.03 else outer
