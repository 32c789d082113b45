"""What daemon and worker say to each other, over the worker's standard streams.

A frame is four bytes of big-endian length and that many bytes of msgpack. Arrays are
C-ordered little-endian ``f4``. Every request is answered by exactly one reply, in order.
Needs msgspec and numpy only.
"""

from __future__ import annotations

from typing import BinaryIO, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.forecast_types import Account
from sidestep.fleet.inventory import OracleSpec

MAX_FRAME: Final = 256 * 1024 * 1024
HEADER: Final = 4


class Configure(Struct, frozen=True, tag="configure"):
    """First request: how to run, and how many seconds ahead. Answered by Ready."""

    spec: OracleSpec
    horizon: float


class Row(Struct, frozen=True):
    """One row of the panel: the measured use of every host and shard at ``time`` (unix seconds).

    ``host_use`` is (H, R) and ``shard_use`` (N, R); NaN is unknown.
    """

    number: int
    time: float
    hosts: tuple[str, ...]
    shards: tuple[str, ...]
    host_use: bytes
    shard_use: bytes


class Replay(Struct, frozen=True, tag="replay"):
    """Learn past rows, oldest first. Answered by Replayed."""

    rows: tuple[Row, ...]


class Past(Struct, frozen=True, tag="past"):
    """Learn the past from before any row: K means over ``step`` seconds each, oldest first. Answered by Replayed.

    ``times`` are K starts (f8, unix seconds), ``host_use`` (K, H, R) and ``shard_use``
    (K, N, R) f4; NaN is unknown. Accounts are not touched: nothing was forecast then.
    """

    step: float
    hosts: tuple[str, ...]
    shards: tuple[str, ...]
    times: bytes
    host_use: bytes
    shard_use: bytes


class Ask(Struct, frozen=True, tag="ask"):
    """Learn a row, then forecast at these levels. Answered by Answer or Failed."""

    row: Row
    levels: tuple[float, ...]


class Ready(Struct, frozen=True, tag="ready"):
    """Everything is loaded."""

    pid: int
    model: str


class Replayed(Struct, frozen=True, tag="replayed"):
    """So many rows were learned."""

    rows: int


class Answer(Struct, frozen=True, tag="answer", kw_only=True):
    """Quantiles (H, R, T, Q) and (N, R, T, Q) after row ``number``."""

    number: int
    model: str
    confidence: str
    fallback: str
    steps: int
    hosts: bytes
    shards: bytes
    accounts: tuple[Account, ...]


class Failed(Struct, frozen=True, tag="failed"):
    """The request could not be done, and why; the worker goes on."""

    message: str


Request = Configure | Replay | Past | Ask
Response = Ready | Replayed | Answer | Failed

_request: Final = msgspec.msgpack.Decoder(Request)
_response: Final = msgspec.msgpack.Decoder(Response)


def pack(message: Request | Response) -> bytes:
    """The whole frame, length first."""
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(HEADER, "big") + data


def frame_length(header: bytes) -> int:
    """The length that a header announces. Raises ProtocolError if it is truncated or absurd."""
    if len(header) != HEADER:
        raise ProtocolError(f"oracle frame: header of {len(header)} bytes, not {HEADER}; the peer ended in mid-frame")
    length = int.from_bytes(header, "big")
    if not 0 < length <= MAX_FRAME:
        raise ProtocolError(f"oracle frame of {length} bytes announced; at most {MAX_FRAME} are allowed")
    return length


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame's bytes, or None at the end. Raises ProtocolError for a frame that was cut off."""
    header = stream.read(HEADER)
    if not header:
        return None
    length = frame_length(header)
    data = stream.read(length)
    if len(data) != length:
        raise ProtocolError(f"oracle frame of {length} bytes ended after {len(data)}; the peer ended in mid-frame")
    return data


def parse_request(data: bytes) -> Request:
    """A request from a frame's bytes. Raises ProtocolError."""
    try:
        request: Request = _request.decode(data)
        return request
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ProtocolError(f"not a request to the oracle: {error}") from error


def parse_response(data: bytes) -> Response:
    """A response from a frame's bytes. Raises ProtocolError."""
    try:
        response: Response = _response.decode(data)
        return response
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ProtocolError(f"not an answer of the oracle: {error}") from error


def to_bytes(values: NDArray[np.floating]) -> bytes:
    """An array as little-endian ``f4``; what is too large for that becomes infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype="<f4").tobytes()


def from_bytes(data: bytes, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
    """The array again, read-only. Raises ProtocolError naming ``what`` if the size does not fit."""
    wanted = int(np.prod(shape)) * 4
    if len(data) != wanted:
        raise ProtocolError(f"{what}: {len(data)} bytes for shape {shape}, expected {wanted}")
    return np.frombuffer(data, dtype="<f4").reshape(shape).astype(np.float32, copy=False)
