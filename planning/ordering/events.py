# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# ruff: noqa: PLR0912 - plain loops compile best
"""The loops of ``timing`` for numba: who starts when within the caps, and in which wave.

Importing this module imports numba. All arrays are made by ``timing``; times are only added
and compared, without fast maths, so that the numbers are those of the plain loops.
"""

from __future__ import annotations

from typing import Any

import numba  # type: ignore[import-untyped,import-not-found,unused-ignore]

_njit: Any = numba.njit
_compiled = _njit(cache=True, _nrt=False)


@_compiled
def _earlier(times, label, one, other):
    """Whether an entry comes first: by time, then ends before beginnings, then by row (the label)."""
    if times[one] != times[other]:
        return times[one] < times[other]
    return label[one] < label[other]


@_compiled
def _push_event(times, label, size, time, name):
    times[size], label[size] = time, name
    at = size
    while at and _earlier(times, label, at, (at - 1) // 2):
        up = (at - 1) // 2
        times[at], times[up] = times[up], times[at]
        label[at], label[up] = label[up], label[at]
        at = up
    return size + 1


@_compiled
def _pop_event(times, label, size):
    """The first entry is moved behind the others."""
    size -= 1
    times[0], times[size] = times[size], times[0]
    label[0], label[size] = label[size], label[0]
    at = 0
    while True:
        low = 2 * at + 1
        if low >= size:
            return size
        if low + 1 < size and _earlier(times, label, low + 1, low):
            low += 1
        if not _earlier(times, label, low, at):
            return size
        times[at], times[low] = times[low], times[at]
        label[at], label[low] = label[low], label[at]
        at = low


@_compiled
def _push(heap, base, size, value):
    """Into the heap of numbers that begins at ``base``."""
    at = size
    heap[base + at] = value
    while at and heap[base + at] < heap[base + (at - 1) // 2]:
        up = (at - 1) // 2
        heap[base + at], heap[base + up] = heap[base + up], heap[base + at]
        at = up


@_compiled
def _pop(heap, base, size):
    first = heap[base]
    size -= 1
    heap[base] = heap[base + size]
    at = 0
    while True:
        low = 2 * at + 1
        if low >= size:
            return first
        if low + 1 < size and heap[base + low + 1] < heap[base + low]:
            low += 1
        if heap[base + low] >= heap[base + at]:
            return first
        heap[base + at], heap[base + low] = heap[base + low], heap[base + at]
        at = low


@_compiled
def _attempt(row, now, place, takes, table, most, used, queue, base, length, times, label, size, start):
    """Start a row, or queue it for the first slot that is taken."""
    for column in range(table.shape[1]):
        slot = table[row, column]
        if slot >= 0 and used[slot] >= most[slot]:
            _push(queue, base[slot], length[slot], place[row])
            length[slot] += 1
            return size
    for column in range(table.shape[1]):
        if table[row, column] >= 0:
            used[table[row, column]] += 1
    start[row] = now
    return _push_event(times, label, size, now + takes[row], row)


@_compiled
def simulate(ptr, followers, left, begin, takes, place, by_place, table, most, used, queue, base, length, times,
             label, ready, freed, start):  # fmt: skip
    """Fill ``start``. A label is the row where it ends, the row and K more where it may begin."""
    count, size = len(place), 0
    for number in range(count):
        row = by_place[number]
        if left[row] == 0:
            if begin[row] > 0:
                size = _push_event(times, label, size, begin[row], count + row)
            else:
                size = _attempt(row, 0.0, place, takes, table, most, used, queue, base, length, times, label, size,
                                start)  # fmt: skip
    while size:
        now, readies, frees = times[0], 0, 0
        while size and times[0] == now:
            size = _pop_event(times, label, size)
            row = label[size]
            if row >= count:
                _push(ready, 0, readies, place[row - count])
                readies += 1
                continue
            for column in range(table.shape[1]):
                if table[row, column] >= 0:
                    used[table[row, column]] -= 1
                    freed[frees] = table[row, column]
                    frees += 1
            for at in range(ptr[row], ptr[row + 1]):
                other = followers[at]
                left[other] -= 1
                if left[other] == 0:
                    if begin[other] > now:
                        size = _push_event(times, label, size, begin[other], count + other)
                    else:
                        _push(ready, 0, readies, place[other])
                        readies += 1
        for number in range(frees):
            slot = freed[number]
            if length[slot] and used[slot] < most[slot]:
                _push(ready, 0, readies, _pop(queue, base[slot], length[slot]))
                readies += 1
                length[slot] -= 1
        while readies:
            row = by_place[_pop(ready, 0, readies)]
            readies -= 1
            size = _attempt(row, now, place, takes, table, most, used, queue, base, length, times, label, size, start)
        for number in range(frees):
            slot = freed[number]
            while length[slot] and used[slot] < most[slot]:
                row = by_place[_pop(queue, base[slot], length[slot])]
                length[slot] -= 1
                size = _attempt(row, now, place, takes, table, most, used, queue, base, length, times, label, size,
                                start)  # fmt: skip


@_compiled
def _cell(names, mask, name):
    """Where the count of a name is, in a table with open addresses."""
    at = (name * 0x9E3779B97F4A7C1 >> 17) & mask
    while names[at] != name and names[at] >= 0:
        at = (at + 1) & mask
    return at


@_compiled
def waves(order, ptr, others, table, most, names, counts, wave):
    """Fill ``wave``; ``names`` is -1 everywhere, a power of two long."""
    wide, mask = len(order) + 2, len(names) - 1
    for place in range(len(order)):
        row = order[place]
        number = 1
        for at in range(ptr[row], ptr[row + 1]):
            number = max(number, wave[others[at]] + 1)
        column = 0
        while column < table.shape[1]:
            slot = table[row, column]
            if slot >= 0 and counts[_cell(names, mask, slot * wide + number)] >= most[slot]:
                number, column = number + 1, 0
            else:
                column += 1
        for column in range(table.shape[1]):
            slot = table[row, column]
            if slot >= 0:
                cell = _cell(names, mask, slot * wide + number)
                names[cell] = slot * wide + number
                counts[cell] += 1
        wave[row] = number
