"""Opening capsules on the host that goes on with them: chunks into a store, and the state out of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.capsules import CHUNK, CapsuleHeader, Sealed, parse
from sidestep.sharding.capsules.chunks import BadChunk, records, unpacked
from sidestep.sharding.capsules.gate import Rejected
from sidestep.sharding.codec import LIMITS, Encoded, Limits


class Chunks(Protocol):
    """Where chunks are kept: a ChunkStore, or a dict with the same two methods."""

    def put(self, name: bytes, chunk: bytes) -> None:
        """Keep one."""

    def get(self, name: bytes) -> bytes:
        """Give one. Raises KeyError, BadChunk."""


def opened(data: bytes, store: Chunks, *, source: str = "capsule") -> Sealed:
    """Read a capsule's header and put the chunks it carries into a store. Raises Unreadable, Rejected.

    Only chunks that the header names are taken. Check the header with a ``Gate`` before its state is used.
    """
    sealed = parse(data, source=source)
    header = sealed.header
    payload = memoryview(data)[sealed.preamble :]
    if payload.nbytes != header.payload:
        raise Rejected("chunk", f"{payload.nbytes} bytes of chunks where the header says {header.payload}")
    named = set(header.names())
    count = 0
    try:
        for name, packed, plain in records(payload):
            if name not in named:
                raise Rejected("chunk", f"chunk {name.hex()} is none of this capsule's")
            store.put(name, unpacked(name, packed, plain=plain))
            count += 1
    except BadChunk as error:
        raise Rejected("chunk", str(error)) from error
    if count != header.carried:
        raise Rejected("chunk", f"{count} chunks where the header says {header.carried}")
    return sealed


def parts_of(header: CapsuleHeader, store: Chunks, *, limits: Limits = LIMITS) -> Iterator[NDArray[np.uint8]]:
    """The parts of a capsule's state, each in memory of its own. Raises Rejected."""
    bounded(header, limits)
    names = iter(header.names())
    for size in header.parts:
        yield _part(size, names, store)


def bounded(header: CapsuleHeader, limits: Limits) -> None:
    """Raise Rejected for a state that is larger than it may be, or none."""
    if header.nbytes > limits.memory:
        raise Rejected("size", f"{header.nbytes} bytes of state; {limits.memory} are allowed")
    if not header.parts:
        raise Rejected("chunk", "a capsule without a state")


def _chunks(size: int, names: Iterator[bytes], store: Chunks) -> Iterator[tuple[int, bytes]]:
    """The chunks of a part and where they belong, each of its length. Raises Rejected."""
    for at in range(0, size, CHUNK):
        yield at, chunk_of(next(names), min(CHUNK, size - at), store)


def chunk_of(name: bytes, length: int, store: Chunks) -> bytes:
    """A chunk that has the length of its place. Raises Rejected."""
    try:
        chunk = store.get(name)
    except KeyError:
        raise Rejected("missing", f"chunk {name.hex()} is not here: a capsule before this one is") from None
    except BadChunk as error:
        raise Rejected("chunk", str(error)) from error
    if len(chunk) != length:
        raise Rejected("chunk", f"chunk {name.hex()} has another length than its place")
    return chunk


def _part(size: int, names: Iterator[bytes], store: Chunks) -> NDArray[np.uint8]:
    part = np.empty(size, np.uint8)
    for at, chunk in _chunks(size, names, store):
        part[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
    return part


def state_of(header: CapsuleHeader, store: Chunks, *, limits: Limits = LIMITS) -> Encoded:
    """The state of a function, for ``Program.resume``. Raises Rejected."""
    bounded(header, limits)
    names = iter(header.names())
    # The first part is the stream, and is read as bytes: it is put together as such.
    stream = b"".join(chunk for _, chunk in _chunks(header.parts[0], names, store))
    return Encoded(stream, tuple(_part(size, names, store) for size in header.parts[1:]))
