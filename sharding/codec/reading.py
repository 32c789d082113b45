"""Reading of columns: every count is weighed against what is left to read and to allocate, before it is believed."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Final

import numpy as np

from sidestep.sharding.codec.arrays import dtype_of
from sidestep.sharding.codec.columns import BIG, INTS, MIXED, PAD, REPEAT, RUN, SHARED
from sidestep.sharding.codec.limits import Damaged, Limits
from sidestep.sharding.codec.universe import (
    BOOL,
    BYTES,
    COMPLEX,
    DTYPE,
    FLOAT,
    NONE,
    NPBYTES,
    NPSTR,
    REF,
    SCALAR,
    STR,
    TYPE,
    TYPES,
)

#: bytes that a value in a list takes, with the object it points to
_SLOT: Final = 40
_MOST: Final = 1 << 62


class Unbuilt:
    """Stands for an object whose turn has not come."""

    __slots__ = ()


UNBUILT: Final = Unbuilt()


class Column:
    """Values, and where among them references stand (``where`` is None: everywhere; empty: nowhere)."""

    __slots__ = ("refs", "values", "where")

    def __init__(self, values: list[Any], refs: Sequence[int] = (), where: Sequence[int] | None = ()) -> None:
        self.values, self.refs, self.where = values, refs, where

    def __len__(self) -> int:
        return len(self.refs) if self.where is None else len(self.values)

    def resolved(self, objects: list[Any]) -> list[Any]:
        """The values with objects for references; some may be ``UNBUILT``."""
        if self.where is None:
            return list(map(objects.__getitem__, self.refs))
        for at, ref in zip(self.where, self.refs, strict=True):
            self.values[at] = objects[ref]
        return self.values

    def references(self) -> list[int]:
        """For each value its reference, or -1."""
        if self.where is None:
            return list(self.refs)
        all_of = [-1] * len(self.values)
        for at, ref in zip(self.where, self.refs, strict=True):
            all_of[at] = ref
        return all_of


class Reader:
    """A place in a stream, and what may still be allocated."""

    def __init__(self, data: bytes | memoryview, limits: Limits) -> None:
        self._data, self._at = memoryview(data), 0
        self._memory, self._objects = limits.memory, limits.objects
        self.refs_below = 0

    @property
    def rest(self) -> int:
        """Bytes that were not read."""
        return len(self._data) - self._at

    def claim(self, size: int, objects: int = 0) -> None:
        """Take ``size`` bytes of memory from what is allowed. Raises Damaged."""
        self._memory -= size
        self._objects -= objects
        if self._memory < 0 or self._objects < 0:
            raise Damaged("larger than a value may be")

    def take(self, size: int) -> bytes:
        """The next bytes. Raises Damaged."""
        if size > self.rest:
            raise Damaged("cut short")
        self._at += size
        return bytes(self._data[self._at - size : self._at])

    def skip(self, size: int) -> None:
        """Pass bytes that mean nothing. Raises Damaged."""
        if size > self.rest:
            raise Damaged("cut short")
        self._at += size

    def byte(self) -> int:
        """The next byte. Raises Damaged."""
        self.skip(1)
        return self._data[self._at - 1]

    def varint(self) -> int:
        """The next count, below 2**63. Raises Damaged."""
        number = shift = 0
        while True:
            one = self.byte()
            number |= (one & 127) << shift
            shift += 7
            if one < 128:
                return number
            if shift > 63:
                raise Damaged("a count that is too long")

    def ints(self, most: int = _MOST, least: int = -_MOST) -> list[int]:
        """A column of integers within bounds. Raises Damaged."""
        column = self.column()
        values = column.values
        if column.where is None or column.refs or not (set(map(type, values)) <= {int}):
            raise Damaged("integers expected")
        if values and not (least <= min(values) and max(values) <= most):
            raise Damaged("a number out of bounds")
        return values

    def counts(self) -> list[int]:
        """A column of lengths. Raises Damaged."""
        return self.ints(1 << 48, 0)

    def strings(self) -> list[str]:
        """A column of text. Raises Damaged."""
        column = self.column()
        if column.where is None or not (set(map(type, column.values)) <= {str}):
            raise Damaged("text expected")
        return column.values

    def column(self, *, changing: bool = False) -> Column:
        """A column of any values; strings of bytes as bytearrays, if they are to change. Raises Damaged."""
        code, count = self.byte(), self.varint()
        if code == PAD:
            self.skip(count)
            code, count = self.byte(), self.varint()
        self.claim(_SLOT * count, count)
        if code in {REF, RUN}:
            return Column([], self._references(code, count), None)
        if code == MIXED:
            return self._mixed(count)
        if code == BYTES and changing:
            return Column(self._bytearrays(count))
        return Column(self._plain(code, count))

    def _references(self, code: int, count: int) -> Sequence[int]:
        first = self.varint() if code == RUN else 0
        refs: Sequence[int] = range(first, first + count) if code == RUN else self.ints(_MOST, 0)
        if len(refs) != count:
            raise Damaged("references expected")
        self.refs_below = max(self.refs_below, max(refs, default=-1) + 1)
        return refs

    def _mixed(self, count: int) -> Column:
        codes = self.take(count)
        parts: dict[int, Iterator[Any]] = {}
        refs: Sequence[int] = ()
        where: list[int] = []
        for code in sorted(set(codes), key=lambda code: (code == REF, code)):
            part = self.column()
            if (part.where is None) != (code == REF) or part.where or len(part) != codes.count(code):
                raise Damaged("mixed values that do not fit")
            if code == REF:
                refs, where = part.refs, np.flatnonzero(np.frombuffer(codes, np.uint8) == REF).tolist()
                parts[code] = iter([UNBUILT] * len(refs))
            else:
                parts[code] = iter(part.values)
        return Column(list(map(next, map(parts.__getitem__, codes))), refs, where)

    def _plain(self, code: int, count: int) -> list[Any]:
        if (read := _PLAIN.get(code)) is None:
            raise Damaged(f"no column is written as {code}")
        values = read(self, count)
        if len(values) != count:
            raise Damaged("a column whose length is not true")
        return values

    def _none(self, count: int) -> list[Any]:
        return [None] * count

    def _bools(self, count: int) -> list[Any]:
        return list(map((False, True).__getitem__, map((1).__and__, self.take(count))))

    def _numbers(self, typecode: str, count: int) -> list[Any]:
        numbers = array(typecode)
        numbers.frombytes(self.take(numbers.itemsize * count))
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers.tolist()

    def _complex(self, count: int) -> list[Any]:
        values: list[Any] = np.frombuffer(self.take(16 * count), "<c16").tolist()
        return values

    def _repeat(self, count: int) -> list[Any]:
        number = self.varint()
        return [-(number >> 1) if number & 1 else number >> 1] * count

    def _big(self, _: int) -> list[Any]:
        lengths = self.counts()
        self.claim(2 * sum(lengths))
        return [int.from_bytes(self.take(length), "little", signed=True) for length in lengths]

    def _text(self, _: int) -> list[Any]:
        lengths = self.counts()
        joined = self.take(self.varint())
        self.claim(8 * len(joined))
        try:
            text = joined.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise Damaged("text that is no UTF-8") from error
        if sum(lengths) != len(text):
            raise Damaged("lengths of text that are not true")
        return [text[a:b] for a, b in pairwise(chain((0,), accumulate(lengths)))]

    def _bytes(self, _: int) -> list[Any]:
        lengths = self.counts()
        joined = self.take(sum(lengths))
        self.claim(2 * len(joined))
        return [joined[a:b] for a, b in pairwise(chain((0,), accumulate(lengths)))]

    def _bytearrays(self, count: int) -> list[Any]:
        lengths = self.counts()
        self.claim(2 * sum(lengths))
        if len(lengths) != count or sum(lengths) > self.rest:
            raise Damaged("a column whose length is not true")
        starts = accumulate(lengths, initial=self._at)
        self._at += sum(lengths)
        return [bytearray(self._data[start : start + length]) for start, length in zip(starts, lengths, strict=False)]

    def _shared(self, _: int) -> list[Any]:
        where = self.ints(1 << 48, 0)
        part = self.column()
        if part.where is None or part.refs or (where and max(where) >= len(part.values)):
            raise Damaged("shared text that is not there")
        return list(map(part.values.__getitem__, where))

    def _scalars(self, count: int) -> list[Any]:
        kinds = self.varint()
        if not 1 <= kinds <= 255:
            raise Damaged("no numpy scalars")
        order = self.take(count) if kinds > 1 else bytes(count)
        parts: dict[int, Iterator[Any]] = {}
        for kind in range(kinds):
            dtype = dtype_of(self.take(self.varint()).decode("ascii", "replace"))
            if dtype.kind in "SU":
                raise Damaged("no numpy scalar of this kind")
            parts[kind] = iter(np.frombuffer(self.take(order.count(kind) * dtype.itemsize), dtype))
        if max(order, default=0) >= kinds:
            raise Damaged("numpy scalars that do not fit")
        return list(map(next, map(parts.__getitem__, order)))

    def _npstr(self, count: int) -> list[Any]:
        return list(map(np.str_, self._text(count)))

    def _npbytes(self, count: int) -> list[Any]:
        return list(map(np.bytes_, self._bytes(count)))

    def _dtypes(self, _: int) -> list[Any]:
        return list(map(dtype_of, self.strings()))

    def _types(self, count: int) -> list[Any]:
        codes = self.take(count)
        if max(codes, default=0) >= len(TYPES):
            raise Damaged("no type of the universe")
        return list(map(TYPES.__getitem__, codes))


def _numbers(typecode: str) -> Callable[[Reader, int], list[Any]]:
    return lambda reader, count: reader._numbers(typecode, count)


_PLAIN: Final[dict[int, Callable[[Reader, int], list[Any]]]] = {
    NONE: Reader._none,
    BOOL: Reader._bools,
    FLOAT: _numbers("d"),
    COMPLEX: Reader._complex,
    STR: Reader._text,
    BYTES: Reader._bytes,
    SCALAR: Reader._scalars,
    NPSTR: Reader._npstr,
    NPBYTES: Reader._npbytes,
    DTYPE: Reader._dtypes,
    TYPE: Reader._types,
    REPEAT: Reader._repeat,
    BIG: Reader._big,
    SHARED: Reader._shared,
    **{code: _numbers(typecode) for code, typecode in INTS.items()},
}
