"""Minimum covers: the smallest sets of shards whose departure takes a host out of contention.

Every single, pair and triple is looked at with the exact sums, common factor and duration
included, so that the smallest set found is the smallest there is. Bigger covers come from an
integer program where demand simply adds up, else from a greedy one without what turns out not
to be needed; then ``Least.proven`` says what no set can go below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sidestep.planning.model import Duty, State
from sidestep.planning.model.problem import F64, I64, Mask
from sidestep.planning.relief.goals import falls, peaks
from sidestep.planning.relief.program import smallest

#: sets of one size that are looked at for one host; with more the search is not complete
SETS = 300_000
#: numbers in one intermediate array
_CHUNK = 1_000_000
#: the largest sets of which every one is looked at
ENUMERATED = 3
#: parts of the limit that should stay free, so that the next forecast still is content with the same set
MARGINS = (0.004, 0.008, 0.012)


@dataclass(frozen=True)
class Need:
    """What a host has to get rid of: contention, or whatever keeps a ``guest`` out."""

    host: int
    duty: Duty | None = None
    guest: int = -1


class Shedding:
    """A host that must shed: which of its shards may go, and which sets of them suffice."""

    def __init__(self, state: State, need: Need, shards: I64) -> None:
        problem, host = state.problem, need.host
        self.state, self.need, self.shards = state, need, shards
        if need.guest >= 0:
            guest = need.guest
            asks = (problem.mean[guest] > 0) | (problem.sd[guest] > 0)
            arrived = state.arrivals(guest, slice(host, host + 1), during=False)[0]
            self._bound = problem.room[host] + 1e-9 * problem.capacity[host]
            self.columns: I64 = np.flatnonzero(asks & (arrived > self._bound))
        else:
            upper = state.upper(slice(host, host + 1))[0]
            self._bound = problem.limit[host] * (1.0 + 1e-9) + 1e-12
            above = upper > self._bound
            if need.duty is not None and need.duty.gain > 0:
                above[[c for part in peaks(problem, need.duty) for c in part]] = True
            self.columns = np.flatnonzero(above)
        self.mean = problem.mean[np.ix_(shards, self.columns)].astype(np.float64)
        if not problem.certain:
            self.sd = problem.sd[np.ix_(shards, self.columns)].astype(np.float64)
            self.variance = self.sd**2
        self._plain = need.guest >= 0 or (problem.duration <= 1 and (need.duty is None or need.duty.gain <= 0))
        self._found: dict[int, tuple[I64, bool]] = {}

    @property
    def plain(self) -> bool:
        """Whether enough leaving is a matter of sums alone: no duration, no gain."""
        return self._plain

    def met(self, picks: I64) -> Mask:
        """(S,) which sets (S, k) of positions in ``shards`` are enough."""
        size = max(1, _CHUNK // max(1, len(self.columns) * max(1, picks.shape[1])))
        if len(picks) <= size:
            return self._met(picks)
        return np.concatenate([self._met(picks[at : at + size]) for at in range(0, len(picks), size)])

    def _met(self, picks: I64) -> Mask:
        upper = self._upper(picks)
        if self._plain:
            return np.asarray((upper <= self._bound[self.columns]).all(axis=1), dtype=np.bool_)
        problem, host = self.state.problem, self.need.host
        full = np.zeros((len(picks), problem.limit.shape[1]))
        full[:, self.columns] = upper
        enough = ~problem.held(np.where(self._is_column(), full, -np.inf), problem.limit[host])
        if self.need.duty is not None and self.need.duty.gain > 0:
            enough &= falls(problem, self.need.duty, full)
        return np.asarray(enough, dtype=np.bool_)

    def _is_column(self) -> Mask:
        out = np.zeros(self.state.problem.limit.shape[1], dtype=np.bool_)
        out[self.columns] = True
        return out

    def _sums(self, table: F64, picks: I64) -> F64:
        return _added(table, picks) if picks.shape[1] else np.zeros((len(picks), len(self.columns)))

    def _upper(self, picks: I64) -> F64:
        mean = self._sums(self.mean, picks)
        if self.state.problem.certain:
            return self.state.leaving(self.need.host, mean, mean, mean, self.columns, self.need.guest)
        variance, sd = self._sums(self.variance, picks), self._sums(self.sd, picks)
        return self.state.leaving(self.need.host, mean, variance, sd, self.columns, self.need.guest)

    def frail(self, picks: I64) -> I64:
        """(S,) how many of ``MARGINS`` each set (S, k) leaves not free: a little noise would undo it."""
        problem, host, guest = self.state.problem, self.need.host, self.need.guest
        if not len(picks):
            return np.zeros(0, dtype=np.int64)
        top = problem.limit[host] if guest < 0 else problem.room[host]
        here = slice(host, host + 1)
        upper = self.state.upper(here)[0] if guest < 0 else self.state.arrivals(guest, here, during=False)[0]
        near = np.flatnonzero((upper > (1.0 - MARGINS[-1]) * top) & (top > 0))
        gone = variance = deviation = _added(problem.mean[np.ix_(self.shards, near)].astype(np.float64), picks)
        if not problem.certain:
            sd = problem.sd[np.ix_(self.shards, near)].astype(np.float64)
            variance, deviation = _added(sd**2, picks), _added(sd, picks)
        left = self.state.leaving(host, gone, variance, deviation, near, guest)
        used = (left / top[near]).max(axis=1, initial=0.0)
        return np.asarray(len(MARGINS) - np.digitize(1.0 - used, MARGINS), dtype=np.int64)

    def possible(self) -> bool:
        """Whether it would be enough if every shard left."""
        return bool(self.met(np.arange(len(self.shards))[None])[0])

    def of_size(self, size: int) -> tuple[I64, bool]:
        """Minimal covers (S, size) by position, and whether these are all there are."""
        if size not in self._found:
            self._found[size] = self._enumerate(size)
        return self._found[size]

    def _enumerate(self, size: int) -> tuple[I64, bool]:
        count = len(self.shards)
        none = np.zeros((0, size), dtype=np.int64)
        if size > count:
            return none, True
        complete = all(self.of_size(k)[1] for k in range(1, size))
        useful = np.arange(count)
        if size > 1:
            # a set with a cover in it is no minimal cover
            single = self.of_size(1)[0]
            useful = np.setdiff1d(useful, single.ravel())
            useful = useful[self._can_help(useful, size)]
        if _ways(len(useful), size) > SETS:
            worth = self.worth()[useful]
            while _ways(len(useful), size) > SETS:
                keep = np.sort(np.argsort(-worth, kind="stable")[: int(len(useful) * 0.8)])
                useful, worth = useful[keep], worth[keep]
            complete = False
        if len(useful) < size:
            return none, complete
        picks = useful[_combinations(len(useful), size)]
        picks = picks[self.met(picks)]
        for smaller in range(2, size):
            picks = _without(picks, self.of_size(smaller)[0], count)
        return picks, complete

    def _can_help(self, useful: I64, size: int) -> Mask:
        """Whether a shard can be in a cover of this size at all: it and the best others reach every column."""
        if not self._plain or not len(useful):
            return np.ones(len(useful), dtype=np.bool_)
        weight, lacking = self.weights()
        weight = weight[useful]
        best = -np.sort(-weight, axis=0)[: size - 1].sum(axis=0)
        return np.asarray((weight + best >= lacking - 1e-7 * np.abs(lacking)).all(axis=1), dtype=np.bool_)

    def weights(self) -> tuple[F64, F64]:
        """(M, C) most that each shard's departure can lower each column, in any company; (C,) what is lacking.

        The square root of what is left of a variance is at least the part that is left, which is linear.
        """
        state, host, columns = self.state, self.need.host, self.columns
        nothing = np.zeros((1, len(columns)))
        now = state.leaving(host, nothing, nothing, nothing, columns, self.need.guest)[0]
        lacking = now - self._bound[columns]
        if state.problem.certain:
            return self.mean, lacking
        p = state.problem
        median = state.after[0][host, columns]
        if self.need.guest >= 0:
            median = median + p.mean[self.need.guest, columns]
        # how far the quantile lies from the median now: no departure lowers that by more
        distance = np.abs(now - median)
        if state.came[host] or self.need.guest >= 0:
            return self.mean + np.where(self.sd > 0, distance, 0.0), lacking
        with np.errstate(divide="ignore", invalid="ignore"):
            part = ((1 - p.rho) * self.variance + 2 * p.rho * p.deviation[host, columns] * self.sd) / p.spread[
                host, columns
            ]
            part = part * np.square(p.away[host, columns]) / distance
        most = np.where(self.sd > 0, distance, 0.0)
        return self.mean + np.where(np.isfinite(part), np.minimum(part, most), most), lacking

    def worth(self) -> F64:
        """(M,) how much of what is lacking each shard takes away, in parts of it."""
        weight, lacking = self.weights()
        needed = np.maximum(lacking, 1e-12)
        return np.asarray(np.minimum(weight / needed, 1.0).sum(axis=1), dtype=np.float64)

    def greedy(self, keep: Mask | None = None) -> I64:
        """(k,) the first shards by worth that are enough, without what is not needed; empty if none."""
        order = np.argsort(-self.worth(), kind="stable")
        order = order if keep is None else order[keep[order]]
        if not len(order) or not self.met(order[None])[0]:
            return np.zeros(0, dtype=np.int64)
        low, high = 1, len(order)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.met(order[None, :middle])[0] else (middle + 1, high)
        chosen = order[:low].tolist()
        for position in order[:low][::-1].tolist():
            fewer = [other for other in chosen if other != position]
            if fewer and self.met(np.array([fewer], dtype=np.int64))[0]:
                chosen = fewer
        return np.array(sorted(chosen), dtype=np.int64)

    def smallest(self, cost: F64, keep: Mask | None = None) -> tuple[I64, float]:
        """(k,) positions of the cheapest cover among those that ``keep`` (M,) allows, and a bound on its cost.

        An integer program where one says it, then checked exactly; else the greedy one.
        """
        every = np.arange(len(self.shards)) if keep is None else np.flatnonzero(keep)
        none = np.zeros(0, dtype=np.int64)
        if not len(every) or not self.met(every[None])[0]:
            return none, np.inf
        bound = 0.0
        if self._plain:
            weight, lacking = self.weights()
            picks, bound = smallest(weight[every], lacking, cost[every])
            if len(picks) and self.met(every[picks][None])[0]:
                return every[picks], bound
        return self.greedy(keep), bound

    def least(self) -> int:
        """No set of fewer shards is enough, whether one of that size is found or not."""
        for size in range(1, ENUMERATED + 1):
            picks, complete = self.of_size(size)
            if len(picks) or not complete:
                return size
        floor = min(ENUMERATED + 1, len(self.shards) + 1)
        if not self._plain:
            return floor
        weight, lacking = self.weights()
        bound = smallest(weight, lacking, np.ones(len(self.shards)))[1]
        return max(floor, int(np.ceil(min(bound, len(self.shards)) - 1e-6)))

    def sizes(self, *, every: bool = False, soon: bool = False) -> Iterator[tuple[int, I64]]:
        """Minimal covers by size, the smallest first, of ``every`` size if asked; what is greedy comes last.

        Bigger ones than are looked at come from a program, or where that is too long (``soon``) are greedy.
        """
        some = False
        for size in range(1, (len(self.shards) if every else ENUMERATED) + 1):
            picks, _ = self.of_size(size)
            some = some or len(picks) > 0
            if len(picks):
                yield size, picks
        if not some:
            cost = 1.0 + 1e-4 * np.arange(len(self.shards)) / max(1, len(self.shards))
            rest = self.greedy() if soon else self.smallest(cost)[0]
            if len(rest):
                yield len(rest), rest[None]


def _added(table: F64, picks: I64) -> F64:
    total = table[picks[:, 0]]
    for at in range(1, picks.shape[1]):
        total = total + table[picks[:, at]]
    return np.asarray(total, dtype=np.float64)


def _ways(count: int, size: int) -> int:
    out = 1
    for at in range(size):
        out = out * (count - at) // (at + 1)
    return out


@lru_cache(maxsize=256)
def _combinations(count: int, size: int) -> I64:
    """(S, size) all sets of ``size`` of ``count`` positions, in order."""
    out = np.arange(count, dtype=np.int64)[:, None]
    for _ in range(1, size):
        last = out[:, -1]
        more = count - 1 - last
        begin = np.repeat(out, more, axis=0)
        ends = np.cumsum(more)
        step = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - more, more)
        out = np.concatenate([begin, (begin[:, -1] + 1 + step)[:, None]], axis=1)
    out.setflags(write=False)
    return out


def _without(picks: I64, smaller: I64, count: int) -> I64:
    """Sets of which no part is one of the ``smaller`` sets."""
    if not len(picks) or not len(smaller):
        return picks
    base = count + 1
    known = np.unique(_code(smaller, base))
    bad = np.zeros(len(picks), dtype=np.bool_)
    for chosen in _combinations(picks.shape[1], smaller.shape[1]).tolist():
        bad |= np.isin(_code(picks[:, chosen], base), known)
    return picks[~bad]


def _code(picks: I64, base: int) -> I64:
    out = picks[:, 0].copy()
    for at in range(1, picks.shape[1]):
        out = out * base + picks[:, at]
    return out
