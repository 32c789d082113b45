"""What was declared of pools, as columns: one row a pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.pools import PoolSpec, Shrink

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: what the column ``shrink`` counts
SHRINK: Final = get_args(Shrink)
FORECAST_ALONE, AGREED, MEASURED = range(len(SHRINK))


@dataclass(frozen=True)
class Terms:
    """(P,) each, but ``pool`` (A,): the pool's row of each app, ascending.

    Times are seconds, ``places`` requests at once of one instance, ``size`` (P, 2) its cores and bytes; ``shrink``
    is an index into SHRINK.
    """

    pool: I64
    least: I64
    most: I64
    ready_least: I64
    guarantee: I64
    priority: I64
    places: F64
    ratio: F64
    activate: F64
    margin: F64
    stabilise: F64
    step_up: I64
    step_down: I64
    react_high: F64
    react_low: F64
    react_most: I64
    shrink: I64
    size: F64

    @classmethod
    def of(cls, pools: Sequence[PoolSpec]) -> Terms:
        """The columns of these pools."""

        def ints(name: str) -> I64:
            return np.array([getattr(pool, name) for pool in pools], dtype=np.int64)

        def floats(name: str) -> F64:
            return np.array([getattr(pool, name) for pool in pools], dtype=np.float64)

        return cls(
            pool=np.repeat(np.arange(len(pools)), [len(pool.apps) for pool in pools]).astype(np.int64),
            least=ints("min"),
            most=ints("max"),
            ready_least=ints("ready_min"),
            guarantee=ints("guarantee"),
            priority=ints("priority"),
            places=floats("places"),
            ratio=floats("cost_ratio"),
            activate=floats("activate_quantile"),
            margin=floats("margin"),
            stabilise=floats("stabilise"),
            step_up=ints("step_up"),
            step_down=ints("step_down"),
            react_high=floats("react_high"),
            react_low=floats("react_low"),
            react_most=ints("react_most"),
            shrink=np.array([SHRINK.index(pool.shrink) for pool in pools], dtype=np.int64),
            size=np.array([(pool.cpu, pool.memory) for pool in pools], dtype=np.float64).reshape(-1, 2),
        )
