"""The lock socket's messages (documented in docs/protocol.md).

A frame is four bytes of big-endian length and that many bytes of msgpack. The client sends
``Request``, the first one with Hello; each is answered by one ``Reply`` of the same id, an
Acquire only once the lock is granted or refused. A *claim* is 16 random bytes that the client
makes for each acquire: it names that wish and then that hold, over any number of connections,
and whoever knows it may renew and release. So every request can be sent again.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

VERSION: Final = 1
HEADER: Final = 4
#: bytes of one request, and of one reply (a list of locks is the longest)
MAX_REQUEST: Final = 4096
MAX_REPLY: Final = 1 << 20
CLAIM: Final = 16
#: characters of a lock's name, and of notes and the holder's words about itself
LONGEST_NAME: Final = 128
LONGEST_NOTE: Final = 200
#: seconds
SHORTEST_TTL: Final = 0.1
LONGEST_TTL: Final = 86_400.0
LONGEST_WAIT: Final = 7 * 86_400.0
#: locks in one answer to Query
MOST_LISTED: Final = 200

Claim = Annotated[bytes, Meta(min_length=CLAIM, max_length=CLAIM)]
Id = Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]
Token = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]


class WireError(ValueError):
    """Bytes that are no message; the connection ends."""


class Hello(Struct, frozen=True, tag="hello"):
    """First request on every connection. ``holder`` is what the client says it is, for people."""

    version: int = VERSION
    holder: str = ""


class Acquire(Struct, frozen=True, tag="acquire"):
    """Wait at most ``wait`` seconds for the lock, first come first served. Answered by Granted or Refused."""

    name: str
    claim: Claim
    ttl: float
    wait: float = 0.0
    note: str = ""


class Renew(Struct, frozen=True, tag="renew"):
    """Hold it for a whole ttl from now. Answered by Renewed, or Refused ``lost``."""

    name: str
    claim: Claim
    token: Token


class Release(Struct, frozen=True, tag="release"):
    """Let go of what the claim holds or waits for; harmless if that is nothing. Answered by Released."""

    name: str
    claim: Claim


class Query(Struct, frozen=True, tag="query"):
    """Who holds that lock, or any lock (""). Answered by LockList."""

    name: str = ""


class Request(Struct, frozen=True):
    """One request; ids are the client's, and each is used once on a connection."""

    id: Id
    body: Hello | Acquire | Renew | Release | Query


class Welcome(Struct, frozen=True, tag="welcome"):
    """The version that is spoken."""

    version: int = VERSION


class Granted(Struct, frozen=True, tag="granted"):
    """The lock is the claim's, for ``ttl`` seconds that began when this was sent; durable before that."""

    token: Token
    ttl: float


class Renewed(Struct, frozen=True, tag="renewed"):
    """The ttl began anew."""


class Released(Struct, frozen=True, tag="released"):
    """The claim holds nothing and waits for nothing; ``held``: it did hold the lock until now."""

    held: bool


class Refused(Struct, frozen=True, tag="refused"):
    """``code``: busy (waited in vain), lost, storage (cannot be written now), full, usage, version, forbidden."""

    code: str
    message: str


class HeldLock(Struct, frozen=True):
    """A lock that is held. ``left`` are seconds until it ends unless it is renewed; ``waiting`` counts who waits."""

    name: str
    token: Token
    holder: str
    note: str
    ttl: float
    left: float
    waiting: int
    #: unix seconds of the grant, for people
    granted: float


class LockList(Struct, frozen=True, tag="locks"):
    """Locks that are held, by name; ``more``: there are others."""

    locks: tuple[HeldLock, ...]
    more: bool = False


Answer = Welcome | Granted | Renewed | Released | Refused | LockList


class Reply(Struct, frozen=True):
    """The answer to request ``id``; 0 is none in particular, and the connection ends after it."""

    id: Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
    body: Answer


_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encoder: Final = msgspec.msgpack.Encoder()
_request: Final = msgspec.msgpack.Decoder(Request)
_reply: Final = msgspec.msgpack.Decoder(Reply)


def pack(message: Request | Reply) -> bytes:
    """The whole frame."""
    data = _encoder.encode(message)
    return len(data).to_bytes(HEADER, "big") + data


def parse_request(data: bytes) -> Request:
    """A request from a frame's bytes. Raises WireError."""
    try:
        return _request.decode(data)
    except _UNREADABLE as error:
        raise WireError(f"not a request: {str(error)!a}") from error


def parse_reply(data: bytes) -> Reply:
    """A reply from a frame's bytes. Raises WireError."""
    try:
        return _reply.decode(data)
    except _UNREADABLE as error:
        raise WireError(f"not a reply: {str(error)!a}") from error


class Frames:
    """Cuts a stream into frames; never holds more than one frame of ``most`` bytes beside what was fed last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = bytearray()

    @property
    def unfinished(self) -> bool:
        """Whether a frame was begun."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are whole now. Raises WireError for an absurd length; the stream is of no use then."""
        self._rest += data
        frames, at = [], 0
        while len(self._rest) - at >= HEADER:
            length = int.from_bytes(self._rest[at : at + HEADER], "big")
            if not 0 < length <= self._most:
                raise WireError(f"a frame of {length} bytes was announced; 1 to {self._most} are allowed")
            if len(self._rest) - at < HEADER + length:
                break
            frames.append(bytes(self._rest[at + HEADER : at + HEADER + length]))
            at += HEADER + length
        del self._rest[:at]
        return frames


def wrong_name(name: str) -> str:
    """Why that cannot be a lock's name, or ""."""
    if not 0 < len(name) <= LONGEST_NAME:
        return f"a lock's name has 1 to {LONGEST_NAME} characters, not {len(name)}"
    if not name.isprintable() or name != name.strip():
        return f"a lock's name is printable and has no space at its ends: {name!a}"
    return ""


def wrong_acquire(name: str, ttl: float, wait: float, note: str) -> str:
    """Why that cannot be asked for, or ""."""
    if not (math.isfinite(ttl) and SHORTEST_TTL <= ttl <= LONGEST_TTL):
        return f"ttl {ttl}: must be {SHORTEST_TTL:g} to {LONGEST_TTL:g} seconds"
    if not (math.isfinite(wait) and 0 <= wait <= LONGEST_WAIT):
        return f"wait {wait}: must be 0 to {LONGEST_WAIT:g} seconds"
    if len(note) > LONGEST_NOTE:
        return f"a note has at most {LONGEST_NOTE} characters, not {len(note)}"
    return wrong_name(name)
