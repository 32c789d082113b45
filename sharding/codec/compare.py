"""Whether two values of the universe are the same, bit for bit."""

from __future__ import annotations

import struct
from collections import deque
from typing import Any, Final

import numpy as np

from sidestep.sharding.codec.arrays import Spans
from sidestep.sharding.codec.iterators import dict_iterator, enumerate_parts, forward_parts, set_iterator, zip_parts
from sidestep.sharding.codec.limits import Refused
from sidestep.sharding.codec.universe import (
    CLASS,
    DICT_ITERATOR,
    DTYPE_KINDS,
    ENUMERATE,
    FORWARD,
    KIND,
    MAPPINGS,
    METHOD,
    REF,
    REVERSED,
    SET_ITERATOR,
    ZIP,
)

_MUTABLE: Final = (list, dict, set, deque, bytearray)
_MAPPINGS: Final = frozenset(MAPPINGS.values())


def canonical(value: object) -> list[object]:
    """A list that is equal for two values if, and only if, these are bit-identical. Raises Refused.

    Exact types, bits of floats, order of dicts and lists, which mutable objects are one object, which arrays share
    memory and where. Of sets the contents only, by their repr.
    """
    return _Canon().run(value)


def same(one: object, other: object) -> bool:
    """Whether ``canonical`` is equal for both. Raises Refused."""
    return canonical(one) == canonical(other)


def _named(one: object) -> str:
    """The ``repr`` of what a set may hold, with sets inside in an order that does not depend on how they were made."""
    if isinstance(one, frozenset):
        return f"frozenset({{{', '.join(sorted(map(_named, one)))}}})"
    return f"({', '.join(map(_named, one))},)" if type(one) is tuple else repr(one)


class _Canon:
    def __init__(self) -> None:
        self._out: list[object] = []
        self._seen: dict[int, int] = {}
        self._alive: list[object] = []
        self._arrays: list[Any] = []

    def run(self, value: object) -> list[object]:
        """Walk everything, without recursion."""
        stack: list[Any] = [value]
        while stack:
            stack += reversed(self._step(stack.pop()))
        spans = Spans()
        spans.add(self._arrays)
        self._out.append(spans.places())
        return self._out

    def _step(self, one: Any) -> list[Any]:
        kind = type(one)
        if kind is float:
            self._out.append(("float", struct.pack("<d", one)))
        elif kind is complex:
            self._out.append(("complex", struct.pack("<dd", one.real, one.imag)))
        elif isinstance(one, np.generic):
            self._out.append((kind.__name__, one.dtype.str, one.tobytes()))
        elif kind not in CLASS:
            raise Refused("type", f"{kind.__module__}.{kind.__qualname__} is outside the universe")
        elif CLASS[kind] != REF:
            self._out.append((kind.__name__, one))
        elif kind in {tuple, slice, range}:
            parts = list(one) if kind is tuple else [one.start, one.stop, one.step]
            self._out.append((kind.__name__, len(parts)))
            return parts
        elif id(one) in self._seen:
            self._out.append(("again", self._seen[id(one)]))
        else:
            self._seen[id(one)] = len(self._seen)
            self._alive.append(one)
            return self._object(kind, one)
        return []

    def _object(self, kind: type, one: Any) -> list[Any]:
        if kind is np.ndarray:
            self._array(one)
        elif kind in _MAPPINGS:
            self._out.append((kind.__name__, len(one), getattr(one, "default_factory", None)))
            return [part for entry in dict.items(one) for part in entry]
        elif kind in {set, frozenset}:
            self._out.append((kind.__name__, tuple(sorted(map(_named, one)))))
        elif kind is bytearray:
            self._out.append(("bytearray", bytes(one)))
        elif isinstance(one, _MUTABLE):
            self._out.append((kind.__name__, len(one), getattr(one, "maxlen", None)))
            return list(one)
        else:
            return self._iterator(kind, one)
        return []

    def _iterator(self, kind: type, one: Any) -> list[Any]:
        self._out.append(kind.__name__)
        code = KIND[kind]
        if code in {FORWARD, REVERSED}:
            return list(forward_parts(one))
        if code == ENUMERATE:
            return list(enumerate_parts(one))
        if code == ZIP:
            return list(zip_parts(one))
        if code == DICT_ITERATOR:
            return list(dict_iterator(one))
        if code == SET_ITERATOR:
            return list(set_iterator(one))
        assert code == METHOD
        return [one.__self__, one.__name__]

    def _array(self, one: Any) -> None:
        if one.dtype.kind not in DTYPE_KINDS:
            raise Refused("dtype", f"dtype {one.dtype} is outside the universe")
        strides = tuple(step for step, length in zip(one.strides, one.shape, strict=True) if length > 1 and one.size)
        self._out.append(("ndarray", one.dtype.str, one.shape, strides, bool(one.flags.writeable), one.tobytes()))
        self._arrays.append(one)
