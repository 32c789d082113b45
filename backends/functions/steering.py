"""Which running block should go on elsewhere, by what hosts are forecast to have left. Pure.

A host with blocks is done when the work on it is: work over the cores that it will have, of which a block uses one at
most. A move is worth it when the later of two hosts is done clearly earlier for it; so nothing goes to and fro.
While calls wait, the place that a block leaves is taken by the next one at once: a host that is busy would only be
slower for it, so it takes over nothing but what would be kept for long where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: seconds that a move costs, and seconds and share of the time that it has to save
COST: Final = 0.5
LEAST: Final = 1.0
SHARE: Final = 0.2
#: seconds for which a block may be kept where it is rather than slow down another while calls wait
LONG: Final = 30.0
#: cores of a host that has none left
_NONE: Final = 0.02


@dataclass(frozen=True)
class Load:
    """A block on a host, and the processor seconds that it is expected to need still."""

    block: str
    host: str
    work: float
    #: whether it can be stopped, and has not just been
    moves: bool = True
    #: hosts that may have it; none named: all
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """A move, and the seconds by which the later of the two hosts is done earlier."""

    block: str
    source: str
    target: str
    saves: float


def done_in(work: Sequence[float], free: NDArray[np.float64]) -> float:
    """Seconds until a host is done with blocks of ``work`` (processor s), with ``free`` (T,) cores in each second."""
    if not work:
        return 0.0
    # A block uses one core at most, so that a host cannot be done before its longest block is.
    return max(
        _reached(sum(work), np.minimum(free, float(len(work)))),
        _reached(max(work), np.minimum(free, 1.0)),
    )


def _reached(work: float, rates: NDArray[np.float64]) -> float:
    rates = np.maximum(rates, _NONE)
    total = np.cumsum(rates)
    if work > total[-1]:
        return float(len(rates) + (work - total[-1]) / rates[-1])
    at = int(np.searchsorted(total, work))
    return float(at + (work - (total[at] - rates[at])) / rates[at])


def choose(loads: Sequence[Load], free: Mapping[str, NDArray[np.float64]], *, waiting: int = 0) -> Choice | None:
    """The move that saves most, or None when none is worth it. ``free`` (T,) by host: cores in each coming second.

    ``waiting`` calls have no place yet.
    """
    on: dict[str, list[Load]] = {host: [] for host in free}
    for load in loads:
        on.setdefault(load.host, []).append(load)
    now = {host: done_in([load.work for load in there], free[host]) for host, there in on.items() if host in free}
    best: Choice | None = None
    for load in loads:
        if not load.moves or load.host not in now:
            continue
        left = done_in([other.work for other in on[load.host] if other is not load], free[load.host])
        for target, known in now.items():
            if target == load.host or known >= now[load.host] or (load.hosts and target not in load.hosts):
                continue
            crowded = bool(on[target]) and len(on[target]) + 1 > float(free[target].mean())
            if waiting and crowded and now[load.host] < LONG:
                continue
            there = done_in([*(other.work for other in on[target]), load.work], free[target]) + COST
            saves = now[load.host] - max(left, there)
            if saves >= max(LEAST, SHARE * now[load.host]) and (best is None or saves > best.saves):
                best = Choice(load.block, load.host, target, saves)
    return best
