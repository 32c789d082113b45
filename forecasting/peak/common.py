"""How much shards err together: the correlation of their forecast errors, learned from what came.

Summed over the shards of one host, errors ``e`` with deviations ``s`` have the variance
``(1 - rho) * sum(s**2) + rho * sum(s)**2``. So the products of any two shards' errors, summed,
over those of their deviations are an estimate of ``rho`` that needs no pair to be looked at:
``(sum(e)**2 - sum(e**2)) / (sum(s)**2 - sum(s**2))``. Hosts are pooled, each in units of its own
deviations, so that one big host does not decide.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: host-steps' worth of evidence that the policy's value counts for
SHRUNK: Final = 50.0
#: host-steps that are remembered, per host
MEMORY: Final = 500.0
#: errors of so many values make a deviation
KNOWN: Final = 10.0
#: no error counts for more deviations than this
WILD: Final = 4.0
#: of the deviations' own memory, in steps
_RATE: Final = 1 / 200
MOST: Final = 0.95


class CommonFactor:
    """One correlation for a fleet of ``shards``; ``prior`` is the policy's, to which little evidence is shrunken.

    Series in a row, such as cpu and memory of one shard, are kept apart: each is compared with its own kind.
    """

    def __init__(self, shards: int, prior: float, kinds: int = 1) -> None:
        self.prior = prior
        self._square = np.zeros((shards, kinds))
        self._count = np.zeros((shards, kinds))
        self._pairs, self._most, self._heard = 0.0, 0.0, 0.0

    @property
    def rho(self) -> float:
        """The correlation, in 0..0.95."""
        if self._heard <= 0:
            return float(np.clip(self.prior, 0.0, MOST))
        typical = self._most / self._heard
        found = (self._pairs + SHRUNK * typical * self.prior) / max(self._most + SHRUNK * typical, 1e-12)
        return float(np.clip(found, 0.0, MOST))

    def settle(self, errors: NDArray[np.floating], host: NDArray[np.integer]) -> None:
        """Learn ``errors`` (N,) or (N, kinds), truth less what was said; ``host`` (N,) is a row, -1 for none.

        NaN where nothing came due. Raises ValueError if they are not of this many shards.
        """
        errors = np.asarray(errors, np.float64).reshape(len(host), -1)
        if errors.shape != self._square.shape:
            raise ValueError(f"errors of shape {errors.shape} for {self._square.shape}")
        valid = np.isfinite(errors)
        deviation = np.sqrt(self._square)
        ready = valid & (self._count >= KNOWN) & (deviation > 0) & (np.asarray(host) >= 0)[:, None]
        if ready.any():
            self._learn(np.where(ready, np.clip(errors, -WILD * deviation, WILD * deviation), 0.0),
                        np.where(ready, deviation, 0.0), np.asarray(host))  # fmt: skip
        rate = np.where(valid, np.maximum(_RATE, 1 / (self._count + 1)), 0.0)
        square = np.square(np.where(valid, errors, 0.0))
        ceiling = np.where(self._count >= KNOWN, np.square(2 * WILD) * self._square, np.inf)
        self._square += rate * (np.minimum(square, ceiling) - self._square)
        self._count += valid

    def _learn(self, errors: F64, deviation: F64, host: NDArray[np.integer]) -> None:
        rows = int(host.max()) + 1
        at = np.maximum(host, 0)

        def total(values: F64) -> F64:
            sums = [np.bincount(at, values[:, kind], rows) for kind in range(values.shape[1])]
            return np.stack(sums, axis=1)

        most = np.square(total(deviation)) - total(np.square(deviation))
        pairs = np.square(total(errors)) - total(np.square(errors))
        scale = total(np.square(deviation))
        # Hosts with one shard say nothing; nor do those of which one shard is nearly all.
        told = most > 1e-6 * np.maximum(scale, 1e-300)
        if not told.any():
            return
        keep = 1 - 1 / MEMORY
        unit = np.square(total(deviation))[told]
        self._pairs = self._pairs * keep + float((pairs[told] / unit).sum())
        self._most = self._most * keep + float((most[told] / unit).sum())
        self._heard = self._heard * keep + float(told.sum())

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder shards; -1 is one of which nothing was seen. What was learned of the fleet stays."""
        square = np.zeros((len(rows), self._square.shape[1]))
        count = np.zeros_like(square)
        kept = rows >= 0
        square[kept], count[kept] = self._square[rows[kept]], self._count[rows[kept]]
        self._square, self._count = square, count
