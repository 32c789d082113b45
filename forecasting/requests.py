"""What a request costs a shard, and so what a forecast of requests means for its demand (S1.5, S1.7).

Use is taken as a base and a cost for every request, both at least 0, learned online for all
shards at once with forgetting. Where requests are known or forecast ahead, demand follows
from them, also demand that its own past could not have told.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: what is learned: cores, bytes, bytes/s received and sent together
RESOURCES: Final = ("cpu", "memory", "net")
#: what is left of the memory after one more step
FORGET: Final = 0.998
#: steps that the assumption counts for: processor and network are all due to requests, memory is none of it
ASSUMED: Final = 0.5
_CAUSED: Final = np.array([True, False, True])
#: relative deviation that is assumed until errors are known, and its weight in steps
DEVIATION: Final = 0.2
DEVIATION_WEIGHT: Final = 5.0
#: steps with requests from which a shard's costs are used
ENOUGH: Final = 12


class RequestCosts:
    """Base and cost of ``shards`` shards: ``observe`` every step, ``demand`` for a forecast of requests."""

    def __init__(self, shards: int) -> None:
        shape = (shards, len(RESOURCES))
        self.shards = shards
        #: weights, and weighted sums of rate, use, rate squared, rate times use
        self._sums = np.zeros((5, *shape))
        self._squares = np.zeros(shape)
        self._errors = np.zeros(shape)
        self.seen = np.zeros(shape, dtype=np.int64)

    def observe(self, requests: NDArray[np.floating], use: NDArray[np.floating]) -> None:
        """Learn one step: requests a second (N,) and use (N, RESOURCES); NaN is not known. Raises ValueError."""
        rate, use = np.asarray(requests, dtype=np.float64)[:, None], np.asarray(use, dtype=np.float64)
        if rate.shape != (self.shards, 1) or use.shape != (self.shards, len(RESOURCES)):
            raise ValueError(f"{rate.shape[0]} rates and use of shape {use.shape} for {self.shards} shards")
        known = np.isfinite(rate) & np.isfinite(use) & (rate >= 0)
        rate, use = np.where(known, rate, 0.0), np.where(known, use, 0.0)
        base, cost = self.costs()
        error = np.where(known & (self.seen >= ENOUGH // 2), use - base - cost * rate, 0.0)
        keep = np.where(known, FORGET, 1.0)
        self._squares = keep * self._squares + np.nan_to_num(error) ** 2
        self._errors = keep * self._errors + (known & (self.seen >= ENOUGH // 2))
        self._sums = keep * self._sums + known * _terms(rate, np.asarray(use))
        self.seen += known

    def costs(self) -> tuple[F64, F64]:
        """(N, RESOURCES) base, and cost of a request; NaN for a shard of which nothing is known."""
        weight, rate, use, squares, product = self._sums
        with np.errstate(invalid="ignore", divide="ignore"):
            unit = squares / weight
            # assumed steps: at rate 0 nothing is used, or, of memory, what is used does not change with the rate
            n = weight + np.where(_CAUSED, ASSUMED, 0.0)
            squares = squares + np.where(_CAUSED, 0.0, ASSUMED * np.maximum(unit, 1e-12))
            spread = n * squares - rate**2
            cost = np.where(spread > 1e-12 * np.maximum(n * squares, 1e-300), (n * product - rate * use) / spread, 0.0)
            cost = np.maximum(cost, 0.0)
            base = (use - cost * rate) / n
            # a base below nothing is none, and all is due to requests
            through = np.where(squares > 0, product / squares, 0.0)
            cost = np.where(base < 0, np.maximum(through, 0.0), cost)
        unknown = self.seen == 0
        return np.where(unknown, np.nan, np.maximum(base, 0.0)), np.where(unknown, np.nan, cost)

    def deviation(self) -> F64:
        """(N, RESOURCES) of use about what requests explain."""
        weight, _, use, _, _ = self._sums
        with np.errstate(invalid="ignore", divide="ignore"):
            typical = (DEVIATION * use / weight) ** 2
        return np.asarray(np.sqrt((self._squares + DEVIATION_WEIGHT * typical) / (self._errors + DEVIATION_WEIGHT)))

    def demand(self, requests: NDArray[np.floating], levels: tuple[float, ...]) -> F64:
        """(N, T, RESOURCES, Q) quantiles of demand for quantiles (N, T, Q) of requests at the same levels.

        NaN for shards that have reported too little yet. Quantiles do not cross, and are at least 0.
        """
        rate = np.asarray(requests, dtype=np.float64)
        base, cost = self.costs()
        middle = _median(rate, levels)
        z = np.array([NormalDist().inv_cdf(level) for level in levels])
        centre = (base[:, None] + cost[:, None] * middle[..., None])[..., None]
        by_rate = cost[:, None, :, None] * (rate - middle[..., None])[:, :, None, :]
        doubt = self.deviation()[:, None] * np.sqrt(1 + self._lever(middle))
        away = np.sqrt(by_rate**2 + (doubt[..., None] * z) ** 2)
        found = np.maximum.accumulate(np.maximum(centre + np.sign(z) * away, 0.0), axis=-1)
        enough = (self.seen >= ENOUGH)[:, None, :, None]
        return np.where(enough, found, np.nan)

    def _lever(self, rate: F64) -> F64:
        """(N, T, RESOURCES) how much less is known at these rates (N, T) than at those that were seen."""
        weight, total, _, squares, _ = (each[:, None] for each in self._sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / weight
            spread = squares - total * mean + ASSUMED * mean**2
            away = np.where(spread > 0, (rate[..., None] - mean) ** 2 / spread, 0.0)
        return np.asarray(np.nan_to_num(away + 1 / np.maximum(weight, 1.0)))

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder shards; -1 adds one that was never seen."""
        rows = np.asarray(rows, dtype=np.int64)
        fresh = rows < 0
        taken = np.maximum(rows, 0)
        if not self.shards:
            vars(self).update(vars(RequestCosts(len(rows))))
            return
        self._sums = np.where(fresh[:, None], 0.0, self._sums[:, taken])
        self._squares = np.where(fresh[:, None], 0.0, self._squares[taken])
        self._errors = np.where(fresh[:, None], 0.0, self._errors[taken])
        self.seen = np.where(fresh[:, None], 0, self.seen[taken])
        self.shards = len(rows)


def _terms(rate: F64, use: F64) -> F64:
    rates = np.broadcast_to(rate, use.shape)
    return np.stack([np.ones_like(use), rates, use, rates**2, rates * use])


def _median(values: F64, levels: tuple[float, ...]) -> F64:
    """(N, T) of quantiles (N, T, Q): a level of 0.5, or a line between its neighbours."""
    right = min(int(np.searchsorted(levels, 0.5)), len(levels) - 1)
    left = max(right - 1, 0)
    width = levels[right] - levels[left]
    share = min(1.0, max(0.0, (0.5 - levels[left]) / width)) if width > 0 else 0.0
    return np.asarray(values[..., left] + share * (values[..., right] - values[..., left]))
