"""Messages between the daemon and its processes: four bytes of big-endian length, and that many bytes of msgpack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, Final

import msgspec

from sidestep.fleet.errors import ProtocolError

MAX_FRAME: Final = 256 * 1024 * 1024
HEADER: Final = 4


_encoder: Final = msgspec.msgpack.Encoder()


def pack(message: object, room: int = 0) -> bytearray:
    """The whole frame, length first; with ``room`` bytes at once, not as a buffer that grows to twice its size."""
    frame = bytearray(HEADER + room)
    _encoder.encode_into(message, frame, HEADER)
    frame[:HEADER] = (len(frame) - HEADER).to_bytes(HEADER, "big")
    return frame


def parser(kind: Any, what: str) -> Callable[[bytes], Any]:
    """Reads messages of a kind, or of one of several. Raises ProtocolError saying that it is not ``what``."""
    decoder = msgspec.msgpack.Decoder(kind)

    def parse(data: bytes) -> Any:
        try:
            return decoder.decode(data)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ProtocolError(f"not {what}: {error}") from error

    return parse


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
