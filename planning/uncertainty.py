"""Adding shards up: what is left of a host's uncertainty when some leave and others arrive.

Quantiles do not add: the sum of the shards' 90 % quantiles alarms far too often, because
not every shard is high at the same time, and adding variances alone alarms too seldom,
because some of what moves them is common. With a correlation ``rho`` between any two
shards' errors the variance of a sum is ``(1 - rho) * sum(var) + rho * sum(sd)**2``. It is
the one that the oracle has measured (``forecasting.peak.CommonFactor``), or the policy's.

That gives the *proportions*; the *level* is the oracle's own forecast of the host, whose
deviations from its median are scaled. So a host that nothing leaves and nothing enters
keeps exactly the numbers that the oracle gave it.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.forecast import LEVELS

F64 = NDArray[np.float64]
Array = F64 | NDArray[np.float32]

#: below this share of the variance before, what is left is rounding
_NOTHING = 1e-9


def normal_deviation(level: float) -> float:
    """How many standard deviations above the mean a normal variable's quantile lies."""
    return NormalDist().inv_cdf(level)


#: the same for every level of a forecast
NORMAL: F64 = np.array([normal_deviation(level) for level in LEVELS])


def combined(variance: F64, deviation: F64, rho: float) -> F64:
    """The variance of a sum of shards from the sums of their variances and standard deviations."""
    return np.asarray((1.0 - rho) * variance + rho * deviation**2, dtype=np.float64)


def arriving(variance: F64, deviation: F64, present: F64, rho: float) -> F64:
    """By how much ``combined`` grows when shards come to others whose deviations sum to ``present``."""
    return np.asarray((1.0 - rho) * variance + rho * (2.0 * present * deviation + deviation**2), dtype=np.float64)


def share_left(left: F64, before: F64) -> F64:
    """The part of a variance that stays, in 0..1; all of it where there was nothing to leave."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(before > 0, left / before, 1.0)
    return np.asarray(np.where(share < _NOTHING, 0.0, np.minimum(share, 1.0)), dtype=np.float64)


def deviation_after(deviation: F64, z: float | F64, share: F64, added: F64) -> F64:
    """A quantile's distance from the median after a change.

    ``deviation`` is the distance before, ``z`` the normal one of the same level (its sign
    says on which side it lies), ``share`` the part of the host's variance that stays and
    ``added`` the variance that arrives. Independent parts add in squares.
    """
    return np.asarray(np.sign(z) * np.sqrt(deviation**2 * share + np.square(z) * added), dtype=np.float64)
