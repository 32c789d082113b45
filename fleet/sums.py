"""Quantiles of a sum: what several shards will need together, when some of what moves them is common.

Quantiles do not add: not every shard is high at the same time, so the sum of 95 %
quantiles is reached far more seldom than once in twenty; and medians of bursty shards
add up to less than the sum's. Means do add. So the sum of the quantile functions is drawn
together about the sum of the means, by as much as a correlation between any two shards
makes the deviation of a sum smaller than the sum of deviations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def moments(quantiles: NDArray[np.floating], levels: tuple[float, ...]) -> tuple[F64, F64]:
    """Mean and standard deviation (...) of distributions given by ``quantiles`` (..., Q).

    The quantile function is taken as lines between the levels and as flat beyond them.
    """
    values = np.asarray(quantiles, dtype=np.float64)
    width = np.diff(np.asarray(levels))
    left, right = values[..., :-1], values[..., 1:]
    low, high = levels[0] * values[..., 0], (1 - levels[-1]) * values[..., -1]
    mean = low + high + ((left + right) / 2 * width).sum(axis=-1)
    centred = values - mean[..., None]
    left, right = centred[..., :-1], centred[..., 1:]
    tails = levels[0] * centred[..., 0] ** 2 + (1 - levels[-1]) * centred[..., -1] ** 2
    variance = tails + ((left**2 + left * right + right**2) / 3 * width).sum(axis=-1)
    return np.asarray(mean), np.sqrt(np.maximum(variance, 0.0))


def summed(quantiles: NDArray[np.floating], levels: tuple[float, ...], rho: float) -> F64:
    """Quantiles (..., Q) of the sum over the first axis of ``quantiles`` (n, ..., Q).

    ``rho`` in 0..1 is the correlation of any two errors. One part alone keeps its
    quantiles, and with ``rho`` 1 quantiles add. They never cross, nor fall below 0 where
    no part does. Parts that are NaN are left out; where all are, so is the sum.
    """
    values = np.asarray(quantiles, dtype=np.float64)
    known: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=-1))
    values = np.where(known[..., None], values, 0.0)
    mean, deviation = moments(values, levels)
    together = deviation.sum(axis=0)
    spread = np.sqrt((1.0 - rho) * np.square(deviation).sum(axis=0) + rho * np.square(together))
    centre = mean.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(together > 0, np.minimum(spread / together, 1.0), 1.0)
    total = centre[..., None] + share[..., None] * (values.sum(axis=0) - centre[..., None])
    some: NDArray[np.bool_] = np.asarray(known.any(axis=0))
    return np.where(some[..., None], total, np.nan)
