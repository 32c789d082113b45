"""What each row of a sequence really waits for.

An arrival is safe whatever else happened, if its host has room for it beside every arrival
before it in the sequence, less only the departures that it waits for: of all that are there
at some moment the last in the sequence has that said of it, and everything that it waits for
is done. So each arrival waits for as few departures as that needs, and for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sidestep.planning.model import Problem
from sidestep.planning.model.problem import F64, I64, Mask
from sidestep.planning.ordering.keys import keys_of
from sidestep.planning.ordering.ledger import Demand, Room, total


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
    label = np.unique(np.concatenate([row * count + other for row, other in pairs]))
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
        by_shard = {int(rows.shard[row]): int(row) for row in returned}
        if by_shard:
            for row in np.flatnonzero(home == rows.source).tolist():
                self.back[row] = by_shard.get(int(rows.shard[row]), count)
        #: nothing is parked: every departure is of a shard that was there from the start
        self.simple = not self.guest[rows.source >= 0].any()

    def _apply(self, which: I64, number: int, sign: float) -> tuple[F64, F64]:
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
        used = np.zeros((len(self.some), int(self.over_by.max(initial=0))), dtype=np.bool_)
        todo = np.arange(len(self.some))
        for number in range(used.shape[1]):
            todo = todo[self.over_by[todo] > number]
            if not len(todo):
                break
            gone, come = self._apply(todo, number, 1.0)
            self.gone[:, todo], self.come[:, todo] = gone, come
            used[todo, number] = True
            todo = todo[~self._fits(todo, gone, come)]
        for number in reversed(range(used.shape[1])):
            maybe = np.flatnonzero(used[:, number] & (used.sum(axis=1) > 1))
            if not len(maybe):
                continue
            gone, come = self._apply(maybe, number, -1.0)
            fits = self._fits(maybe, gone, come)
            kept = maybe[fits]
            self.gone[:, kept], self.come[:, kept] = gone[:, fits], come[:, fits]
            used[kept, number] = False
        which, turn = np.nonzero(used)
        return self.some[which], self.order[self.first[which] + turn]
