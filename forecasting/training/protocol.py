"""What the daemon and the trainer say to each other, over the trainer's standard streams.

Frames are those of ``forecasting.frames``; every request is answered by exactly one response,
in order and soon: rounds and refits run in children of the trainer, and ``Wait`` lets them.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from sidestep.fleet.inventory import OracleSpec
from sidestep.forecasting.frames import pack, parser
from sidestep.forecasting.training.arenas import Arena
from sidestep.forecasting.training.messages import Adoption, Champion

__all__ = ["pack"]


class Standing(Struct, frozen=True):
    """A champion and what is needed to go on with it: processor seconds a series, offsets of its intervals."""

    champion: Champion
    cost: float
    offsets: bytes = b""


class Begin(Struct, frozen=True, tag="begin"):
    """First request: what is contested, on which grid (``step`` in seconds), and who served until now."""

    spec: OracleSpec
    horizon: float
    step: float
    arenas: tuple[Arena, ...]
    standings: tuple[Standing, ...] = ()
    weights: bytes = b""


class Learn(Struct, frozen=True, tag="learn"):
    """Means over one step each: ``times`` are K starts (f8, unix seconds), ``values`` (K, S) f4; NaN is unknown."""

    names: tuple[str, ...]
    times: bytes
    values: bytes


class Round(Struct, frozen=True, tag="round"):
    """Have everybody compete; the result comes with a later ``Wait``."""

    now: float


class Wait(Struct, frozen=True, tag="wait"):
    """Let work go on for at most so many seconds; answered at once when something is done or nothing is to do."""

    now: float
    seconds: float


class Ready(Struct, frozen=True, tag="ready"):
    """Everything is loaded; ``lines`` say which candidates are out and why."""

    pid: int
    lines: tuple[str, ...]


class Learned(Struct, frozen=True, tag="learned"):
    """So many steps are known now, so many of ``watched`` series drift; ``drifted`` when the fleet does."""

    steps: int
    alarmed: int = 0
    watched: int = 0
    drifted: bool = False


class State(Struct, frozen=True, tag="state"):
    """What became of the work: lines for the log, and an adoption when there is news.

    ``busy`` while a round runs, ``done`` in the one answer that ends it; ``standings`` are all
    champions then, and ``changed`` whether there is another among them.
    """

    busy: bool
    done: bool = False
    lines: tuple[str, ...] = ()
    adoption: Adoption | None = None
    changed: bool = False
    standings: tuple[Standing, ...] = ()


class Failed(Struct, frozen=True, tag="failed"):
    """The request could not be done, and why; the trainer goes on."""

    message: str


Request = Begin | Learn | Round | Wait
Response = Ready | Learned | State | Failed

_request: Final = parser(Request, "a request to the trainer")
_response: Final = parser(Response, "an answer of the trainer")


def parse_request(data: bytes) -> Request:
    """A request from a frame's bytes. Raises ProtocolError."""
    request: Request = _request(data)
    return request


def parse_response(data: bytes) -> Response:
    """A response from a frame's bytes. Raises ProtocolError."""
    response: Response = _response(data)
    return response
