"""When each row starts: within the caps, in time, and where the forecast leaves most room."""

from __future__ import annotations

import heapq
import importlib.util
import sys
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from sidestep.planning.model import Problem
from sidestep.planning.model.problem import F64, I64
from sidestep.planning.ordering.model import Caps

#: so many rows that loading compiled loops pays off where nothing else has loaded numba
MANY = 20_000
#: a later start is chosen only for this much more room, as a fraction of capacity
WORTH = 0.01


class Slots:
    """What the caps count, for every row: the hosts, domains, app and fleet that it takes a slot of.

    Only what could run out: resources that more rows touch than may at one time.
    """

    def __init__(self, problem: Problem, caps: Caps, shard: I64, source: I64, destination: I64) -> None:
        columns: list[I64] = []
        self.most: list[int] = []
        hosts = problem.hosts
        if caps.host > 0:
            columns += [source, destination]
            self.most += [caps.host] * hosts
        if caps.domain > 0 and caps.kind < len(problem.constraints.domains):
            domain = problem.constraints.domains[caps.kind]
            into = len(self.most) + domain[destination].astype(np.int64)
            out = np.where(source >= 0, len(self.most) + domain[np.maximum(source, 0)], -1)
            columns += [into, np.where(out == into, -1, out)]
            self.most += [caps.domain] * (int(domain.max(initial=0)) + 1)
        if caps.app > 0 and len(caps.apps):
            columns.append(len(self.most) + caps.apps[shard].astype(np.int64))
            self.most += [caps.app] * (int(caps.apps.max()) + 1)
        if caps.fleet > 0:
            columns.append(np.full(len(shard), len(self.most), dtype=np.int64))
            self.most.append(caps.fleet)
        table = np.stack([*columns, np.full(len(shard), -1)], axis=1) if len(shard) else np.zeros((0, 1), np.int64)
        touched = np.bincount(table[table >= 0], minlength=len(self.most))
        short = touched > np.array([*self.most, 0])[: len(touched)] if len(touched) else np.zeros(0, np.bool_)
        #: (n, C) the resources that could run out, -1 for none
        self.table: I64 = np.where((table >= 0) & np.append(short, False)[table], table, -1)

    @cached_property
    def of(self) -> list[tuple[int, ...]]:
        """For each row the resources that could run out."""
        of: list[tuple[int, ...]] = [()] * len(self.table)
        some = np.flatnonzero((self.table >= 0).any(axis=1))
        for row, found in zip(some.tolist(), self.table[some].tolist(), strict=True):
            of[row] = tuple([slot for slot in found if slot >= 0])
        return of


@dataclass(frozen=True, eq=False)
class Waits:
    """What waits for what: pairs of rows by the row that waits, and the sequence's wave of every row."""

    row: I64
    other: I64
    wave: I64

    @cached_property
    def ptr(self) -> I64:
        """Where the pairs of each row begin."""
        return np.searchsorted(self.row, np.arange(len(self.wave) + 1)).astype(np.int64)

    @cached_property
    def lists(self) -> list[list[int]]:
        """For each row those that it waits for."""
        every = self.other.tolist()
        return [every[first:last] for first, last in pairwise(self.ptr.tolist())]

    @cached_property
    def steps(self) -> list[tuple[I64, I64]]:
        """The pairs, wave by wave of what waits."""
        ends = np.searchsorted(self.wave[self.row], np.unique(self.wave[self.row]), side="right").tolist()
        return [(self.row[first:last], self.other[first:last]) for first, last in pairwise([0, *ends])]


def latest_starts(after: Waits, deadline: F64, transfer: F64) -> F64:
    """(K,) each row must end before its deadline, and before what waits for it must start."""
    latest: F64 = deadline - transfer
    for row, other in reversed(after.steps):
        np.minimum.at(latest, other, latest[row] - transfer[other])
    return latest


def soonest(after: Waits, begin: F64, transfer: F64) -> F64:
    """(K,) starts if nothing but ``after`` and ``begin`` (K,) held anything up."""
    out = begin.copy()
    for row, other in after.steps:
        np.maximum.at(out, row, out[other] + transfer[other])
    return out


def troughs(
    problem: Problem, rows: tuple[I64, I64], spare: F64, earliest: F64, latest: F64, transfer: F64, slots: Slots,
    step: float,
) -> F64:  # fmt: skip
    """(K,) not to start before: the step within [earliest, latest] at which both ends have most room.

    ``spare`` (H, T) is the least share of capacity that a host has free at each step. Rows
    without a deadline start as soon as they can. What may have to wait for a slot is given
    the time for that.
    """
    source, destination = rows
    steps = spare.shape[1]
    out = earliest.copy()
    if steps < 2 or step <= 0:
        return out
    longest = np.zeros(len(slots.most) + 1)
    busy = np.zeros(len(slots.most) + 1)
    np.add.at(busy, slots.table, transfer[:, None])
    np.maximum.at(longest, slots.table, transfer[:, None])
    queue = np.append(busy[:-1] / np.maximum(np.array([*slots.most, 1])[:-1], 1) + longest[:-1], 0.0)
    wait = queue[slots.table].max(axis=1, initial=0.0)
    first = np.ceil(earliest / step).astype(np.int64)
    last = np.floor(np.clip((latest - wait) / step, -1, steps - 1)).astype(np.int64)
    some = np.flatnonzero(np.isfinite(latest) & (last > first))
    if not len(some):
        return out
    score = np.where(source[some, None] >= 0, np.minimum(spare[np.maximum(source[some], 0)], spare[destination[some]]),
                     spare[destination[some]])  # fmt: skip
    width = np.minimum(np.ceil(transfer[some] / step).astype(np.int64), steps)
    for length in np.unique(width[width > 1]).tolist():
        wide = width == length
        held = np.pad(score[wide], ((0, 0), (0, length - 1)), mode="edge")
        score[wide] = np.lib.stride_tricks.sliding_window_view(held, length, axis=1).min(axis=-1)
    within = (np.arange(steps) >= first[some, None]) & (np.arange(steps) <= last[some, None])
    score = np.where(within, np.nan_to_num(score, nan=-np.inf), -np.inf)
    best = score.max(axis=1)
    now = score[np.arange(len(some)), first[some]]
    chosen = np.argmax(score >= best[:, None] - WORTH, axis=1)
    better = (best > now + WORTH) & np.isfinite(best)
    out[some[better]] = np.maximum(earliest[some[better]], chosen[better] * step)
    return out


def fast(rows: int) -> bool:
    """Whether the compiled loops are there and worth loading; what they answer is the same."""
    if "numba" not in sys.modules and rows < MANY:
        return False
    return importlib.util.find_spec("numba") is not None


def simulate(after: Waits, begin: F64, transfer: F64, rank: I64, slots: Slots, *, compiled: bool | None = None) -> F64:
    """(K,) starts if every row starts as soon as it may: first by ``rank`` where slots are short."""
    if not (fast(len(rank)) if compiled is None else compiled):
        return _simulate(after.lists, begin, transfer, rank, slots)
    from sidestep.planning.ordering import events  # noqa: PLC0415 - loads numba

    count, table = len(rank), slots.table
    turn = np.argsort(after.other, kind="stable")
    followers = np.searchsorted(after.other[turn], np.arange(count + 1)).astype(np.int64), after.row[turn]
    # the rows of each slot by rank, each slot from a word of 64 on
    row, column = np.nonzero(table >= 0)
    slot = table[row, column]
    touched = np.bincount(slot, minlength=len(slots.most))
    base = np.append(0, np.cumsum(-(-touched // 64)))
    order = np.lexsort((rank[row], slot))
    bit, row_at = np.zeros(table.shape, dtype=np.int64), np.full(int(base[-1]) * 64 + 1, -1)
    spot = base[slot[order]] * 64 + np.arange(len(order)) - (np.cumsum(touched) - touched)[slot[order]]
    bit[row[order], column[order]], row_at[spot] = spot, row[order]
    start = np.zeros(count)
    events.simulate(
        *followers, np.diff(after.ptr), begin, transfer, rank, np.argsort(rank, kind="stable"), table,
        np.array(slots.most, dtype=np.int64), np.zeros_like(touched), bit, base, np.zeros(int(base[-1]), np.uint64),
        row_at, events.DIGITS, np.zeros_like(touched), np.zeros(2 * count), np.zeros(2 * count, np.int64),
        np.zeros(count + len(slots.most), np.int64), np.zeros(len(slots.most), np.int64), start,
    )  # fmt: skip
    return start


def _simulate(  # noqa: PLR0912, PLR0915 - one loop over events; parts of it would share all its state
    after: list[list[int]], begin: F64, transfer: F64, rank: I64, slots: Slots
) -> F64:
    count = len(after)
    start = [0.0] * count
    takes, not_before, place = transfer.tolist(), begin.tolist(), rank.tolist()
    by_place = np.argsort(rank, kind="stable").tolist()
    left = [len(before) for before in after]
    followers: list[list[int]] = [[] for _ in range(count)]
    for row, before in enumerate(after):
        for other in before:
            followers[other].append(row)
    used, most, of = [0] * len(slots.most), slots.most, slots.of
    #: waiting rows by place, each in the queue of one slot that is taken
    queues: list[list[int]] = [[] for _ in most]
    events: list[tuple[float, int, int]] = []
    now, freed = 0.0, set[int]()
    #: what may start: its place, and from which queue it comes
    first: list[tuple[int, int]] = []
    for row in range(count):
        if not left[row]:
            if not_before[row] > 0:
                events.append((not_before[row], 1, row))
            else:
                first.append((place[row], -1))
    heapq.heapify(events)
    while events or first or freed:
        first += [(queues[slot][0], slot) for slot in freed if queues[slot] and used[slot] < most[slot]]
        heapq.heapify(first)
        while first:
            at, queue = heapq.heappop(first)
            if queue >= 0:
                if used[queue] >= most[queue]:
                    continue
                heapq.heappop(queues[queue])
            row = by_place[at]
            for slot in of[row]:
                if used[slot] >= most[slot]:
                    heapq.heappush(queues[slot], at)
                    break
            else:
                for slot in of[row]:
                    used[slot] += 1
                start[row] = now
                heapq.heappush(events, (now + takes[row], 0, row))
            if queue >= 0 and queues[queue] and used[queue] < most[queue]:
                heapq.heappush(first, (queues[queue][0], queue))
        freed = set()
        now = events[0][0] if events else now
        while events and events[0][0] == now:
            _, kind, row = heapq.heappop(events)
            if kind:
                first.append((place[row], -1))
                continue
            for slot in of[row]:
                used[slot] -= 1
                freed.add(slot)
            for other in followers[row]:
                left[other] -= 1
                if not left[other]:
                    if not_before[other] > now:
                        heapq.heappush(events, (not_before[other], 1, other))
                    else:
                        first.append((place[other], -1))
    return np.array(start, dtype=np.float64)


def waves(order: I64, after: Waits, slots: Slots, *, compiled: bool | None = None) -> I64:
    """(K,) by row: the first wave after all that it waits for in which its slots are free; from 1."""
    if not (fast(len(order)) if compiled is None else compiled):
        return np.array(_waves(order.tolist(), after.lists, slots), dtype=np.int64)
    from sidestep.planning.ordering import events  # noqa: PLC0415 - loads numba

    long = 1 << (2 * slots.table.size + 1).bit_length()
    wave = np.zeros(len(order), dtype=np.int64)
    events.waves(order, after.ptr, after.other, slots.table, np.array([*slots.most, 0], dtype=np.int64),
                 np.full(long, -1), np.zeros(long, np.int64), wave)  # fmt: skip
    return wave


def _waves(order: list[int], after: list[list[int]], slots: Slots) -> list[int]:
    wave = [0] * len(order)
    taken: dict[int, int] = {}
    wide = len(order) + 2
    for row in order:
        number = 1
        for other in after[row]:
            if wave[other] >= number:
                number = wave[other] + 1
        at = 0
        of = slots.of[row]
        while at < len(of):
            if taken.get(of[at] * wide + number, 0) < slots.most[of[at]]:
                at += 1
            else:
                number, at = number + 1, 0
        for slot in of:
            taken[slot * wide + number] = taken.get(slot * wide + number, 0) + 1
        wave[row] = number
    return wave
