"""Chunks: 16 KiB of state each, named by their hash, packed with zstd where that helps."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import blake3
import zstandard

from sidestep.fleet.capsules import CHUNK, NAME

_RECORD: Final = struct.Struct(f"<{NAME}sI")
#: the highest bit of a record's size: the chunk is not packed
_PLAIN: Final = 1 << 31


class BadChunk(ValueError):
    """A chunk that is not what its name says, or cannot be unpacked."""


def name_of(chunk: bytes | memoryview) -> bytes:
    """The name of a chunk."""
    return blake3.blake3(chunk).digest(length=NAME)


def split(part: memoryview) -> Iterator[memoryview]:
    """The chunks of a part; the last may be shorter."""
    for at in range(0, part.nbytes, CHUNK):
        yield part[at : at + CHUNK]


class Packer:
    """Packs chunks as records: name, size, bytes."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=1)

    def record(self, name: bytes, chunk: bytes | memoryview) -> bytes:
        """A record; plain if packing saves less than an eighth."""
        packed = self._zstd.compress(chunk)
        if len(packed) * 8 > len(chunk) * 7:
            return _RECORD.pack(name, len(chunk) | _PLAIN) + chunk
        return _RECORD.pack(name, len(packed)) + packed


def unpacked(name: bytes, packed: bytes | memoryview, *, plain: bool) -> bytes:
    """A chunk, checked against its name. Raises BadChunk; never takes more than a chunk may have."""
    if plain:
        chunk = bytes(packed)
    else:
        try:
            if not 0 <= zstandard.frame_content_size(packed) <= CHUNK:
                raise BadChunk(f"chunk {name.hex()} says that it is too large")
            chunk = zstandard.ZstdDecompressor(max_window_size=1 << 20).decompress(packed, max_output_size=CHUNK)
        except zstandard.ZstdError as error:
            raise BadChunk(f"chunk {name.hex()} cannot be unpacked: {error}") from error
    if len(chunk) > CHUNK or name_of(chunk) != name:
        raise BadChunk(f"chunk {name.hex()} is not what its name says")
    return chunk


def records(payload: memoryview) -> Iterator[tuple[bytes, memoryview, bool]]:
    """Name, packed bytes, and whether they are plain, of each record. Raises BadChunk where it is cut."""
    at = 0
    while at < payload.nbytes:
        if payload.nbytes - at < _RECORD.size:
            raise BadChunk("cut short within a record")
        name, size = _RECORD.unpack_from(payload, at)
        plain, size = bool(size & _PLAIN), size & ~_PLAIN
        at += _RECORD.size
        if size > CHUNK or payload.nbytes - at < size:
            raise BadChunk(f"chunk {name.hex()} is cut short, or too large")
        yield name, payload[at : at + size], plain
        at += size
