"""The best contiguous cuts for hosts in a given order.

A part costs compute (CPU seconds over the host's rate) plus input and output (bytes over its link); its memory must
fit. The makespan, the longest part, is least: found by bisection over it, each step one greedy pass, which is exact
for contiguous parts in a fixed order. The same loop is cut anew for other hosts, or for what is left of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sidestep.sharding.execute.contract import HostShare, Network

_STEPS = 60
#: a host with less of a core free than this gets nothing
_LEAST = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Costs:
    """Per iteration: CPU seconds at speed 1, bytes moved, and bytes of memory it needs while it runs."""

    cpu: Floats
    io: Floats
    memory: Floats

    @classmethod
    def even(cls, count: int, cpu: float = 1.0) -> Costs:
        """Iterations that all cost the same and move nothing."""
        nothing = np.zeros(count)
        return cls(np.full(count, cpu), nothing, nothing)

    def resampled(self, count: int) -> Costs:
        """The same shape over another number of iterations."""
        if count == len(self.cpu):
            return self
        if not len(self.cpu):
            return Costs.even(count)
        at = np.minimum(np.arange(count) * len(self.cpu) // max(count, 1), len(self.cpu) - 1)
        return Costs(self.cpu[at], self.io[at], self.memory[at])


@dataclass(frozen=True, slots=True)
class Resources:
    """What one host gives to a part: CPU seconds a second, bytes a second, bytes of memory."""

    rate: float
    link: float = 1e12
    memory: float = float("inf")


@dataclass(frozen=True, slots=True)
class Cut:
    """Bounds of the parts, one more than parts; an empty part's host gets nothing. ``makespan`` in seconds."""

    bounds: list[int]
    makespan: float
    parts: list[float] = field(default_factory=list)


def resources_of(hosts: Sequence[HostShare], network: Network) -> list[Resources]:
    """Hosts as rates: a shard runs on one core, so more than one free core makes it no faster."""
    return [Resources(h.speed * min(1.0, h.cores) if h.cores >= _LEAST else 0.0, network.bytes_per_s) for h in hosts]


def cut(costs: Costs, hosts: Sequence[Resources], first: int = 0) -> Cut | None:
    """The cuts with the least makespan for iterations from ``first`` on; None when memory suffices nowhere."""
    cpu, io = _sums(costs.cpu[first:]), _sums(costs.io[first:])
    memory = _sums(costs.memory[first:])
    count = len(cpu) - 1
    usable = [h for h in hosts if h.rate > 0]
    if not count or not usable:
        return None if count else Cut([first] * (len(hosts) + 1), 0.0, [0.0] * len(hosts))
    # What each host would take for everything up to an iteration; it only rises, so that a part's end is searched.
    sums = [cpu / h.rate + io / h.link if h.rate > 0 else None for h in hosts]
    low, high = 0.0, max(cpu[-1] / h.rate + io[-1] / h.link for h in usable)
    best = _greedy(sums, memory, hosts, high)
    if best is None:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        found = _greedy(sums, memory, hosts, middle)
        if found is None:
            low = middle
        else:
            best, high = found, middle
    spans = [
        float((cpu[b] - cpu[a]) / h.rate + (io[b] - io[a]) / h.link) if b > a else 0.0
        for a, b, h in zip(best, best[1:], hosts, strict=False)
    ]
    return Cut([first + b for b in best], max(spans), spans)


def _sums(values: Floats) -> Floats:
    return np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))


def _greedy(
    sums: Sequence[Floats | None], memory: Floats, hosts: Sequence[Resources], limit: float
) -> list[int] | None:
    """Give each host as much as it does within the limit; None when something is left over."""
    bounds, at, slack, count = [0], 0, limit * (1 + 1e-12) + 1e-15, len(memory) - 1
    for h, taken in zip(hosts, sums, strict=True):
        if taken is not None and at < count:
            end = int(np.searchsorted(taken, taken[at] + slack, side="right")) - 1
            fits = int(np.searchsorted(memory, memory[at] + h.memory, side="right")) - 1
            at = max(at, min(end, fits))
        bounds.append(at)
    return bounds if at == count else None
