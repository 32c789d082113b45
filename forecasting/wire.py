"""What daemon and worker say to each other, over the worker's standard streams.

Frames are those of ``forecasting.frames``. Arrays are C-ordered little-endian ``f4``. Every
request is answered by exactly one reply, in order. Needs msgspec and numpy only.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.fleet.accuracy import AccuracyBoard
from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.forecast_types import Account
from sidestep.fleet.inventory import OracleSpec
from sidestep.fleet.occasions import Occasion
from sidestep.fleet.resources import HOST_SERIES, SHARD_SERIES
from sidestep.forecasting import frames
from sidestep.forecasting.frames import HEADER, MAX_FRAME, frame_length, parser, read_frame
from sidestep.forecasting.training.messages import Adoption

__all__ = ["HEADER", "MAX_FRAME", "frame_length", "read_frame"]

#: series of a host and of a shard
EMPTY: Final = memoryview(b"")
HOST_WIDTH: Final = len(HOST_SERIES)
SHARD_WIDTH: Final = len(SHARD_SERIES)


class Configure(Struct, frozen=True, tag="configure"):
    """First request: how to run (``spec.step`` is resolved), and how many seconds ahead. Answered by Ready."""

    spec: OracleSpec
    horizon: float


class Names(Struct, frozen=True):
    """Whose series the rows hold; ``apps`` are those of the shards."""

    hosts: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()

    @property
    def series(self) -> int:
        """S: six series of every host, then four of every shard."""
        return len(self.hosts) * HOST_WIDTH + len(self.shards) * SHARD_WIDTH


class Row(Struct, frozen=True):
    """One row of the panel: what was measured of every host and shard at ``time`` (unix seconds).

    ``host_use`` is (H, HOST_SERIES) and ``shard_use`` (N, SHARD_SERIES); NaN is unknown. No
    ``names``: those of the row before.
    """

    number: int
    time: float
    host_use: bytes
    shard_use: bytes
    names: Names | None = None


class Replay(Struct, frozen=True, tag="replay"):
    """Learn past rows, oldest first, and keep account as if they came now. Answered by Replayed."""

    rows: tuple[Row, ...]


class Past(Struct, frozen=True, tag="past"):
    """Learn the past from before any row: K means over ``step`` seconds each, oldest first. Answered by Replayed.

    ``times`` are K starts (f8, unix seconds), ``host_use`` (K, H, HOST_SERIES) and
    ``shard_use`` (K, N, SHARD_SERIES) f4; NaN is unknown. Accounts are not touched: nothing
    was forecast then.
    """

    step: float
    names: Names
    times: bytes
    host_use: bytes
    shard_use: bytes


class Ask(Struct, frozen=True, tag="ask"):
    """Learn rows, then forecast after the newest. Answered by Answer or Failed.

    ``limits`` (H, PLANNED) are the demands above which a host is in contention, ``window``
    and ``duration`` steps: how far ahead one counts, and how long it must last. ``have`` is
    the number of the newest answer that was taken: curves that have not changed since do
    not travel again.
    """

    rows: tuple[Row, ...]
    levels: tuple[float, ...]
    limits: bytes = b""
    window: int = 0
    duration: int = 1
    have: int = -1


class Know(Struct, frozen=True, tag="know"):
    """What is known to come, in place of what was told before. Answered by Done.

    ``homes`` says which host each shard is on. ``learned`` is what a worker before this one
    said of what occasions do to demand; empty keeps what this one knows.
    """

    occasions: tuple[Occasion, ...]
    homes: dict[str, str] = {}
    learned: bytes = b""


class Adopt(Struct, frozen=True, tag="adopt"):
    """What the trainer found, in place of what it found before. Answered by Done."""

    adoption: Adoption


class AskScores(Struct, frozen=True, tag="ask-scores"):
    """The account of every series. Answered by Scored."""


class AskLearned(Struct, frozen=True, tag="ask-learned"):
    """What occasions do to demand, as far as it was learned. Answered by Learned."""


class Ready(Struct, frozen=True, tag="ready"):
    """Everything is loaded."""

    pid: int
    model: str


class Replayed(Struct, frozen=True, tag="replayed"):
    """So many rows were learned."""

    rows: int


class Done(Struct, frozen=True, tag="done"):
    """It was taken; what could not be is said."""

    notes: tuple[str, ...] = ()


class Answer(Struct, frozen=True, tag="answer", kw_only=True):
    """What is said after row ``number``, about ``steps`` steps of which ``knots`` travel.

    ``hosts`` (H, HOST_SERIES, B, Q), ``shards`` (N, SHARD_SERIES, B, Q) and ``peaks``
    (H, HOST_SERIES, W, Q) are f4. ``same``: they are those of the answer that was taken
    before, and empty here. They are empty, too, where ``fallback`` says why the model is
    not served. ``chance`` (H, PLANNED) is f4, ``proven`` and ``reactive`` (H, PLANNED) u1.
    """

    number: int
    model: str
    confidence: str
    fallback: str
    steps: int
    knots: tuple[int, ...]
    same: bool = False
    # megabytes, which are looked into and not copied
    hosts: memoryview = EMPTY
    shards: memoryview = EMPTY
    windows: tuple[int, ...] = ()
    peaks: memoryview = EMPTY
    chance: bytes = b""
    proven: bytes = b""
    reactive: bytes = b""
    accounts: tuple[Account, ...] = ()
    #: (series, model) where another model than ``model`` is served
    served: tuple[tuple[str, str], ...] = ()
    #: parts that failed, said once
    notes: tuple[str, ...] = ()


class Scored(Struct, frozen=True, tag="scored"):
    """What forecasts of every series were worth lately."""

    board: AccuracyBoard


class Learned(Struct, frozen=True, tag="learned"):
    """What a next worker is to be told with ``Know``."""

    data: bytes


class Failed(Struct, frozen=True, tag="failed"):
    """The request could not be done, and why; the worker goes on."""

    message: str


Request = Configure | Replay | Past | Ask | Know | Adopt | AskScores | AskLearned
Response = Ready | Replayed | Done | Answer | Scored | Learned | Failed

_request: Final = parser(Request, "a request to the oracle")
_response: Final = parser(Response, "an answer of the oracle")


def pack(message: Request | Response) -> bytearray:
    """The whole frame, length first."""
    known = len(message.hosts) + len(message.shards) + len(message.peaks) if isinstance(message, Answer) else 0
    return frames.pack(message, known + (known >> 4))


def parse_request(data: bytes) -> Request:
    """A request from a frame's bytes. Raises ProtocolError."""
    request: Request = _request(data)
    return request


def parse_response(data: bytes) -> Response:
    """A response from a frame's bytes. Raises ProtocolError."""
    response: Response = _response(data)
    return response


def to_bytes(values: NDArray[np.floating]) -> bytes:
    """An array as little-endian ``f4``; what is too large for that becomes infinite."""
    return to_view(values).tobytes()


def to_view(values: NDArray[np.floating]) -> memoryview:
    """The same without a copy of what is right already: the array must not change before it is sent."""
    with np.errstate(over="ignore"):
        whole = np.ascontiguousarray(values, dtype="<f4")
    return whole.reshape(-1).view(np.uint8).data


def from_bytes(data: bytes | memoryview, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
    """The array again, read-only. Raises ProtocolError naming ``what`` if the size does not fit."""
    wanted = int(np.prod(shape)) * 4
    if len(data) != wanted:
        raise ProtocolError(f"{what}: {len(data)} bytes for shape {shape}, expected {wanted}")
    return np.frombuffer(data, dtype="<f4").reshape(shape).astype(np.float32, copy=False)
