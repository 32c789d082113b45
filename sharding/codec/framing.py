"""An ``Encoded`` as one string of bytes: magic, lengths, the stream, the buffers at multiples of 64 bytes."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from sidestep.sharding.codec.limits import LIMITS, Damaged, Data, Encoded, Limits

MAGIC: Final = b"SSV1"
_HEAD: Final = struct.Struct("<4sIQ")
_ALIGN: Final = 64


def _pad(length: int) -> int:
    return -length % _ALIGN


def pack_parts(encoded: Encoded) -> list[Data]:
    """The parts in order, for a writer that takes several; arrays are not copied."""
    lengths = [one.nbytes for one in encoded.buffers]
    head = _HEAD.pack(MAGIC, len(lengths), len(encoded.stream)) + np.array(lengths, "<u8").tobytes()
    parts: list[Data] = [head, encoded.stream, bytes(_pad(len(head) + len(encoded.stream)))]
    for one in encoded.buffers:
        parts += (one.data.cast("B"), bytes(_pad(one.nbytes)))
    return parts


def pack(encoded: Encoded) -> bytes:
    """All in one string of bytes; one copy."""
    return b"".join(pack_parts(encoded))


def unpack(data: Data, *, limits: Limits = LIMITS) -> Encoded:
    """The parts again, as views of ``data``. Raises Damaged."""
    memory = np.frombuffer(data, np.uint8)
    if memory.nbytes > limits.memory:
        raise Damaged(f"{memory.nbytes} bytes are more than the {limits.memory} allowed")
    if memory.nbytes < _HEAD.size:
        raise Damaged("too short for a value")
    magic, count, stream = _HEAD.unpack(memory[: _HEAD.size].tobytes())
    at = _HEAD.size + 8 * count
    if magic != MAGIC or at + stream > memory.nbytes:
        raise Damaged("not a value, or cut short")
    lengths: list[int] = np.frombuffer(memory[_HEAD.size : at].tobytes(), "<u8").tolist()
    if at + stream + sum(lengths) > memory.nbytes:
        raise Damaged("cut short, or lengths that are not true")
    text = memory[at : at + stream].tobytes()
    at += stream + _pad(at + stream)
    buffers = []
    for length in lengths:
        buffers.append(memory[at : at + length])
        if buffers[-1].nbytes != length:
            raise Damaged("cut short")
        at += length + _pad(length)
    if at != memory.nbytes:
        raise Damaged("bytes after the end")
    return Encoded(text, tuple(buffers))
