"""Frames between the daemon and the router: four bytes of length, then msgpack.

Requests are idempotent, so a client that lost the connection simply asks again.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from msgspec import Struct

from sidestep.fleet.errors import ProtocolError

MAX_FRAME: Final = 16 << 20


class Hold(Struct, frozen=True, tag="hold"):
    """Keep a shard's requests waiting; answered when none is in flight, within ``deadline`` seconds."""

    shard: str
    deadline: float


class Release(Struct, frozen=True, tag="release"):
    """Let a shard's requests go, by the newest table."""

    shard: str


class Apply(Struct, frozen=True, tag="apply"):
    """Take this table (msgpack of RoutingTable) if it is newer; ``checksum`` is the CRC-32 of the bytes."""

    table: bytes
    checksum: int


class Generation(Struct, frozen=True, tag="generation"):
    """Say which generation is in force."""


class Stats(Struct, frozen=True, tag="stats"):
    """Say what was counted so far."""


class Audit(Struct, frozen=True, tag="audit"):
    """Stop making requests, reconcile every one with the shards, and say the result."""


Request = Hold | Release | Apply | Generation | Stats | Audit


class Ok(Struct, frozen=True, tag="ok"):
    """Done; ``generation`` is the one in force, ``counts`` what was asked for."""

    generation: int
    counts: dict[str, float] = {}


class Failed(Struct, frozen=True, tag="failed"):
    """Refused, and why."""

    message: str


Reply = Ok | Failed

_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def frame(message: Request | Reply) -> bytes:
    """The whole frame of a message."""
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(4, "big") + data


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next frame's bytes; None at a clean end. Raises ProtocolError for a cut or absurd one."""
    try:
        header = await reader.readexactly(4)
        length = int.from_bytes(header, "big")
        if not 0 < length <= MAX_FRAME:
            raise ProtocolError(f"router: a frame of {length} bytes was announced; at most {MAX_FRAME} are allowed")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        if not error.partial and error.expected == 4:
            return None
        raise ProtocolError("router: the peer closed in the middle of a frame") from error


def parse_request(data: bytes) -> Request:
    """A request from a frame's bytes. Raises ProtocolError."""
    try:
        return _requests.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ProtocolError(f"router: not a request: {error}") from error


def parse_reply(data: bytes) -> Reply:
    """A reply from a frame's bytes. Raises ProtocolError."""
    try:
        return _replies.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ProtocolError(f"router: not a reply: {error}") from error
