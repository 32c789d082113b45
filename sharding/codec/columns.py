"""Columns: many values of few classes as one run of bytes, written and read by bulk operations.

A column is a code, a count and a payload. Integers take as few bytes as the largest needs; text lies in one piece with
its lengths beside it; where classes are mixed, a column of classes is followed by a column for each.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from itertools import compress
from typing import Final

import numpy as np

from sidestep.sharding.codec.limits import Refused
from sidestep.sharding.codec.universe import (
    BOOL,
    BYTES,
    CLASS,
    COMPLEX,
    DTYPE,
    DTYPE_KINDS,
    FLOAT,
    INT,
    NONE,
    NPBYTES,
    NPSTR,
    REF,
    SCALAR,
    STR,
    TYPE,
    TYPES,
)

# How a column is written: the classes above, and these.
INT8, INT16, INT32, INT64, BIG, REPEAT, RUN, MIXED, SHARED = range(32, 41)
#: stands before a column: so many bytes that mean nothing, and the column begins at a multiple of the grain
PAD: Final = 41

INTS: Final = {INT8: "b", INT16: "h", INT32: "i", INT64: "q"}
_SWAP: Final = sys.byteorder == "big"
#: from this many bytes on, text that occurs again and again is written once
_SHARE: Final = 1 << 12
_MANY: Final = 64


def varint(number: int) -> bytes:
    """A count, seven bits to the byte."""
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def padding(at: int, grain: int) -> bytes:
    """What has to stand at ``at`` so that what follows it begins at a multiple of ``grain`` (at most 2**21)."""
    # Its length always takes three bytes, so that it is no other length that would fit.
    size = -(at + 4) % grain
    return bytes((PAD, size & 127 | 128, size >> 7 & 127 | 128, size >> 14)) + bytes(size)


def raw(code: str, values: Sequence[float]) -> bytes:
    """Numbers as little-endian memory."""
    packed = array(code, values)
    if _SWAP:
        packed.byteswap()
    return packed.tobytes()


def ints(out: list[bytes], values: Sequence[int]) -> None:
    """Write a column of integers of any size."""
    if not values:
        out.append(bytes((INT8, 0)))
        return
    if len(values) > _MANY:
        try:
            wide = array("q", values)
        except OverflowError:
            low, high = 0, 1 << 64
        else:
            memory = np.frombuffer(wide, np.int64)
            low, high = int(memory.min()), int(memory.max())
            values = wide
    else:
        low, high = min(values), max(values)
    head = varint(len(values))
    if low == high and len(values) > 4 and -(1 << 62) <= low < 1 << 62:
        out += (bytes((REPEAT,)), head, varint(low << 1 if low >= 0 else -low << 1 | 1))
    elif low >= -128 and high < 128:
        out += (bytes((INT8,)), head, raw("b", values))
    elif low >= -(1 << 15) and high < 1 << 15:
        out += (bytes((INT16,)), head, raw("h", values))
    elif low >= -(1 << 31) and high < 1 << 31:
        out += (bytes((INT32,)), head, raw("i", values))
    elif low >= -(1 << 63) and high < 1 << 63:
        out += (bytes((INT64,)), head, raw("q", values))
    else:
        parts = [one.to_bytes(one.bit_length() // 8 + 1, "little", signed=True) for one in values]
        out += (bytes((BIG,)), head)
        ints(out, list(map(len, parts)))
        out.append(b"".join(parts))


def references(out: list[bytes], numbers: Sequence[int]) -> None:
    """Write a column of object numbers."""
    first = numbers[0]
    if len(numbers) > 2 and numbers[-1] - first == len(numbers) - 1 and list(range(first, numbers[-1] + 1)) == numbers:
        out += (bytes((RUN,)), varint(len(numbers)), varint(first))
    else:
        out += (bytes((REF,)), varint(len(numbers)))
        ints(out, numbers)


def _text(out: list[bytes], values: Sequence[str], code: int) -> None:
    joined = "".join(values).encode("utf-8", "surrogatepass")
    if len(joined) > _SHARE and _shared(out, values, code):
        return
    out += (bytes((code,)), varint(len(values)))
    ints(out, list(map(len, values)))
    out += (varint(len(joined)), joined)


def _bytes(out: list[bytes], values: Sequence[bytes | bytearray], code: int) -> None:
    lengths = list(map(len, values))
    if sum(lengths) > _SHARE and _shared(out, values, code):
        return
    out += (bytes((code,)), varint(len(values)))
    ints(out, lengths)
    # A single one is not copied here: all pieces are put together at the end.
    out.append(b"".join(values) if len(values) != 1 else values[0])  # type: ignore[arg-type]


def _shared(out: list[bytes], values: Sequence[object], code: int) -> bool:
    """Write each of few texts once, if most are one of them."""
    distinct = dict(zip(map(id, values), values, strict=True))
    if len(distinct) * 2 > len(values):
        return False
    numbers = dict(zip(distinct, range(len(distinct)), strict=True))
    where = list(map(numbers.__getitem__, map(id, values)))
    unique = list(distinct.values())
    out += (bytes((SHARED,)), varint(len(values)))
    ints(out, where)
    plain(out, unique, code)
    return True


def _scalars(out: list[bytes], values: Sequence[np.generic]) -> None:
    names = [one.dtype.str for one in values]
    kinds = list(dict.fromkeys(names))
    if len(kinds) > 255:
        raise Refused("dtype", "more than 255 kinds of numpy scalars in one place")
    out += (bytes((SCALAR,)), varint(len(values)), varint(len(kinds)))
    if len(kinds) > 1:
        order = {name: at for at, name in enumerate(kinds)}
        out.append(bytes(order[name] for name in names))
    for kind in kinds:
        some = b"".join(one.tobytes() for one, name in zip(values, names, strict=True) if name == kind)
        out += (varint(len(kind)), kind.encode("ascii"), some)


def dtype_name(dtype: np.dtype[np.generic]) -> str:
    """How a dtype is called. Raises Refused for one that holds objects, fields or notes."""
    if dtype.kind not in DTYPE_KINDS or dtype.fields or dtype.subdtype or dtype.metadata:
        raise Refused("dtype", f"dtype {dtype} is outside the universe")
    return dtype.str


def plain(out: list[bytes], values: Sequence[object], code: int) -> None:
    """Write a column of values that are all of one class, and no references."""
    some: Sequence[object] = values
    if code == INT:
        ints(out, some)  # type: ignore[arg-type]
    elif code in {STR, NPSTR}:
        _text(out, [str.__str__(one) for one in some] if code == NPSTR else some, code)  # type: ignore[arg-type]
    elif code in {BYTES, NPBYTES}:
        _bytes(out, [bytes(one) for one in some] if code == NPBYTES else some, code)  # type: ignore[arg-type, call-overload]
    elif code == SCALAR:
        _scalars(out, some)  # type: ignore[arg-type]
    else:
        out += (bytes((code,)), varint(len(some)))
        if code == BOOL:
            out.append(bytes(some))  # type: ignore[arg-type]
        elif code == FLOAT:
            out.append(raw("d", some))  # type: ignore[arg-type]
        elif code == COMPLEX:
            out.append(np.array(some, "<c16").tobytes())
        elif code == DTYPE:
            _text(out, [dtype_name(one) for one in some], STR)  # type: ignore[arg-type]
        elif code == TYPE:
            try:
                out.append(bytes(map(TYPES.index, some)))
            except ValueError:
                strange = next(one for one in some if one not in TYPES)
                raise Refused("type", f"{strange!r} as a value is outside the universe") from None
        elif code != NONE:
            raise AssertionError(code)


def classes(values: Sequence[object]) -> list[int]:
    """The class of each value. Raises Refused, naming the first type that has none."""
    types = list(map(type, values))
    if len(distinct := set(types)) == 1 and (one := distinct.pop()) in CLASS:
        return [CLASS[one]] * len(values)
    try:
        return list(map(CLASS.__getitem__, types))
    except KeyError:
        strange = next(one for one in types if one not in CLASS)
        raise Refused("type", f"{strange.__module__}.{strange.__qualname__} is outside the universe") from None


def mixed(out: list[bytes], values: Sequence[object], codes: Sequence[int]) -> list[object]:
    """Write a column of several classes, but for its references: those are returned, and belong right after."""
    out += (bytes((MIXED,)), varint(len(values)), bytes(codes))
    refs: list[object] = []
    for code in sorted(set(codes)):
        some = list(compress(values, map(code.__eq__, codes)))
        if code == REF:
            refs = some
        else:
            plain(out, some, code)
    return refs
