"""The search from one start: temperatures, penalties and shares of proposals over a budget of proposals.

Needs numba (the ``walk``). Everything that steers is an integer or a float rounded to a few
bits, so that another machine's mathematics library steers the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.rebalance.model import I64
from sidestep.planning.rebalance.state import EXCESS, SHORT, TOTAL, UNMET, State

#: proposals between two looks at clock, temperature and hosts
CHUNK = 20_000
#: looks between two drawings of the hosts that proposals favour
REDRAW = 4
HOT = 256
#: shares of the kinds of proposals: with nothing held behind by moves, and where that jams the hosts
FREE = (40, 10, 48, 0, 0, 1, 1, 0, 0)
JAMMED = (30, 6, 34, 0, 0, 0, 1, 0, 29)
#: a rise that nothing is worth
WALL = 10**13


@dataclass(frozen=True)
class Schedule:
    """How one walk cools: from ``hot`` to ``cold``, soon on to ``still``, and downhill only at last.

    ``mix``: shares of the kinds of proposals (shift, undo, swap, scan, push, kin
    swap, chain, pair, replace); ``favour``: share of the proposals for shards of hosts in proportion to
    their cost.
    """

    hot: float
    cold: float
    still: float = 3.0
    mix: tuple[int, ...] = FREE
    favour: float = 0.3
    #: shares of the budget after which it is cold, and still
    cooled: float = 0.9
    downhill: float = 0.97

    def temperature(self, spent: float) -> float:
        """Temperature once a share of the budget is spent."""
        if spent >= self.downhill or self.hot <= 0:
            return 0.0
        if spent < self.cooled:
            return rounded(self.hot * (self.cold / self.hot) ** (spent / self.cooled))
        rest = (spent - self.cooled) / (self.downhill - self.cooled)
        return rounded(self.cold * (self.still / self.cold) ** rest)


class Best:
    """The best assignment seen: fewest constraints broken, then the lowest cost."""

    def __init__(self, state: State) -> None:
        self.key = key_of(state)
        self.host: NDArray[np.int32] = state.host.copy()

    def look(self, state: State) -> bool:
        """Keep the state's assignment if it is better; whether it was."""
        key = key_of(state)
        if key >= self.key:
            return False
        self.key = key
        self.host[:] = state.host
        return True


def key_of(state: State) -> tuple[int, int]:
    """What is lowered: constraints broken, then cost."""
    sums = state.sums
    return int(sums[SHORT] + sums[UNMET] + sums[EXCESS]), int(sums[TOTAL])


def rounded(value: float) -> float:
    """A float to 20 significant bits: what libraries differ in is gone."""
    if value <= 0:
        return 0.0
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2**20), exponent - 20)


def chances() -> NDArray[np.float64]:
    """(4096,) exponential variates: an accepted rise at temperature 1, one for each chance in 4096."""
    return np.array([rounded(-math.log((at + 0.5) / 4096)) for at in range(4096)])


def gumbels() -> NDArray[np.float64]:
    """(4096,) Gumbel variates in a scattered order: the largest of weights plus these is drawn by weight."""
    values = [-math.log(-math.log((at + 0.5) / 4096)) for at in range(4096)]
    even = [math.copysign(rounded(abs(value)), value) for value in values]
    return np.array([even[at * 1597 % 4096] for at in range(4096)])


def ends_of(mix: tuple[int, ...]) -> I64:
    """Rising ends out of 1024 of shares."""
    whole = sum(mix)
    return np.array([sum(mix[: at + 1]) * 1024 // whole for at in range(len(mix))], dtype=np.int64)


def favoured(cost: I64, shift: int) -> I64:
    """(HOT,) hosts in proportion to their cost; ``shift`` (0..HOT-1) moves the marks."""
    ends = np.cumsum(cost)
    whole = int(ends[-1])
    if whole <= 0:
        return np.zeros(0, np.int64)
    marks = np.array([(at * HOT + shift) * whole // (HOT * HOT) for at in range(HOT)], dtype=np.int64)
    return np.searchsorted(ends, marks, side="right").astype(np.int64)


def anneal(
    state: State, schedule: Schedule, seed: int, spent: Callable[[int], float], tell: Callable[[Best], None]
) -> tuple[Best, int, list[tuple[float, int]]]:
    """Walk until ``spent`` of the proposals made reaches 1; the best found, how many were made, and the curve.

    The curve is temperature and cost after every chunk.

    ``spent`` is asked between chunks and must not fall; ``tell`` hears of every improvement.
    """
    from sidestep.planning.rebalance.kernels import KINDS  # noqa: PLC0415 - compiles
    from sidestep.planning.rebalance.walk import walk  # noqa: PLC0415

    rng = np.array([(88172645463325252 ^ (seed * 0x9E3779B97F4A7C15)) & (2**63 - 1) or 1], dtype=np.uint64)
    chance, noise, ends = chances(), gumbels(), ends_of(schedule.mix)
    field = np.zeros((2, len(state.cost)), np.int64)
    tally, scratch = np.zeros((KINDS, 2), np.int64), np.zeros((3, 16), np.int64)
    best, hosts = Best(state), np.zeros(0, np.int64)
    made = look = 0
    curve: list[tuple[float, int]] = []
    while (share := spent(made)) < 1:
        if look % REDRAW == 0:
            hosts = favoured(state.cost, look * 97 % HOT)
        look += 1
        temperature = schedule.temperature(share)
        walk(state, rng, CHUNK, temperature, WALL, 0, ends, hosts,
             int(schedule.favour * 1024), chance, noise, tally, scratch, field)  # fmt: skip
        made += CHUNK
        curve.append((temperature, int(state.sums[TOTAL])))
        if best.look(state):
            tell(best)
    return best, made, curve
