"""What each row of a sequence really waits for.

An arrival is safe whatever else happened, if its host has room for it beside every arrival
before it in the sequence, less only the departures that it waits for: of all that are there
at some moment the last in the sequence has that said of it, and everything that it waits for
is done. So each arrival waits for as few departures as that needs, and for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sidestep.planning.model import Problem
from sidestep.planning.model.problem import F64, I64, Mask
from sidestep.planning.ordering.keys import keys_of
from sidestep.planning.ordering.ledger import Demand, Room, total

#: departures that are looked at together
CHUNK = 1 << 12


@dataclass(frozen=True, eq=False)
class Sequenced:
    """Rows in a safe sequence; ``since`` is the first step at which a row may start."""

    shard: I64
    source: I64
    destination: I64
    wave: I64
    since: I64


def waits(problem: Problem, room: Room, rows: Sequenced, step_of: I64) -> tuple[I64, I64]:
    """(row, earlier row that it waits for), each pair once, ascending."""
    count = len(rows.shard)
    order = np.argsort(rows.shard, kind="stable")
    again = np.flatnonzero(rows.shard[order[1:]] == rows.shard[order[:-1]])
    pairs = [(order[1:][again], order[:-1][again]), _for_rules(problem, rows), _for_room(problem, room, rows, step_of)]
    label = np.sort(np.concatenate([row * count + other for row, other in pairs]))
    label = label[np.diff(label, prepend=-1) > 0]
    return label // max(count, 1), label % max(count, 1)


def _for_rules(problem: Problem, rows: Sequenced) -> tuple[I64, I64]:
    found: list[tuple[int, int]] = []
    keys = keys_of(problem.constraints, problem.host, rows.shard, rows.source, rows.destination)
    leaves: list[list[int]] = [[] for _ in keys.count]
    for row in sorted(keys.frees):
        for key in keys.frees[row]:
            leaves[key].append(row)
    for row in sorted(keys.adds):
        for key in keys.adds[row]:
            keys.count[key] += 1
            surplus = keys.count[key] - keys.most[key]
            done = [other for other in leaves[key] if rows.wave[other] < rows.wave[row]]
            # its own departure first, then what left earliest
            done = [other for other in done if rows.shard[other] == rows.shard[row]] + [
                other for other in done if rows.shard[other] != rows.shard[row]
            ]
            found += [(row, other) for other in done[: max(surplus, 0)]]
    pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _for_room(problem: Problem, room: Room, rows: Sequenced, step_of: I64) -> tuple[I64, I64]:
    hosts, own = problem.hosts, problem.host[rows.shard] == rows.destination
    demand = Demand(problem, rows.shard)
    there = step_of >= rows.since[:, None]
    parts, asks = demand.parts * there, demand.asks & there
    come = total(np.where(own[:, None], 0.0, parts), rows.destination, hosts)
    touched = np.unique(rows.destination)
    any_ = total(asks[None].astype(np.float64), rows.destination, hosts)[0] > 0
    over = room.over(touched, np.zeros_like(come[:, touched]), come[:, touched], any_[touched]).any(axis=1)
    hard = np.zeros(hosts, dtype=np.bool_)
    hard[touched[over]] = True
    some = np.flatnonzero(hard[rows.destination])
    nothing = np.zeros(0, dtype=np.int64)
    if not len(some):
        return nothing, nothing
    added, asked = _running(rows.destination[some], np.where(own[some, None], 0.0, parts[:, some]), asks[some])
    asked &= there[some]
    over = room.over(rows.destination[some], np.zeros_like(added), added, asked).any(axis=1)
    some, added, asked = some[over], added[:, over], asked[over]
    return _Departures(room, rows, demand, some, added, asked).pairs() if len(some) else (nothing, nothing)


def _running(host: I64, parts: F64, asks: Mask) -> tuple[F64, Mask]:
    """Sums of parts (P, k, D) up to each row within its host, and whether anything before asked."""
    order = np.argsort(host, kind="stable")
    turn = np.empty(len(host), dtype=np.int64)
    turn[order] = np.arange(len(host)) - np.searchsorted(host[order], host[order])
    before = np.full(len(host), -1)
    before[order[1:]] = order[:-1]
    added, asked = parts.copy(), asks.copy()
    for number in range(1, int(turn.max(initial=0)) + 1):
        now = np.flatnonzero(turn == number)
        added[:, now] += added[:, before[now]]
        asked[now] |= asked[before[now]]
    return added, asked


class _Departures:
    """For arrivals that have no room beside all before them: the departures that make it."""

    def __init__(self, room: Room, rows: Sequenced, demand: Demand, some: I64, added: F64, asked: Mask) -> None:
        self.room, self.rows, self.demand, self.some, self.asked = room, rows, demand, some, asked
        self.host = rows.destination[some]
        self.gone, self.come = np.zeros_like(added), added
        count = len(rows.shard)
        order = np.lexsort((np.arange(count), rows.source))
        order = order[rows.source[order] >= 0]
        label = rows.source[order] * (count + 1) + order
        self.order, self.first = order, np.searchsorted(label, self.host * (count + 1))
        begun = np.searchsorted(rows.wave, rows.wave[some])
        #: how many departures from its host were over when each arrival started
        self.over_by: I64 = np.searchsorted(label, self.host * (count + 1) + begun) - self.first
        home = room.problem.host[rows.shard]
        self.guest: Mask = home != rows.source
        #: the row by which a shard that left its home came back
        self.back: I64 = np.full(count, count)
        returned = np.flatnonzero((home == rows.destination) & (rows.source >= 0))
        if len(returned):
            by_shard = np.full(room.problem.shards, count)
            by_shard[rows.shard[returned]] = returned
            self.back = np.where(home == rows.source, by_shard[rows.shard], count)
        #: arrivals on hosts that something parked leaves, or leaves to come back
        special = np.zeros(room.problem.hosts, dtype=np.bool_)
        special[rows.source[(rows.source >= 0) & (self.guest | (self.back < count))]] = True
        self.special: Mask = special[self.host]
        self.simple = not self.special.any()

    def _apply(self, which: I64, number: I64, sign: float) -> tuple[F64, F64]:
        """Sums of some arrivals' hosts with their departure of that number counted (1) or not (-1)."""
        left = self.order[self.first[which] + number]
        part = self.demand.parts[:, left]
        if self.simple:
            return (self.gone[:, which] + part if sign > 0 else self.gone[:, which] - part), self.come[:, which]
        part *= (sign * (self.back[left] > self.some[which]))[:, None]
        guest = self.guest[left][:, None]
        return self.gone[:, which] + np.where(guest, 0.0, part), self.come[:, which] - np.where(guest, part, 0.0)

    def _fits(self, which: I64, gone: F64, come: F64) -> Mask:
        if not self.simple:
            gone, come = np.maximum(gone, 0.0), np.maximum(come, 0.0)
        over = self.room.over(self.host[which], gone, come, self.asked[which])
        return np.asarray(~over.any(axis=1), dtype=np.bool_)

    def pairs(self) -> tuple[I64, I64]:
        """The shortest run of departures that is enough, less those that are not needed after all."""
        length = np.zeros(len(self.some), dtype=np.int64)
        self._one_by_one(np.flatnonzero(self.special & (self.over_by > 0)), length)
        self._at_once(np.flatnonzero(~self.special & (self.over_by > 0)), length)
        which = np.repeat(np.arange(len(self.some)), length)
        number = np.arange(len(which)) - np.repeat(np.cumsum(length) - length, length)
        used = np.ones(len(which), dtype=np.bool_)
        # room only shrinks: what is needed while all others are counted stays needed
        some = self._perhaps(which, number)[::-1]
        turn = np.arange(len(some)) - np.searchsorted(-which[some], -which[some])
        order = np.argsort(turn, kind="stable")
        ends = np.cumsum(np.bincount(turn)).tolist() if len(turn) else []
        for first, last in pairwise([0, *ends]):
            maybe = some[order[first:last]]
            maybe = maybe[length[which[maybe]] > 1]
            gone, come = self._apply(which[maybe], number[maybe], -1.0)
            fits = self._fits(which[maybe], gone, come)
            kept = which[maybe[fits]]
            self.gone[:, kept], self.come[:, kept] = gone[:, fits], come[:, fits]
            length[kept] -= 1
            used[maybe[fits]] = False
        return self.some[which[used]], self.order[self.first[which[used]] + number[used]]

    def _perhaps(self, which: I64, number: I64) -> I64:
        """Places of the departures that may not be needed: each is no more than what is spare in the tightest."""
        p, host = self.room.problem, self.host
        if not p.linear or not len(which):
            return np.arange(len(which))
        with np.errstate(invalid="ignore", divide="ignore"):
            held = self.room.start[host] - self.gone[0] + self.come[0]
            spare = np.where(self.asked, np.nan_to_num(self.room.ceiling[host] - held, nan=np.inf), np.inf)
            usual = self.demand.mean.mean(axis=0)
            column = np.nan_to_num(spare / usual, nan=np.inf).argmin(axis=1)
        tight = spare[np.arange(len(host)), column]
        tight += 1e-9 * np.abs(tight)
        left = self.order[self.first[which] + number]
        return np.flatnonzero((self.demand.mean[left, column[which]] <= tight[which]) | self.special[which])

    def _one_by_one(self, todo: I64, length: I64) -> None:
        while len(todo):
            gone, come = self._apply(todo, length[todo], 1.0)
            self.gone[:, todo], self.come[:, todo] = gone, come
            length[todo] += 1
            todo = todo[~self._fits(todo, gone, come) & (self.over_by[todo] > length[todo])]

    def _at_once(self, todo: I64, length: I64) -> None:
        """By halving, among the running sums of each host's departures."""
        if not len(todo):
            return
        hosts, place = np.unique(self.host[todo], return_inverse=True)
        most, first = np.zeros(len(hosts), dtype=np.int64), np.zeros(len(hosts), dtype=np.int64)
        np.maximum.at(most, place, self.over_by[todo])
        first[place] = self.first[todo]
        base = (np.cumsum(most) - most)[place]
        of = np.repeat(np.arange(len(hosts)), most)
        left = self.order[first[of] + np.arange(len(of)) - np.repeat(np.cumsum(most) - most, most)]
        sums = _running(of, self.demand.parts[:, left], np.zeros((len(of), 1), dtype=np.bool_))[0]
        low, high = np.ones(len(todo), dtype=np.int64), self.over_by[todo].copy()
        while len(open_ := np.flatnonzero(low < high)):
            middle = (low[open_] + high[open_]) // 2
            fits = self._fits(todo[open_], sums[:, base[open_] + middle - 1], self.come[:, todo[open_]])
            high[open_[fits]] = middle[fits]
            low[open_[~fits]] = middle[~fits] + 1
        length[todo] = low
        self.gone[:, todo] = sums[:, base + low - 1]
