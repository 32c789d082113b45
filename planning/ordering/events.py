# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# ruff: noqa: PLR0912, PLR0915 - plain loops compile best
"""The loops of ``timing`` for numba: who starts when within the caps, and in which wave.

Importing this module imports numba. All arrays are made by ``timing``; times are only added
and compared, without fast maths, so that the numbers are those of the plain loops.
"""

from __future__ import annotations

from typing import Any

import numba  # type: ignore[import-untyped,import-not-found,unused-ignore]
import numpy as np

_njit: Any = numba.njit
_compiled = _njit(cache=True, _nrt=False)
#: a number whose products with powers of two all begin with other six bits
_DEBRUIJN = np.uint64(0x03F79D71B4CB0A89)
#: (64,) by those six bits, which power it was
DIGITS = np.zeros(64, dtype=np.int64)
for _digit in range(64):
    DIGITS[(int(_DEBRUIJN) << _digit & (2**64 - 1)) >> 58] = _digit


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
def _free(row, table, most, used):
    """Whether every slot of a row is free."""
    for column in range(table.shape[1]):
        slot = table[row, column]
        if slot >= 0 and used[slot] >= most[slot]:
            return False
    return True


@_compiled
def _wait(row, table, bit, words, on):
    """Note in every slot of a row that it waits, or that it no longer does."""
    for column in range(table.shape[1]):
        if table[row, column] >= 0:
            word, one = bit[row, column] >> 6, np.uint64(1) << np.uint64(bit[row, column] & 63)
            words[word] = words[word] | one if on else words[word] & ~one


@_compiled
def _next(slot, cursor, base, words, row_at, digits, table, most, used):
    """The first row of a slot, from the cursor on, that waits and could start; -1 if there is none."""
    at = cursor[slot]
    while at < base[slot + 1] * 64:
        word = words[at >> 6] & ~((np.uint64(1) << np.uint64(at & 63)) - np.uint64(1))
        while word:
            low = word & (~word + np.uint64(1))
            here = (at >> 6) * 64 + digits[(low * _DEBRUIJN) >> np.uint64(58)]
            if _free(row_at[here], table, most, used):
                cursor[slot] = here
                return row_at[here]
            word ^= low
        at = ((at >> 6) + 1) * 64
    cursor[slot] = at
    return -1


@_compiled
def simulate(ptr, followers, left, begin, takes, place, by_place, table, most, used, bit, base, words, row_at, digits,
             cursor, times, label, heap, freed, start):  # fmt: skip
    """Fill ``start``. A label is the row where it ends, the row and K more where it may begin.

    At each instant rows start by ``place``. ``words`` has a bit for each row of a slot, by place:
    whether it waits. ``heap`` has the ready rows, and for each freed slot the first that could start.
    """
    count, size, wide = len(place), 0, len(most) + 1
    now, readies, frees = 0.0, 0, 0
    for row in range(count):
        if left[row] == 0:
            if begin[row] > 0:
                size = _push_event(times, label, size, begin[row], count + row)
            else:
                _push(heap, 0, readies, place[row] * wide)
                readies += 1
    while size or readies or frees:
        for number in range(frees):
            slot = freed[number]
            cursor[slot] = base[slot] * 64
            row = _next(slot, cursor, base, words, row_at, digits, table, most, used) if used[slot] < most[slot] else -1
            if row >= 0:
                _push(heap, 0, readies, place[row] * wide + slot + 1)
                readies += 1
        while readies:
            first = _pop(heap, 0, readies)
            readies -= 1
            row, slot = by_place[first // wide], first % wide - 1
            if slot < 0 or words[cursor[slot] >> 6] >> np.uint64(cursor[slot] & 63) & np.uint64(1):
                if _free(row, table, most, used):
                    if slot >= 0:
                        _wait(row, table, bit, words, False)
                    for column in range(table.shape[1]):
                        if table[row, column] >= 0:
                            used[table[row, column]] += 1
                    start[row] = now
                    size = _push_event(times, label, size, now + takes[row], row)
                elif slot < 0:
                    _wait(row, table, bit, words, True)
            if slot >= 0 and used[slot] < most[slot]:
                row = _next(slot, cursor, base, words, row_at, digits, table, most, used)
                if row >= 0:
                    _push(heap, 0, readies, place[row] * wide + slot + 1)
                    readies += 1
        frees = 0
        if size:
            now = times[0]
        while size and times[0] == now:
            size = _pop_event(times, label, size)
            row = label[size]
            if row >= count:
                _push(heap, 0, readies, place[row - count] * wide)
                readies += 1
                continue
            for column in range(table.shape[1]):
                slot = table[row, column]
                if slot >= 0:
                    used[slot] -= 1
                    if cursor[slot] >= 0:
                        cursor[slot] = -1
                        freed[frees] = slot
                        frees += 1
            for at in range(ptr[row], ptr[row + 1]):
                other = followers[at]
                left[other] -= 1
                if left[other] == 0:
                    if begin[other] > now:
                        size = _push_event(times, label, size, begin[other], count + other)
                    else:
                        _push(heap, 0, readies, place[other] * wide)
                        readies += 1


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
