"""Rules as counters: a domain that takes at most so many of a group, a host that takes one of a pair.

Only counters that could overflow are kept: those that would if everything came before
anything left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sidestep.planning.model import Constraints, Problem
from sidestep.planning.model.problem import I32, I64, Mask


@dataclass(frozen=True, eq=False)
class Keys:
    """Counters of some moves. ``count`` is what they hold before any move, ``most`` what they may hold."""

    count: list[int]
    most: list[int]
    #: by place of the move: the counters that it adds to when it starts, and frees when it ends
    adds: dict[int, list[int]]
    frees: dict[int, list[int]]
    #: the host or domain that a counter is of: (kind of domain, number)
    where: list[tuple[int, int]]

    def free(self, move: int) -> bool:
        """Whether the rules let the move start now."""
        return all(self.count[key] < self.most[key] for key in self.adds.get(move, ()))

    def start(self, move: int) -> None:
        """The shard is at its destination."""
        for key in self.adds.get(move, ()):
            self.count[key] += 1

    def end(self, move: int) -> None:
        """The shard is no longer at its source."""
        for key in self.frees.get(move, ()):
            self.count[key] -= 1


def keys_of(rules: Constraints, at: I32, shard: I64, source: I64, destination: I64) -> Keys:
    """The counters of moves from where shards are (``at``, before any of the moves)."""
    keys = Keys([], [], {}, {}, [])
    if len(shard):
        _groups(keys, rules, at, shard, source, destination)
        _pairs(keys, rules, at, shard, source, destination)
    return keys


def expanded(table: tuple[I64, I32], rows: I64) -> tuple[I64, I64]:
    """(place in ``rows``, value) for everything that a CSR table has for the rows."""
    ptr, idx = table
    length = ptr[rows + 1] - ptr[rows]
    place = np.repeat(np.arange(len(rows)), length)
    first = np.repeat(ptr[rows] - (np.cumsum(length) - length), length)
    return place, idx[first + np.arange(len(place))].astype(np.int64)


def _groups(keys: Keys, rules: Constraints, at: I32, shard: I64, source: I64, destination: I64) -> None:
    place, group = expanded(rules.groups, shard)
    if not len(place):
        return
    kind = rules.kind[group]
    into = rules.domains[kind, destination[place]].astype(np.int64)
    out = np.where(source[place] >= 0, rules.domains[kind, np.maximum(source[place], 0)], -1).astype(np.int64)
    crosses = into != out
    place, group, into, out = place[crosses], group[crosses], into[crosses], out[crosses]
    width = int(rules.domains.max()) + 1
    key, arrivals = np.unique(group * width + into, return_counts=True)
    if not len(key):
        return
    involved = np.unique(group)
    which, member = expanded(rules.members, involved)
    here = at[member] >= 0
    which, member = involved[which[here]], member[here]
    held, counts = np.unique(which * width + rules.domains[rules.kind[which], at[member]], return_counts=True)
    spot = np.minimum(np.searchsorted(held, key), max(len(held) - 1, 0))
    count = np.where(held[spot] == key, counts[spot], 0) if len(held) else np.zeros(len(key), np.int64)
    most = rules.most[key // width]
    tight = count + arrivals > most
    number = {int(k): len(keys.count) + at_ for at_, k in enumerate(key[tight].tolist())}
    keys.count.extend(count[tight].tolist())
    keys.most.extend(most[tight].tolist())
    keys.where.extend([(int(rules.kind[k // width]), k % width) for k in key[tight].tolist()])
    _note(keys.adds, number, place, group * width + into)
    left = out >= 0
    _note(keys.frees, number, place[left], (group * width + out)[left])


def full(problem: Problem, shard: I64, source: I64, destination: I64) -> Mask:
    """(M,) moves between domains of a group that holds all it may in every domain that could take one.

    While it moves a shard is at both ends, so that no order exists, whatever else moves.
    """
    rules = problem.constraints
    out = np.zeros(len(shard), dtype=np.bool_)
    place, group = expanded(rules.groups, shard)
    if not len(place):
        return out
    kind = rules.kind[group]
    into = rules.domains[kind, destination[place]]
    crosses = (source[place] < 0) | (rules.domains[kind, np.maximum(source[place], 0)] != into)
    size = np.diff(rules.members[0])
    takes = [len(np.unique(domain[problem.accepts])) for domain in rules.domains]
    # only groups that are large enough for that need to be counted
    maybe = np.unique(group[crosses & (size[group] >= rules.most[group] * np.array(takes)[kind])])
    no_place = np.zeros(len(size), dtype=np.bool_)
    for number in maybe.tolist():
        domain = rules.domains[rules.kind[number]]
        hosts = problem.host[rules.members_of(number)]
        held = np.bincount(domain[hosts[hosts >= 0]], minlength=int(domain.max()) + 1)
        no_place[number] = bool((held[np.unique(domain[problem.accepts])] >= rules.most[number]).all())
    out[place[crosses & no_place[group]]] = True
    return out


def _note(into: dict[int, list[int]], number: dict[int, int], place: I64, key: I64) -> None:
    if number:
        some = np.isin(key, np.fromiter(number, dtype=np.int64))
        for move, value in zip(place[some].tolist(), key[some].tolist(), strict=True):
            into.setdefault(move, []).append(number[value])


def _pairs(keys: Keys, rules: Constraints, at: I32, shard: I64, source: I64, destination: I64) -> None:
    place, other = expanded(rules.avoids, shard)
    if not len(place):
        return
    trips: dict[int, list[int]] = {}
    for move, row in enumerate(shard.tolist()):
        trips.setdefault(row, []).append(move)
    goes = np.zeros(len(rules.mask), dtype=np.bool_)
    goes[shard] = True
    maybe = (at[other] == destination[place]) | goes[other]
    number: dict[tuple[int, int, int], int] = {}
    for move, row in zip(place[maybe].tolist(), other[maybe].tolist(), strict=True):
        own, host = int(shard[move]), int(destination[move])
        if at[row] != host and all(destination[trip] != host for trip in trips.get(row, ())):
            continue
        name = (min(own, row), max(own, row), host)
        if name in number:
            continue
        number[name] = len(keys.count)
        keys.count.append(int(at[own] == host) + int(at[row] == host))
        keys.most.append(1)
        keys.where.append((0, host))
        for trip in trips.get(own, []) + trips.get(row, []):
            if destination[trip] == host:
                keys.adds.setdefault(trip, []).append(number[name])
            if source[trip] == host:
                keys.frees.setdefault(trip, []).append(number[name])
