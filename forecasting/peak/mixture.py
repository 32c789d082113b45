"""Who is believed: the model's raw chance, the fleet's regression, or the climatology.

Weights follow the Brier scores, so that the mixture is soon no worse than the best of the three:
for squares of errors between 0 and 1 the loss against the best is at most a logarithm.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

RAW: Final = 0
LEARNED: Final = 1
PLAIN: Final = 2
#: how sharply scores divide; 2 is what squares of errors allow
RATE: Final = 2.0
#: independent windows that are remembered
MEMORY: Final = 300.0
#: what the whole fleet has seen counts for a series like so many windows of its own, at most
POOLED: Final = 40.0
#: windows of past after which the regression's signs mean something: it is believed by n / (n + RIPE) at first
RIPE: Final = 6.0
_PLAIN: Final = 0.02


class Mixture:
    """Scores of the three for ``rows`` series; overlapping windows count as their ``share`` of one."""

    def __init__(self, rows: int, share: float) -> None:
        self._share = share
        self._loss = np.zeros((3, rows))
        self._count = np.zeros(rows)
        self._fleet = np.zeros(3)
        self._heard = 0.0

    def learn(self, said: F64, came: NDArray[np.bool_], where: NDArray[np.bool_]) -> None:
        """Score ``said`` (3, n) where something came due."""
        loss = np.where(where, np.square(said - came), 0.0)
        fade = np.where(where, 1 - self._share / MEMORY, 1.0)
        self._loss = self._loss * fade + self._share * loss
        self._count = self._count * fade + self._share * where
        number = self._share * float(where.sum())
        if number:
            keep = 1 - min(0.5, number / (MEMORY * max(1, len(where))))
            self._fleet = self._fleet * keep + self._share * loss.sum(axis=1)
            self._heard = self._heard * keep + number

    def weights(self, ripe: F64) -> F64:
        """(3, n) sums to 1; ``ripe`` (n,) is how many windows each series was seen for."""
        young = np.where(np.isfinite(ripe), ripe, 0.0)
        learned = young / (young + RIPE)
        prior = np.stack([1 - learned, learned, np.zeros(len(young))]) * (1 - _PLAIN)
        prior[PLAIN] = _PLAIN
        pooled = self._fleet / max(self._heard, 1e-9) * min(self._heard, POOLED)
        excess = self._loss + pooled[:, None]
        share = np.log(np.maximum(prior, 1e-6)) - RATE * (excess - excess.min(axis=0))
        share = np.exp(share - share.max(axis=0))
        return np.asarray(share / share.sum(axis=0))

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder series; -1 is one without scores."""
        loss, count = np.zeros((3, len(rows))), np.zeros(len(rows))
        kept = rows >= 0
        loss[:, kept], count[kept] = self._loss[:, rows[kept]], self._count[rows[kept]]
        self._loss, self._count = loss, count
