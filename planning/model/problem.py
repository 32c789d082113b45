"""A planning problem as struct of arrays: hosts and shards are rows, what is counted are columns.

``H`` hosts, ``N`` shards, ``D`` columns. The first ``R * T`` columns are ``R`` dimensions at
``T`` steps of the horizon, row-major; columns after them (disk) do not change with time.
Demand is a median and a distance from it to the quantile at which hosts must fit; sums of
shards have the variance ``(1 - rho) * sum(var) + rho * sum(sd)**2`` (see
``planning.uncertainty``). With ``sd`` zero everywhere the problem is linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.model.constraints import Constraints
from sidestep.planning.uncertainty import combined

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """All that planning computes with; never changed, so that many trials can share it."""

    #: R, T of the columns that change over time
    dimensions: int
    steps: int
    #: steps running that demand must stay above the limit to be contention
    duration: int = 1
    rho: float = 0.0
    #: normal deviation of the quantile at which hosts must fit; 0 where demand is certain
    z: float = 0.0
    #: (H, D) above it a host is in contention
    limit: F64
    #: (H, D) above it a host receives nothing; the limit less what is reserved for failures
    room: F64
    #: (H, D) what fractions are of; NaN where it is not known
    capacity: F64
    #: (H, D) demand at the median with everything that is there now, shards or not
    median: F64
    #: (H, D) distance from the median to the strict quantile
    away: F64
    #: (H, D) sums over the host's shards of variances and of standard deviations
    variance: F64
    deviation: F64
    #: (H,) who may receive, and whom shards can leave now
    accepts: Mask
    gives: Mask
    #: (H,) cost per hour, and last tie-break (a permutation of 0..H-1)
    cost: F64
    rank: I64
    #: (N,) where each shard is; -1 is nowhere
    host: I32
    #: (N, D)
    mean: F32
    sd: F32
    #: (N,) may move now and its demand is known
    movable: Mask
    #: (N,) bytes that its move carries, and how many moves it counts (bundles count more than one)
    bytes: F64
    count: I32
    #: (N,) 1 is most important
    priority: I32
    constraints: Constraints

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @property
    def hosts(self) -> int:
        """H."""
        return len(self.limit)

    @property
    def shards(self) -> int:
        """N."""
        return len(self.host)

    @property
    def timed(self) -> int:
        """Columns that change over time: R * T."""
        return self.dimensions * self.steps

    @cached_property
    def linear(self) -> bool:
        """Whether demand simply adds up, so that linear programs say the exact truth."""
        return self.z == 0.0 or self.certain

    @cached_property
    def certain(self) -> bool:
        """Whether no shard's demand is uncertain."""
        return not self.sd.any()

    @cached_property
    def fixed(self) -> F64:
        """(H, D) distance of the strict quantile from the median, with its sign, where no move changes it."""
        return np.asarray((-1.0 if self.z < 0 else 1.0) * np.abs(self.away), dtype=np.float64)

    @cached_property
    def calm(self) -> bool:
        """Whether no demand is infinite: sums with whatever room there is then need no watching over."""
        return not (np.isinf(self.median).any() or np.isinf(self.fixed).any())

    @cached_property
    def spread(self) -> F64:
        """(H, D) the variance of the sum of each host's shards."""
        return combined(self.variance, self.deviation, self.rho)

    @cached_property
    def members(self) -> tuple[I64, I64]:
        """Shard rows ordered by host, and where each host's begin (H + 1 numbers)."""
        order = np.argsort(self.host, kind="stable")
        return order, np.searchsorted(self.host[order], np.arange(self.hosts + 1))

    def on(self, host: int) -> I64:
        """The shards of a host before any move, by row."""
        order, starts = self.members
        return order[starts[host] : starts[host + 1]]

    def held(self, upper: F64, limit: F64) -> Mask:
        """(...,) whether demand (..., D) is contention against ``limit`` (..., D).

        A timed dimension is, if it stays above for ``duration`` steps; any other column at once.
        """
        above = upper > limit * (1.0 + 1e-9) + 1e-12
        still = np.asarray(above[..., self.timed :].any(axis=-1), dtype=np.bool_)
        if self.timed == 0:
            return still
        rows = above[..., : self.timed].reshape(*above.shape[:-1], self.dimensions, self.steps)
        width = max(1, min(self.duration, self.steps))
        if width > 1:
            # a run of ``width`` trues ends where the count of the last ``width`` is full
            counted = np.cumsum(rows, axis=-1, dtype=np.int32)
            full = counted[..., width - 1 :].copy()
            full[..., 1:] -= counted[..., :-width]
            rows = full == width
        return np.asarray(still | rows.any(axis=(-1, -2)), dtype=np.bool_)
