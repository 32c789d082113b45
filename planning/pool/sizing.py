"""How many instances to hold: the newsvendor's answer to a forecast (S4.6, S4.23). Pure, all pools at once.

Instances that stand READY belong to nobody, so all apps of a pool share them: what one app needs beyond what was
expected, another one seldom needs at the same time. Too few cost ``ratio`` times as much as too many; then the
least expected cost is at the quantile ``ratio / (1 + ratio)`` of need, whatever its distribution. Demand is
places in use at once; what is held are instances of ``places`` each.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: no quantile beyond is asked for: nobody can have learned it
HIGHEST: Final = 0.99999
#: levels at which distributions are summed up
_KNOTS: Final = (np.arange(40) + 0.5) / 40


def level_of(ratio: NDArray[np.floating]) -> F64:
    """The quantile that is worth holding for costs in that ratio (P,), shortage to surplus."""
    ratio = np.asarray(ratio, dtype=np.float64)
    return np.minimum(ratio / (1.0 + ratio), HIGHEST)


def deviates(levels: NDArray[np.floating]) -> F64:
    """Standard normal deviates at these levels."""
    flat = np.asarray(levels, dtype=np.float64)
    seen = {float(each): NormalDist().inv_cdf(float(each)) for each in np.unique(flat)}
    return np.array([seen[each] for each in flat.ravel().tolist()]).reshape(flat.shape)


def value_at(levels: tuple[float, ...], quantiles: F64, wanted: F64) -> F64:
    """(P, W) values at levels ``wanted`` (P, W) of the distributions whose quantiles are (P, Q) at ``levels``.

    Straight lines between normal deviates; beyond the outermost level the last line goes on. NaN where
    any quantile is. Never below 0.
    """
    knots, z = deviates(np.asarray(levels)), deviates(wanted)
    right = np.clip(np.searchsorted(knots, z), 1, len(knots) - 1)
    row = np.arange(len(quantiles))[:, None]
    low, high = quantiles[row, right - 1], quantiles[row, right]
    slope = (high - low) / (knots[right] - knots[right - 1])
    return np.maximum(low + slope * (z - knots[right - 1]), 0.0)


def instances(demand: F64, places: NDArray[np.floating]) -> I64:
    """Instances of so many places (P,) that hold a demand (P,); 0 for one that is not known."""
    # a hair less than a whole one is arithmetic, not demand
    return np.ceil(np.nan_to_num(np.asarray(demand)) / places - 1e-9).astype(np.int64)


def newsvendor(
    levels: tuple[float, ...], quantiles: F64, ratio: NDArray[np.floating], places: NDArray[np.floating]
) -> I64:
    """(P,) instances of the least expected cost for a demand with these quantiles (P, Q)."""
    return instances(value_at(levels, quantiles, level_of(ratio)[:, None])[:, 0], places)


def excess(levels: tuple[float, ...], quantiles: F64, active: I64, places: NDArray[np.floating]) -> tuple[F64, F64]:
    """(A,) mean and variance of the instances that demand with these quantiles (A, Q) asks for beyond ``active``."""
    demand = value_at(levels, quantiles, np.broadcast_to(_KNOTS, (len(quantiles), len(_KNOTS))))
    beyond = np.maximum(np.ceil(demand / places[:, None] - 1e-9) - active[:, None], 0.0)
    return beyond.mean(axis=1), beyond.var(axis=1)


def cost(mean: F64, sd: F64, held: I64, ratio: NDArray[np.floating]) -> F64:
    """(P,) expected cost, in instances too many, of holding ``held`` for a normal need: its loss function."""
    z = (held - mean) / np.maximum(sd, 1e-9)
    below = np.array([NormalDist().cdf(float(each)) for each in z])
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    surplus = sd * (z * below + density)
    shortage = np.maximum(surplus - (held - mean), 0.0)
    return np.asarray(surplus + ratio * shortage)


def around(mean: F64, sd: F64, held: I64, ratio: NDArray[np.floating]) -> tuple[F64, F64]:
    """(P,) what one instance fewer (NaN where there is none), and one more, would add to the expected cost."""
    now = cost(mean, sd, held, ratio)
    fewer = np.where(held > 0, cost(mean, sd, held - 1, ratio) - now, np.nan)
    return fewer, cost(mean, sd, held + 1, ratio) - now
