"""What is said on the router's control socket: one call and one answer per connection.

A frame is four bytes of big-endian length and that many bytes of msgpack.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from msgspec import Struct

from sidestep.backends.routing.engine import Endpoint
from sidestep.fleet.errors import ProtocolError

#: a table of 100,000 routes is 10 MB
MAX_FRAME: Final = 32 * 1024 * 1024
_HEADER: Final = 4


class Hold(Struct, frozen=True, tag="hold"):
    """Hold the shard's requests back; answered when none is in flight, or refused after ``deadline`` seconds.

    ``firm``: never refused for that; what its owner has not answered by then is given up.
    """

    shard: str
    deadline: float
    firm: bool = False


class Release(Struct, frozen=True, tag="release"):
    """Send what was held back."""

    shard: str


class Apply(Struct, frozen=True, tag="apply"):
    """Take a newer table: msgpack of RoutingTable, and its CRC-32."""

    table: bytes
    checksum: int


class GetGeneration(Struct, frozen=True, tag="generation"):
    """Ask for the generation in force; 0 before the first table."""


class GetStats(Struct, frozen=True, tag="stats"):
    """Ask for the router's counters."""


class GetReport(Struct, frozen=True, tag="report"):
    """Ask for totals and latencies of every shard, and for the calls that came after a number."""

    after: int = 0


class GetEndpoints(Struct, frozen=True, tag="endpoints"):
    """Ask for a shard's endpoints, and what is in flight at each."""

    shard: str


class AddEndpoint(Struct, frozen=True, tag="add"):
    """Send a shard's requests to one more endpoint."""

    shard: str
    endpoint: Endpoint


class Weigh(Struct, frozen=True, tag="weigh"):
    """Give endpoints of a shard new weights."""

    shard: str
    weights: dict[str, int]


class Shift(Struct, frozen=True, tag="shift"):
    """Give groups of a shard's endpoints shares of its requests."""

    shard: str
    shares: dict[str, int]


class Drain(Struct, frozen=True, tag="drain"):
    """Send nothing new to an endpoint; answered when nothing is in flight there, refused after ``deadline`` seconds."""

    shard: str
    name: str
    deadline: float


class RemoveEndpoint(Struct, frozen=True, tag="remove"):
    """Forget an endpoint of a shard."""

    shard: str
    name: str


class Audit(Struct, frozen=True, tag="audit"):
    """Ask whoever makes the requests for the account of every one of them."""


Call = (
    Hold | Release | Apply | GetGeneration | GetStats | GetReport | Audit
    | GetEndpoints | AddEndpoint | Weigh | Shift | Drain | RemoveEndpoint
)  # fmt: skip


class Done(Struct, frozen=True, tag="done"):
    """It was done; ``generation`` is in force."""

    generation: int


class Facts(Struct, frozen=True, tag="facts"):
    """Counters by name."""

    values: dict[str, Any]


class Refused(Struct, frozen=True, tag="refused"):
    """It was not done, and why."""

    message: str
    hint: str = ""


Answer = Done | Facts | Refused

_call = msgspec.msgpack.Decoder(Call)
_answer = msgspec.msgpack.Decoder(Answer)


def pack(message: Call | Answer) -> bytes:
    """The whole frame, length first."""
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(_HEADER, "big") + data


def parse_call(data: bytes) -> Call:
    """A call from a frame's bytes. Raises ProtocolError."""
    call: Call = _parse(_call, data)
    return call


def parse_answer(data: bytes) -> Answer:
    """An answer from a frame's bytes. Raises ProtocolError."""
    answer: Answer = _parse(_answer, data)
    return answer


def _parse(decoder: msgspec.msgpack.Decoder[Any], data: bytes) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ProtocolError(f"not a message of the router: {error}", hint="are both of one version?") from error


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The bytes of the next frame. Raises ProtocolError if it is cut short, empty or too long."""
    try:
        length = int.from_bytes(await reader.readexactly(_HEADER), "big")
        if not 0 < length <= MAX_FRAME:
            raise ProtocolError(f"frame of {length} bytes announced; 1 to {MAX_FRAME} are allowed")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise ProtocolError(f"the peer closed in mid-frame, after {len(error.partial)} bytes") from error
