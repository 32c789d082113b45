"""The table inside a set, read where CPython keeps it: which order it iterates, pops and grows in.

That order comes from the hashes, the size of the table and what was removed before. A set comes back exactly only if
one that is filled anew has the same table, slot for slot; that is checked here, not assumed.
"""

from __future__ import annotations

import ctypes
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain, compress, takewhile
from math import isnan
from typing import Final

import numpy as np

from sidestep.sharding.codec.limits import Refused, Sets

_HEAD: Final = object.__basicsize__
_ENTRY: Final = 16
_WORD: Final = (1 << 64) - 1
_LINEAR: Final = 9
_AnySet = set[object] | frozenset[object]

_STABLE: Final = frozenset(
    {bool, int, float, complex, range}
    | {t for t in np.sctypeDict.values() if np.dtype(t).kind in "biufc"}
    | ({type(None)} if sys.version_info >= (3, 12) else set())
)
_SEEDED: Final = frozenset({str, bytes, np.str_, np.bytes_})


def seeded() -> bool:
    """Whether hashes of text are the same in every process that is started as this one was (PYTHONHASHSEED)."""
    return not sys.flags.hash_randomization or os.environ.get("PYTHONHASHSEED", "").isdigit()


def _words(one: _AnySet) -> tuple[int, int, int, int]:
    """Slots that were ever used, elements, mask, address of the table."""
    fill, used, mask, table = (ctypes.c_ssize_t * 4).from_address(id(one) + _HEAD)
    return fill, used, mask, table


def _finger(one: _AnySet) -> int:
    return ctypes.c_ssize_t.from_address(id(one) + _HEAD + 40).value


def table(one: _AnySet) -> bytes:
    """The hashes slot by slot (0 where none is)."""
    _, _, mask, address = _words(one)
    raw = np.frombuffer(ctypes.string_at(address, (mask + 1) * _ENTRY), np.int64)
    return np.where(raw[0::2] == 0, 0, raw[1::2]).tobytes()


def _readable() -> bool:
    """Whether this interpreter keeps sets as we read them."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    probe: set[object] = {3, 1, 10}
    fill, used, mask, _ = _words(probe)
    if (fill, used, mask) != (3, 3, 7):
        return False
    return table(probe) == np.array([0, 1, 10, 3, 0, 0, 0, 0], np.int64).tobytes()


_READABLE: Final = _readable()


def filled(one: set[object], elements: Sequence[object], first: int) -> None:
    """Fill an empty set one by one; the first few as a copy of a set does, if so many are named."""
    if first:
        one.update(set(elements[:first]))
    one.update(elements[first:])


def frozen(elements: Sequence[object], first: int) -> frozenset[object]:
    """A frozenset: of the elements one by one, or else a copy of a set that was filled like that."""
    if not first:
        return frozenset(elements)
    one: set[object] = set()
    filled(one, elements, first % len(elements))
    return frozenset(one)


def _probes(hashed: int, mask: int) -> Iterator[int]:
    """The slots that an element with this hash is tried in, as CPython's ``set_add_entry`` does."""
    perturb, slot = hashed & _WORD, hashed & mask
    while True:
        yield from range(slot, slot + (_LINEAR if slot + _LINEAR <= mask else 0) + 1)
        perturb >>= 5
        slot = (slot * 5 + 1 + perturb) & mask


def _order(one: _AnySet, mask: int) -> tuple[list[object], int]:
    """Elements in an order of adding them that may have made this table, and how many lie where they belong.

    Those come first, and cannot disturb each other; then whoever finds all slots taken that it would rather have.
    """
    raw = np.frombuffer(ctypes.string_at(_words(one)[3], (mask + 1) * _ENTRY), np.int64)
    slots = np.flatnonzero(raw[0::2])
    hashes = raw[1::2][slots]
    home = (hashes & mask) == slots
    elements = list(one)
    order = list(compress(elements, home.tolist()))
    taken, count = set(slots[home].tolist()), len(order)
    ready: list[tuple[int, object, Iterator[int]]] = [
        (slot, element, takewhile(slot.__ne__, _probes(hashed, mask)))
        for slot, hashed, element in zip(
            slots[~home].tolist(), hashes[~home].tolist(), compress(elements, (~home).tolist()), strict=True
        )
    ]
    waiting: dict[int, list[tuple[int, object, Iterator[int]]]] = {}
    while ready:
        slot, element, tried = ready.pop()
        free = next((at for at in tried if at not in taken), None)
        if free is None:
            taken.add(slot)
            order.append(element)
            ready += waiting.pop(slot, ())
        else:
            waiting.setdefault(free, []).append((slot, element, tried))
    return order + [element for some in waiting.values() for _, element, _ in some], count


def mark(one: _AnySet, sets: Sets) -> tuple[list[object], int | None]:
    """The elements in an order, and how to fill a set with them so that it has the table of this one.

    None if nobody asks for the order. Raises Refused.
    """
    if sets is Sets.CONTENTS:
        return list(one), None
    if not _READABLE:
        raise Refused("set-order", "the order of sets cannot be kept by this interpreter")
    fill, used, mask, _ = _words(one)
    if fill != used or (type(one) is set and _finger(one)):
        raise Refused("set-order", f"a set of {used}, of which others were removed, would iterate in another order")
    _stable(list(one), sets)
    wanted = table(one)
    elements, home = _order(one, mask)
    for first in dict.fromkeys((0, home) if type(one) is set else (0, home, used)):
        if table(_again(one, elements, first)) == wanted:
            return elements, zlib.crc32(wanted) << 32 | first
    raise Refused("set-order", f"a set of {used} would iterate in another order")


def _again(one: _AnySet, elements: Sequence[object], first: int) -> _AnySet:
    if isinstance(one, frozenset):
        return frozen(elements, first)
    again: set[object] = set()
    filled(again, elements, first)
    return again


def _stable(elements: list[object], sets: Sets) -> None:
    """Raise Refused for elements whose hash may be another elsewhere."""
    while elements:
        types = set(map(type, elements))
        if float in types and any(map(isnan, (x for x in elements if type(x) is float))):
            raise Refused("set-order", "a set with a NaN would iterate in another order")
        others = types - _STABLE - {tuple, frozenset}
        if sets is not Sets.HERE and (strange := others - (_SEEDED if seeded() else frozenset())):
            name = min(t.__name__ for t in strange)
            hint = "; start the process with PYTHONHASHSEED" if strange <= _SEEDED else ""
            raise Refused("set-order", f"a set with {name} iterates in another order in another process{hint}")
        elements = list(chain.from_iterable(x for x in elements if isinstance(x, tuple | frozenset)))


def check(one: _AnySet, wanted: int) -> None:
    """Raise Refused unless the set has the table that ``mark`` spoke of."""
    if not _READABLE or zlib.crc32(table(one)) != wanted >> 32:
        raise Refused("set-order", "a set would iterate in another order here: other hashes, or another interpreter")
