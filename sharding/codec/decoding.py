"""An ``Encoded`` as a value.

First all groups are read. Objects that may refer to what comes later are made empty, those that cannot change are made
from what they hold (a cycle of such is damage), then the empty ones are filled and the iterators set where they were.
"""

from __future__ import annotations

from typing import Any, Final

from sidestep.sharding.codec.arrays import ALIGN
from sidestep.sharding.codec.building import Builder
from sidestep.sharding.codec.encoding import END, VERSION, encode
from sidestep.sharding.codec.framing import unpack
from sidestep.sharding.codec.groups import GROUPS, Group
from sidestep.sharding.codec.limits import LIMITS, Damaged, Data, Encoded, Limits, Sets
from sidestep.sharding.codec.reading import Column, Reader

_OBJECT: Final = 64


def decode(encoded: Encoded, *, limits: Limits = LIMITS, copy: bool = True) -> object:
    """The value. Raises Damaged, or Refused if a set would iterate in another order here.

    Never runs what the bytes name, never takes more than ``limits``. With ``copy=False`` arrays lie in the buffers
    themselves, where those own their memory, may be written, and lie where they did modulo 64.
    """
    reader = Reader(encoded.stream, limits)
    root, groups, total = _read(reader)
    builder = Builder(groups, total, reader)
    builder.memory(encoded.buffers, copy=copy)
    if len(root) != 1 or reader.rest or reader.refs_below > total:
        raise Damaged("references to what is not there, or bytes after the end")
    try:
        builder.build()
        value: Any = root.resolved(builder.objects)[0]
    except (TypeError, ValueError, OverflowError, StopIteration, RuntimeError, MemoryError) as error:
        if isinstance(error, Damaged) or type(error).__module__.startswith("sidestep."):
            raise
        raise Damaged(f"no value: {error}") from error
    return value


def _read(reader: Reader) -> tuple[Column, list[Group], int]:
    """The value's own column, all groups, and the number of their objects. Raises Damaged."""
    if reader.byte() != VERSION:
        raise Damaged("a value of another version")
    root = reader.column()
    groups: list[Group] = []
    total = 0
    while (kind := reader.byte()) != END:
        if (shape := GROUPS.get(kind)) is None:
            raise Damaged(f"no kind of object is written as {kind}")
        count = reader.varint()
        reader.claim(_OBJECT * count, count)
        groups.append(shape(kind, total, count, reader))
        total += count
    return root, groups, total


def alignments(encoded: Encoded, *, limits: Limits = LIMITS) -> list[int]:
    """Where each buffer has to lie modulo 64, for ``decode`` to leave arrays in it. Raises Damaged."""
    reader = Reader(encoded.stream, limits)
    _read(reader)
    reader.counts()
    reader.counts()
    return reader.ints(ALIGN - 1, 0)


def loads(data: Data, *, limits: Limits = LIMITS) -> object:
    """The value of what ``dumps`` made. Raises Damaged, or Refused."""
    return decode(unpack(data, limits=limits), limits=limits)


def clone(value: object) -> object:
    """A private copy, through the codec, for this process. Raises Refused."""
    return decode(encode(value, sets=Sets.HERE))
