"""Which slots go where: to even out demand with the fewest slots moved, to split a range, to merge one. Pure.

Demand is any figure a slot, float64[16384], nothing negative; shares say how much of the whole a master is to have.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.backends.redis_cluster.ranges import SLOTS, Range
from sidestep.backends.redis_cluster.topology import NOBODY, Owners
from sidestep.fleet.errors import UsageError

Demand = NDArray[np.float64]
#: of what a master is to have, by which it may miss it
TOLERANCE: Final = 0.02


def loads(owners: Owners, demand: Demand, masters: int) -> Demand:
    """The demand of every master, float64[masters]; slots without an owner count for nobody."""
    known = owners != NOBODY
    return np.asarray(np.bincount(owners[known], weights=demand[known], minlength=masters), dtype=np.float64)


def targets(demand: Demand, weights: Sequence[float]) -> Demand:
    """What every master is to have, float64[masters]. Raises UsageError unless some weight is above 0."""
    shares = np.asarray(weights, dtype=np.float64)
    if not len(shares) or bool((shares < 0).any()) or not shares.sum() > 0:
        raise UsageError("weights must not be negative, and one must be above 0")
    return np.asarray(demand.sum() * shares / shares.sum(), dtype=np.float64)


def rebalanced(
    owners: Owners, demand: Demand, weights: Sequence[float], *, tolerance: float = TOLERANCE
) -> Owners:  # fmt: skip
    """Owners after the fewest moves that bring every master within the tolerance, as far as slots can be divided.

    The heaviest slots that fit go first, so that few do. A master of weight 0 gives everything. Where every master is
    within the tolerance nothing moves. No move takes a giver below, or a taker above, what it is to have and the
    tolerance. Owners that are ``NOBODY`` stay so.
    """
    after: Owners = owners.copy()
    if not demand.sum() > 0:
        demand = np.ones(SLOTS)
    want = targets(demand, weights)
    have = loads(after, demand, len(want))
    _emptied(after, demand, want, have)
    high, low = want * (1 + tolerance), want * (1 - tolerance)
    givers = {at: _by_weight(after, demand, at) for at in range(len(want)) if want[at] > 0}
    last = (NOBODY, NOBODY)
    while step := _step(givers, want, have, low, high, last):
        giver, taker, at = step
        last = giver, taker
        weights_of, slots = givers[giver]
        weight, slot = weights_of.pop(at), slots.pop(at)
        after[slot] = taker
        have[giver] -= weight
        have[taker] += weight
    return after


def _step(
    givers: dict[int, tuple[list[float], list[int]]], want: Demand, have: Demand, low: Demand, high: Demand,
    last: tuple[int, int],
) -> tuple[int, int, int] | None:  # fmt: skip
    """The next move: giver, taker, and which of the giver's slots; None when nothing is left to do, or can be.

    The pair of the move before goes on while it can, so that neighbouring slots stay together.
    """
    order = sorted(givers, key=lambda at: want[at] - have[at])
    pairs = [(giver, taker) for giver in order for taker in reversed(order)]
    for giver, taker in [last, *pairs] if last in pairs else pairs:
        if have[giver] <= want[giver] or have[taker] >= want[taker]:
            continue
        if have[giver] <= high[giver] and have[taker] >= low[taker]:
            continue  # neither is out of bounds
        weights = givers[giver][0]
        room = min(have[giver] - low[giver], high[taker] - have[taker])
        at = bisect_right(weights, room) - 1
        if at >= 0 and weights[at] > 0:
            return giver, taker, at
    return None


def _by_weight(owners: Owners, demand: Demand, at: int) -> tuple[list[float], list[int]]:
    """The slots of a master, the lightest first; of equals the last is taken, so that ranges stay whole."""
    slots = np.flatnonzero(owners == at)
    order = np.lexsort((slots, demand[slots]))
    return demand[slots][order].tolist(), slots[order].tolist()


def _emptied(owners: Owners, demand: Demand, want: Demand, have: Demand) -> None:
    """Whoever is to have nothing gives all of it, the heaviest first to who misses most."""
    leaving = [at for at in range(len(want)) if want[at] <= 0]
    slots = np.flatnonzero(np.isin(owners, leaving))
    for slot in slots[np.argsort(-demand[slots], kind="stable")].tolist():
        taker = int(np.argmin(np.where(want > 0, (have - want) / np.maximum(want, 1e-300), np.inf)))
        have[owners[slot]] -= demand[slot]
        owners[slot] = taker
        have[taker] += demand[slot]


def split(part: Range, demand: Demand) -> tuple[Range, Range]:
    """The range cut where both halves have about the same demand. Raises UsageError for a single slot."""
    if len(part) < 2:
        raise UsageError(f"{part} is a single slot, the smallest shard there is", hint="move it as a whole")
    piece = demand[part.first : part.last + 1]
    if not piece.sum() > 0:
        piece = np.ones(len(part))
    sums = np.cumsum(piece)
    # the cut after slot i leaves sums[i] below it
    at = int(np.argmin(np.abs(sums[:-1] - sums[-1] / 2)))
    return Range(part.first, part.first + at), Range(part.first + at + 1, part.last)


def changes(before: Owners, after: Owners) -> dict[tuple[int, int], tuple[int, ...]]:
    """Slots by giver and taker, for those that changed hands."""
    moved = np.flatnonzero((before != after) & (before != NOBODY))
    found: dict[tuple[int, int], list[int]] = {}
    for slot in moved.tolist():
        found.setdefault((int(before[slot]), int(after[slot])), []).append(slot)
    return {pair: tuple(slots) for pair, slots in sorted(found.items())}
