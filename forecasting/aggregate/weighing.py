"""Weights from what every expert was wrong by, per series and horizon.

At a few horizons what the experts say is held until it comes due; their pinball losses,
discounted, make weights that fall exponentially in the loss relative to the best one. A
prior that weighs as much as some scores stands for a series that has none yet.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.aggregate.experts import MOVED, NAMES, NETWORK, SEASONAL, WINDOW
from sidestep.forecasting.network.features import KNOTS
from sidestep.forecasting.network.memory import F32, LEVELS

#: steps ahead that are judged, and how many forecasts of each are in flight at most
JUDGED: Final = (1, 5, 18, 60)
FLIGHTS: Final = (1, 5, 6, 6)
#: columns of the memory's levels that are judged: 0.1, 0.5, 0.9
SCORED: Final = tuple(LEVELS.index(level) for level in (0.1, 0.5, 0.9))
_TAU: Final = np.array([LEVELS[column] for column in SCORED], np.float32)[:, None]
#: where every knot stands between the judged horizons, in the logarithm: the lower one, and how far from it
_AT: Final = np.interp(np.log(KNOTS), np.log(JUDGED), np.arange(len(JUDGED)))
PLACES: Final = tuple((min(int(at), len(JUDGED) - 2), np.float32(at - min(int(at), len(JUDGED) - 2))) for at in _AT)
#: losses relative to the network's that are assumed, and so many scores' worth of them
PRIOR: Final[F32] = np.array([1.0, 1.15, 1.4, 1.4, 1.4], np.float32)
DOUBT: Final = 30.0
#: values after which the prior is that of a grown series
GROWN: Final = 96.0
#: by how much the network's loss is assumed to be above the window's at first
YOUTH: Final = 0.1
#: how sharply the better one is preferred, and how long losses are remembered (scores)
SHARPNESS: Final = 16.0
MEMORY: Final = 60.0


class Weighing:
    """Losses (K, G, S) and what is in flight."""

    def __init__(self, series: int) -> None:
        shape = (len(NAMES), len(JUDGED), series)
        self.loss: F32 = np.zeros(shape, np.float32)
        self.count: F32 = np.zeros((len(JUDGED), series), np.float32)
        self._held: list[F32] = [np.full((f, len(NAMES), len(SCORED), series), np.nan, np.float32) for f in FLIGHTS]

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.loss.nbytes + self.count.nbytes + sum(held.nbytes for held in self._held)

    @staticmethod
    def due(clock: int, group: int) -> bool:
        """Whether a forecast of this horizon comes due at this step, and another is held."""
        return clock % (JUDGED[group] // FLIGHTS[group]) == 0

    @staticmethod
    def _at(clock: int, group: int) -> int:
        return (clock // (JUDGED[group] // FLIGHTS[group])) % FLIGHTS[group]

    def settle(self, clock: int, truth: F32, due: list[int]) -> None:
        """Score what was said about this step; ``truth`` (S,) is NaN where it is missing."""
        for group in due:
            said = self._held[group][self._at(clock, group)]
            error = truth - said
            loss = np.maximum(_TAU * error, (_TAU - 1) * error).mean(axis=1)
            valid = np.isfinite(loss[0])
            self.count[group] = np.minimum(self.count[group] + valid, MEMORY)
            rate = valid / np.maximum(self.count[group], 1)
            self.loss[:, group] += np.where(valid, rate * (loss - self.loss[:, group]), 0.0)

    def hold(self, clock: int, group: int, said: F32, without: NDArray[np.bool_]) -> None:
        """Keep what the experts say (K, q, S) until it comes due, but for some series."""
        held = self._held[group][self._at(clock, group)]
        held[:] = said
        if without.any():
            held[:, :, without] = np.nan

    def shares(self, season: F32, seen: F32) -> F32:
        """(K, B, S) weights that add up to 1 at every knot; seasonal ones only where ``season`` (B, S) is 1.

        ``seen`` (S,) values so far: of the young the window is a better guess than the network.
        """
        prior = np.repeat(PRIOR[:, None, None], len(seen), axis=2)
        grown = np.minimum(seen / GROWN, 1.0)
        prior[WINDOW] = 1.0 + (PRIOR[WINDOW] - 1.0) * grown
        prior[NETWORK] = 1.0 + YOUTH * (1.0 - grown)
        base = self.loss[:1] + 1e-12
        relative = np.clip(self.loss / base, 0.2, 5.0)
        count = self.count
        shrunk = (count * relative + DOUBT * prior) / (count + DOUBT)
        # with no loss at all there is nothing to choose by
        shrunk = np.where(self.loss.max(axis=0) > 0, shrunk, prior)
        weight = np.exp(-SHARPNESS * (shrunk / shrunk.min(axis=0) - 1.0), dtype=np.float32)
        found = _along(weight)
        found[SEASONAL : MOVED + 1] *= season
        found /= found.sum(axis=0)
        return found

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder series; -1 makes one that was never judged."""
        index, new = np.maximum(rows, 0), rows < 0
        self.loss, self.count = self.loss[:, :, index], self.count[:, index]
        self.loss[:, :, new], self.count[:, new] = 0.0, 0.0
        for group, held in enumerate(self._held):
            kept = held[..., index]
            kept[..., new] = np.nan
            self._held[group] = kept


def _along(weight: F32) -> F32:
    """(K, B, S) of (K, G, S): between the judged horizons in proportion, in the logarithm of the horizon."""
    out = np.empty((len(weight), len(KNOTS), weight.shape[2]), np.float32)
    for b, (low, part) in enumerate(PLACES):
        np.multiply(weight[:, low], 1 - part, out=out[:, b])
        out[:, b] += weight[:, low + 1] * part
    return out
