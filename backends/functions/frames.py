"""Frames on a pipe: four bytes of length, big-endian, then one msgpack value of a known type.

Lengths are checked before anything is read, so that a length that lies costs nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO, Final

import msgspec

from sidestep.fleet.errors import ProtocolError

#: bytes that one frame may have: the arguments and results of a call travel in one
LIMIT: Final = 1 << 30
_HEAD: Final = struct.Struct(">I")
_encoder: Final = msgspec.msgpack.Encoder()

Exactly = Callable[[int], Awaitable[bytes]]


def pack(value: object) -> bytes:
    """One frame. Raises ProtocolError for what is over the limit."""
    body = _encoder.encode(value)
    if len(body) > LIMIT:
        raise ProtocolError(f"a frame of {len(body)} bytes; at most {LIMIT} go in one", hint="pass less at a time")
    return _HEAD.pack(len(body)) + body


def unpack(body: bytes, kind: Any) -> Any:
    """The value in a frame's body. Raises ProtocolError for anything else."""
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"a frame that cannot be read: {error}") from None


def size_of(head: bytes, limit: int) -> int:
    """The length that four bytes announce. Raises ProtocolError when it is over the limit."""
    size: int = _HEAD.unpack(head)[0]
    if size > limit:
        raise ProtocolError(f"a frame that claims {size} bytes; at most {limit} are read")
    return size


def read(stream: BinaryIO, kind: Any, limit: int = LIMIT) -> Any:
    """The next frame of a blocking stream; None at its end. Raises ProtocolError."""
    head = stream.read(_HEAD.size)
    if not head:
        return None
    if len(head) == _HEAD.size:
        size = size_of(head, limit)
        body = stream.read(size)
        if len(body) == size:
            return unpack(body, kind)
    raise ProtocolError("a stream that ended inside a frame")


async def receive(exactly: Exactly, kind: Any, limit: int = LIMIT) -> Any:
    """The next frame, by a coroutine that reads exactly n bytes, or fewer at the end; None at the end."""
    head = await exactly(_HEAD.size)
    if not head:
        return None
    if len(head) == _HEAD.size:
        size = size_of(head, limit)
        body = await exactly(size)
        if len(body) == size:
            return unpack(body, kind)
    raise ProtocolError("a stream that ended inside a frame")
