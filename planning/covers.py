"""Minimum covers: the cheapest sets of shards whose departure takes a host out of contention.

Up to ``EXACT`` candidates every set is looked at, so the cheapest one is the optimum.
With more candidates these are: every one and every pair of a short list of ``SHORT``, every
set of the ``CORE`` best, and what two greedy orders (most relief per byte, most relief)
find after a pass that drops what is not needed. Supersets of a cover are left out: a host
cannot place more shards more easily.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.contention import first_sustained
from sidestep.planning.load import Load, Quantile
from sidestep.planning.rules import Rules
from sidestep.planning.uncertainty import F64, arriving, combined, deviation_after, share_left

EXACT = 12
SHORT = 48
CORE = 10
#: covers of one host that are offered to the search
KEEP = 128
#: numbers in one intermediate array
_CHUNK = 400_000

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Cover:
    """Shards (rows) that relieve a host together."""

    shards: tuple[int, ...]
    bytes: float


@dataclass(frozen=True)
class Relief:
    """What there is to choose from for one hot host, or why there is nothing."""

    host: int
    covers: tuple[Cover, ...]
    code: str = ""
    text: str = ""


@dataclass(frozen=True)
class Goal:
    """When a set of departures from a host is enough.

    ``relieve``: demand must not stay above the limit for the policy's duration, and the
    peak of every hot dimension must fall by ``gain``. Otherwise a shard is to come in its
    place: demand with ``guest`` must stay under the limit at every step.
    """

    load: Load
    host: int
    quantile: Quantile
    gain: float = 0.0
    hot: tuple[int, ...] = ()
    guest: int | None = None

    def met(self, shards: list[int], masks: Mask) -> Mask:
        """(S,) which of the sets (S, M) of ``shards`` are enough."""
        size = max(1, _CHUNK // max(1, self.load.median[0].size))
        parts = [self._met(shards, masks[at : at + size]) for at in range(0, len(masks), size)]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.bool_)

    def _met(self, shards: list[int], masks: Mask) -> Mask:
        load, host = self.load, self.host
        limit = np.broadcast_to(load.limit[host], (len(masks), load.limit.shape[1]))
        upper = self.after(shards, masks)
        if self.guest is not None:
            return np.asarray((upper.max(axis=2) <= limit).all(axis=1), dtype=np.bool_)
        enough = (first_sustained(upper, limit, load.duration) < 0).all(axis=1)
        before = load.median[host] + self.quantile.deviation[host]
        for dimension in self.hot:
            fall = before[dimension].max() - upper[:, dimension].max(axis=1)
            enough &= fall >= self.gain * load.capacity[host, dimension]
        return np.asarray(enough, dtype=np.bool_)

    def after(self, shards: list[int], masks: Mask) -> F64:
        """(S, R, T) demand at the quantile once each set has left, and the guest has come."""
        load, host = self.load, self.host
        mean = load.shard_mean[shards].astype(np.float64)
        sd = load.shard_sd[shards].astype(np.float64)
        pick = masks.astype(np.float64)
        left_sd = np.maximum(load.deviation[host] - np.tensordot(pick, sd, 1), 0.0)
        left_var = np.maximum(load.variance[host] - np.tensordot(pick, sd**2, 1), 0.0)
        share = share_left(combined(left_var, left_sd, load.rho), load.spread[host])
        median = np.maximum(load.median[host] - np.tensordot(pick, mean, 1), 0.0)
        added = np.zeros_like(share)
        if self.guest is not None:
            come = load.shard_sd[self.guest].astype(np.float64)
            median = median + load.shard_mean[self.guest].astype(np.float64)
            added = arriving(come**2, come, left_sd, load.rho)
        away = deviation_after(self.quantile.deviation[host], self.quantile.z, share, added)
        return np.asarray(median + away, dtype=np.float64)


def relief(load: Load, rules: Rules, host: int, quantile: Quantile, hot: tuple[int, ...], gain: float) -> Relief:
    """The covers that relieve a hot host at a quantile, cheapest first, or why there are none."""
    rows = rules.on(host)
    shards = candidates(load, rules, rows)
    if not shards:
        codes = sorted({rules.kept[row] or "UNKNOWN" for row in rows})
        return Relief(host, (), "IMMOVABLE", f"none of its {len(rows)} shards can move: {', '.join(codes) or 'none'}")
    covers = cheapest(Goal(load, host, quantile, gain, hot), shards)
    if covers:
        return Relief(host, covers)
    every = np.ones((1, len(shards)), dtype=np.bool_)
    if Goal(load, host, quantile).met(shards, every)[0]:
        return Relief(host, (), "MIN_GAIN", f"no move lowers its peak by min_gain = {gain:g} of capacity")
    return Relief(host, (), "IMMOVABLE", f"it stays in contention even without its {len(shards)} movable shards")


def candidates(load: Load, rules: Rules, rows: list[int]) -> list[int]:
    """The rows that may move now and whose demand is known, by name."""
    free = [row for row in rows if not rules.kept[row] and load.known[row]]
    return sorted(free, key=lambda row: rules.shard_names[row])


def cheapest(goal: Goal, shards: list[int]) -> tuple[Cover, ...]:
    """Minimal sets that meet the goal, by bytes, then moves, then names; at most ``KEEP``."""
    masks = _every_set(len(shards)) if len(shards) <= EXACT else _chosen_sets(goal, shards)
    size = goal.load.bytes[shards]
    bytes_, count = masks @ size, masks.sum(axis=1)
    order = np.lexsort([*(~masks.T)[::-1], count, bytes_])
    masks, bytes_ = masks[order], bytes_[order]
    enough = goal.met(shards, masks)
    found: list[Cover] = []
    kept = np.zeros((0, len(shards)), dtype=np.bool_)
    for mask, cost in zip(masks[enough], bytes_[enough], strict=True):
        if (kept <= mask).all(axis=1).any():
            continue
        kept = np.concatenate([kept, mask[None]])
        found.append(Cover(tuple(shards[i] for i in np.flatnonzero(mask)), float(cost)))
        if len(found) == KEEP:
            break
    return tuple(found)


def _every_set(count: int) -> Mask:
    """(2**count - 1, count) all sets but the empty one."""
    numbers = np.arange(1, 1 << count)
    return np.asarray((numbers[:, None] >> np.arange(count)) & 1, dtype=np.bool_)


def _chosen_sets(goal: Goal, shards: list[int]) -> Mask:
    worth = _relief(goal, shards)
    per_byte = worth / (goal.load.bytes[shards] + 65536.0)
    by_byte, by_worth = np.argsort(-per_byte, kind="stable"), np.argsort(-worth, kind="stable")
    short = _both(by_byte, by_worth, SHORT)
    core = _both(by_byte, by_worth, CORE)
    sets: set[tuple[int, ...]] = {(i,) for i in short} | set(combinations(sorted(short), 2))
    sets |= {tuple(sorted(c)) for n in range(3, CORE + 1) for c in combinations(core, n)}
    for order in (by_byte, by_worth):
        greedy = _greedy(goal, shards, order)
        if greedy:
            sets.add(greedy)
    masks = np.zeros((len(sets), len(shards)), dtype=np.bool_)
    for row, chosen in enumerate(sorted(sets)):
        masks[row, list(chosen)] = True
    return masks


def _relief(goal: Goal, shards: list[int]) -> F64:
    """(M,) how much of the excess each shard takes away."""
    load, host = goal.load, goal.host
    now = load.median[host] + goal.quantile.deviation[host]
    if goal.guest is not None:
        now = now + load.shard_mean[goal.guest]
    limit = np.maximum(load.limit[host], 1e-9)
    excess = np.maximum(now / limit[:, None] - 1.0, 0.0)
    mean = load.shard_mean[shards] / limit[:, None]
    return np.asarray((mean * (excess > 0)).sum(axis=(1, 2)), dtype=np.float64)


def _both(first: NDArray[np.int64], second: NDArray[np.int64], count: int) -> list[int]:
    """The best of two orders, taken alternately."""
    mixed = np.stack([first, second], axis=1).ravel().tolist()
    return list(dict.fromkeys(mixed))[:count]


def _greedy(goal: Goal, shards: list[int], order: NDArray[np.int64]) -> tuple[int, ...]:
    """The first prefix of ``order`` that is enough, without what turns out not to be needed."""
    count = len(order)
    masks = np.zeros((count, count), dtype=np.bool_)
    masks[:, order] = np.tri(count, dtype=np.bool_)
    enough = goal.met(shards, masks)
    if not enough.any():
        return ()
    mask = masks[int(enough.argmax())]
    chosen = np.flatnonzero(mask)
    for index in chosen[np.argsort(-goal.load.bytes[shards][chosen], kind="stable")]:
        mask[index] = False
        if not goal.met(shards, mask[None])[0]:
            mask[index] = True
    return tuple(int(i) for i in np.flatnonzero(mask))
