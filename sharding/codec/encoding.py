"""A value of the universe as an ``Encoded``.

The graph of objects is written level by level, objects of one kind that are met together as one group: flat columns of
their lengths and contents. So nothing recurses however deep a value nests, and a list of a million rows takes a handful
of bulk operations. An object has the number of its turn in the groups; others refer to it by that.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from itertools import chain, compress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidestep.sharding.codec import tables
from sidestep.sharding.codec.arrays import Spans
from sidestep.sharding.codec.columns import classes, dtype_name, ints, mixed, padding, plain, references, varint
from sidestep.sharding.codec.framing import pack
from sidestep.sharding.codec.iterators import dict_iterator, enumerate_parts, forward_parts, set_iterator, zip_parts
from sidestep.sharding.codec.limits import LIMITS, Encoded, Limits, Refused, Sets
from sidestep.sharding.codec.universe import (
    ARRAY,
    BYTEARRAY,
    BYTES,
    COUNTER,
    DEFAULT,
    DEQUE,
    DICT,
    DICT_ITERATOR,
    ENUMERATE,
    FORWARD,
    FROZENSET,
    HASHABLE,
    INT,
    KIND,
    LIST,
    METHOD,
    METHODS,
    NONE,
    ORDERED,
    RANGE,
    REF,
    REVERSED,
    SET,
    SET_ITERATOR,
    SLICE,
    STR,
    TUPLE,
    ZIP,
)

#: the first byte of every stream
VERSION: Final = 1
END: Final = 255
#: grains that a column has at least, to be worth padding
_LARGE: Final = 4


def encode(value: object, *, limits: Limits = LIMITS, sets: Sets = Sets.EXACT, grain: int = 0) -> Encoded:
    """The value as a stream and views of its arrays' memory. Raises Refused; the value is never changed.

    Of arrays, the part of an owner's memory is taken that the views in ``value`` span, so a slice costs what it spans.
    With a ``grain``, large columns begin at multiples of it, so that pieces of that size which hold the same are the
    same bytes again in a later stream, however what lies before them grew.
    """
    return _Encoder(limits, sets, grain).run(value)


def dumps(value: object, *, limits: Limits = LIMITS, sets: Sets = Sets.EXACT) -> bytes:
    """The value as one string of bytes. Raises Refused."""
    return pack(encode(value, limits=limits, sets=sets))


class _Encoder:
    """One encoding: numbers of the objects met, and the groups that wait for their turn."""

    def __init__(self, limits: Limits, sets: Sets, grain: int = 0) -> None:
        self._limits, self._order, self._grain = limits, sets, grain
        #: pieces of ``_out`` that were measured, and their bytes
        self._measured, self._size = 0, 0
        self._out: list[bytes] = [bytes((VERSION,))]
        self._numbers: dict[int, int] = {}
        self._groups: deque[tuple[int, list[Any]]] = deque()
        # What was met stays alive until the end, so that no other object gets its identity meanwhile.
        self._alive: list[object] = []
        self._spans = Spans()
        self._items = 0

    def run(self, value: object) -> Encoded:
        """Write everything that can be reached."""
        self._column([value])
        while self._groups:
            kind, objects = self._groups.popleft()
            self._out += (bytes((kind,)), varint(len(objects)))
            _WRITERS[kind](self, objects)
        self._out.append(bytes((END,)))
        buffers: tuple[NDArray[np.uint8], ...] = self._spans.write(self._out)
        return Encoded(b"".join(self._out), buffers)

    def _column(self, values: Sequence[object]) -> None:
        """Write a column of any values; objects that were not met before are put in the queue."""
        self._items += len(values)
        if self._items > self._limits.objects:
            raise Refused("size", f"more than {self._limits.objects} values")
        start = len(self._out)
        self._any(values)
        self._settle(start)

    def _settle(self, start: int) -> None:
        """Put padding before the column whose first piece is ``start``, if it is large."""
        if not self._grain:
            return
        size = sum(map(len, self._out[start:]))
        if size < _LARGE * self._grain:
            return
        self._size += sum(map(len, self._out[self._measured : start]))
        pad = padding(self._size, self._grain)
        self._out.insert(start, pad)
        self._size += len(pad) + size
        self._measured = len(self._out)

    def _any(self, values: Sequence[object]) -> None:
        codes = classes(values)
        distinct = set(codes)
        if not distinct:
            plain(self._out, (), NONE)
        elif len(distinct) > 1:
            if refs := mixed(self._out, values, codes):
                references(self._out, self._refer(refs))
        elif (code := codes[0]) == REF:
            references(self._out, self._refer(values))
        else:
            plain(self._out, values, code)

    def _refer(self, objects: Sequence[object]) -> list[int]:
        """The numbers of objects; new ones go into one group for each kind."""
        numbers = self._numbers
        idents = list(map(id, objects))
        kinds = list(map(KIND.__getitem__, map(type, objects)))
        for kind in sorted(set(kinds)):
            some, their = objects, idents
            if len(set(kinds)) > 1:
                chosen = list(map(kind.__eq__, kinds))
                some, their = list(compress(objects, chosen)), list(compress(idents, chosen))
            fresh = {ident: one for ident, one in zip(their, some, strict=True) if ident not in numbers}
            if fresh:
                numbers.update(zip(fresh, range(len(numbers), len(numbers) + len(fresh)), strict=True))
                group = list(fresh.values())
                self._alive.append(group)
                self._groups.append((kind, group))
        return list(map(numbers.__getitem__, idents))

    def _keys(self, values: Sequence[object]) -> None:
        """Write a column of what is hashed; raise Refused for what is hashed by identity."""
        if strange := set(map(type, values)) - HASHABLE:
            name = min(one.__qualname__ for one in strange)
            raise Refused("key", f"{name} as a key or an element of a set is outside the universe")
        self._column(values)

    def _sequences(self, objects: list[Any]) -> None:
        ints(self._out, list(map(len, objects)))
        self._column(list(chain.from_iterable(objects)))

    def _mappings(self, objects: list[dict[Any, Any]]) -> None:
        if strange := [one for one in objects if getattr(one, "__dict__", None)]:
            raise Refused("attributes", f"a {type(strange[0]).__name__} with attributes of its own")
        ints(self._out, list(map(len, objects)))
        self._keys(list(chain.from_iterable(map(dict.keys, objects))))
        self._column(list(chain.from_iterable(map(dict.values, objects))))

    def _defaults(self, objects: list[defaultdict[Any, Any]]) -> None:
        self._column([one.default_factory for one in objects])
        self._mappings(objects)  # type: ignore[arg-type]

    def _sets(self, objects: list[Any]) -> None:
        filled = [tables.mark(one, self._order) for one in objects]
        self._column([how for _, how in filled])
        ints(self._out, list(map(len, objects)))
        self._keys(list(chain.from_iterable(elements for elements, _ in filled)))

    def _deques(self, objects: list[deque[Any]]) -> None:
        self._column([one.maxlen for one in objects])
        self._sequences(objects)

    def _bytearrays(self, objects: list[bytearray]) -> None:
        start = len(self._out)
        plain(self._out, objects, BYTES)
        self._settle(start)

    def _ranges(self, objects: list[range]) -> None:
        plain(self._out, [part for one in objects for part in (one.start, one.stop, one.step)], INT)

    def _slices(self, objects: list[slice]) -> None:
        self._column([part for one in objects for part in (one.start, one.stop, one.step)])

    def _arrays(self, objects: list[NDArray[Any]]) -> None:
        plain(self._out, [dtype_name(one.dtype) for one in objects], STR)
        ints(self._out, [one.ndim for one in objects])
        ints(self._out, [length for one in objects for length in one.shape])
        ints(self._out, [stride for one in objects for stride in one.strides])
        ints(self._out, [one.flags.writeable for one in objects])
        self._spans.add(objects)

    def _forwards(self, objects: list[Any]) -> None:
        parts = [forward_parts(one) for one in objects]
        self._alive.append(parts)
        self._column([over for over, _ in parts])
        self._column([state for _, state in parts])

    def _enumerates(self, objects: list[Any]) -> None:
        parts = [enumerate_parts(one) for one in objects]
        self._column([inner for inner, _ in parts])
        self._column([count for _, count in parts])

    def _zips(self, objects: list[Any]) -> None:
        parts = [zip_parts(one) for one in objects]
        ints(self._out, [strict for _, strict in parts])
        self._sequences([inner for inner, _ in parts])

    def _dict_iterators(self, objects: list[Any]) -> None:
        parts = [dict_iterator(one) for one in objects]
        ints(self._out, [kind for kind, _, _ in parts])
        self._column([over for _, over, _ in parts])
        ints(self._out, [done for _, _, done in parts])

    def _set_iterators(self, objects: list[Any]) -> None:
        if self._order is Sets.CONTENTS:
            raise Refused("set-order", "an iterator over a set")
        parts = [set_iterator(one) for one in objects]
        self._column([over for over, _ in parts])
        ints(self._out, [done for _, done in parts])

    def _methods(self, objects: list[Any]) -> None:
        for one in objects:
            if one.__name__ not in METHODS.get(type(one.__self__), ()):
                raise Refused("type", f"the function {one.__name__} as a value is outside the universe")
        self._column([one.__self__ for one in objects])
        plain(self._out, [one.__name__ for one in objects], STR)


_WRITERS: Final[dict[int, Callable[[_Encoder, list[Any]], None]]] = {
    LIST: _Encoder._sequences,
    TUPLE: _Encoder._sequences,
    DICT: _Encoder._mappings,
    COUNTER: _Encoder._mappings,
    ORDERED: _Encoder._mappings,
    DEFAULT: _Encoder._defaults,
    SET: _Encoder._sets,
    FROZENSET: _Encoder._sets,
    DEQUE: _Encoder._deques,
    BYTEARRAY: _Encoder._bytearrays,
    RANGE: _Encoder._ranges,
    SLICE: _Encoder._slices,
    ARRAY: _Encoder._arrays,
    FORWARD: _Encoder._forwards,
    REVERSED: _Encoder._forwards,
    ENUMERATE: _Encoder._enumerates,
    ZIP: _Encoder._zips,
    DICT_ITERATOR: _Encoder._dict_iterators,
    SET_ITERATOR: _Encoder._set_iterators,
    METHOD: _Encoder._methods,
}
