"""Headers of capsules: all of a capsule that the controller and the console ever read.

A capsule is one file: magic, length of the header, header (msgpack), an Ed25519 signature of the header by the host
that made it, chunks. The header names every chunk by its hash, so the signature covers the whole state. What the
chunks hold is opaque here: nothing in this module can decode it.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from sidestep.fleet.errors import UsageError

MAGIC: Final = b"SIDECAP\x01"
SCHEMA: Final = 1
#: bytes of state in one chunk, of a chunk's name, of a signature
CHUNK: Final = 16 << 10
NAME: Final = 16
SIGNATURE: Final = 64
#: the largest header: names of the chunks of 14 GiB
LARGEST: Final = 16 << 20
_LENGTH: Final = struct.Struct("<I")
PREAMBLE: Final = len(MAGIC) + _LENGTH.size


class Unreadable(UsageError):
    """A file that is no capsule, or whose header says what cannot be."""


class Fingerprint(Struct, frozen=True, array_like=True):
    """What must be alike where a capsule goes on, for every bit of the result to be alike."""

    python: str = ""
    numpy: str = ""
    #: BLAS of numpy, and its version
    blas: str = ""
    machine: str = ""
    #: vector instructions that numpy uses
    features: str = ""
    #: a probe of the hashes of text; another seed gives another
    hashes: int = 0


class Live(Struct, frozen=True, array_like=True):
    """One value in a capsule: ``name`` of the variable, its type, and about how many bytes it takes."""

    name: str
    type: str
    bytes: int


class CapsuleHeader(Struct, frozen=True, kw_only=True):
    """What a capsule is of, where it stands, and which chunks it is made of."""

    schema: int = SCHEMA
    #: ``function``: parts are a codec's stream and buffers; ``opaque``: one part, whatever a backend captured
    kind: str = "function"
    #: who made and signed it
    host: str = ""
    shard: str = ""
    #: of the program: what its syntax tree hashes to
    program: bytes = b""
    #: the outermost function, the innermost, and the line where that stands
    function: str = ""
    block: str = ""
    line: int = 0
    position: int = 0
    sequence: int = 0
    #: the capsule whose chunks this one does not repeat (its id; empty: it has all), and how many such there are
    parent: bytes = b""
    depth: int = 0
    token: int = 0
    made: float = 0.0
    fingerprint: Fingerprint = Fingerprint()
    live: tuple[Live, ...] = ()
    #: bytes of each part; the names of their chunks, one after the other; how the chunks in this file are packed
    parts: tuple[int, ...] = ()
    chunks: bytes = b""
    packing: str = "zstd"
    #: chunks in this file, and their bytes as packed
    carried: int = 0
    payload: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of state, unpacked."""
        return sum(self.parts)

    def names(self) -> list[bytes]:
        """The chunks' names in order."""
        return [self.chunks[at : at + NAME] for at in range(0, len(self.chunks), NAME)]


class Sealed(Struct, frozen=True):
    """A header as it lies in the file: its bytes, its signature, and what it says."""

    header: CapsuleHeader
    raw: bytes
    signature: bytes

    @property
    def id(self) -> bytes:
        """The capsule's id."""
        return ident(self.raw)

    @property
    def preamble(self) -> int:
        """Bytes before the first chunk."""
        return PREAMBLE + len(self.raw) + SIGNATURE


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(CapsuleHeader)


def encoded(header: CapsuleHeader) -> bytes:
    """A header as bytes."""
    return _encoder.encode(header)


def ident(raw: bytes) -> bytes:
    """A capsule's id: of its header's bytes, and by the names in it of all its state."""
    return hashlib.blake2b(raw, digest_size=NAME).digest()


def framed(raw: bytes, signature: bytes) -> bytes:
    """What a capsule's file begins with."""
    return MAGIC + _LENGTH.pack(len(raw)) + raw + signature


def parse(start: bytes, *, source: str = "capsule") -> Sealed:
    """The header at the beginning of a capsule; nothing after it is looked at. Raises Unreadable.

    Bounds: the length is weighed before it is believed, and the counts must fit each other.
    """
    if len(start) < PREAMBLE or not start.startswith(MAGIC):
        raise Unreadable(f"{source}: not a capsule", hint="a capsule begins with SIDECAP; was the file cut or changed?")
    (length,) = _LENGTH.unpack_from(start, len(MAGIC))
    if length > LARGEST:
        raise Unreadable(f"{source}: a header of {length} bytes; at most {LARGEST} are possible")
    raw = start[PREAMBLE : PREAMBLE + length]
    signature = start[PREAMBLE + length : PREAMBLE + length + SIGNATURE]
    if len(raw) != length or len(signature) != SIGNATURE:
        raise Unreadable(f"{source}: cut short within the header")
    try:
        header = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"{source}: a header that cannot be read: {error}") from error
    if header.schema != SCHEMA:
        raise Unreadable(
            f"{source}: a capsule of schema {header.schema}; this sidestep reads {SCHEMA}",
            hint="use the version of sidestep that made it",
        )
    if min(header.parts, default=0) < 0 or len(header.chunks) != NAME * sum(-(-part // CHUNK) for part in header.parts):
        raise Unreadable(f"{source}: a header whose chunks do not fit its sizes")
    return Sealed(header, raw, signature)


def read(path: Path) -> Sealed:
    """The header of a capsule's file; of the rest not a byte is read. Raises Unreadable."""
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE)
            length = _LENGTH.unpack_from(start, len(MAGIC))[0] if len(start) == PREAMBLE else 0
            return parse(start + file.read(min(length, LARGEST) + SIGNATURE), source=str(path))
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
