"""The daemon's socket: frames, requests and answers (documented in docs/protocol.md).

A frame is four bytes of big-endian length and that many bytes of msgpack. The client
sends ``Request``; the daemon answers each with one ``Reply`` of the same id, and, once
subscribed, sends ``Reply`` frames with id 0 that carry ``SnapshotFrame``. Columns are raw
little-endian arrays; what seldom changes is sent when ``tables`` changes. Needs msgspec only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from sidestep.autopilot.protocol_levels import LevelReply, LevelRequest
from sidestep.autopilot.protocol_locks import OperatorReply, OperatorRequest
from sidestep.autopilot.protocol_oracle import OracleAnswer, OracleRequest
from sidestep.autopilot.protocol_plans import PlanReply, PlanRequest
from sidestep.autopilot.protocol_replay import ReplayReply, ReplayRequest
from sidestep.autopilot.protocol_reshard import ProposeReshard
from sidestep.autopilot.protocol_resize import ProposeResize
from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.events import Event
from sidestep.fleet.forecast_types import Account, Contention
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.plans import NoPlan, Plan, PlanStatus

VERSION: Final = 2
MAX_FRAME: Final = 64 * 1024 * 1024
HEADER: Final = 4
#: what the bytes of ``host_state`` and ``shard_state`` count
HOST_STATES: Final = tuple(HostState)
SHARD_STATES: Final = tuple(ShardState)
#: the columns of ``quality``: samples that were made and not seen, sampler runs after the first, counters that
#: went back (numbers), and how far the host's clock is ahead of ours (s, NaN unknown)
QUALITY: Final = ("gaps", "restarts", "resets", "skew")
#: the bits of ``trust``: chances have beaten the series' own frequency; it cannot be forecast at all
PROVEN: Final = 1
REACTIVE: Final = 2


S = TypeVar("S", HostState, ShardState)


class Hello(Struct, frozen=True, tag="hello"):
    """First request on every connection; answered by Welcome, or Failure and a close."""

    version: int = VERSION
    client: str = ""


class Subscribe(Struct, frozen=True, tag="subscribe"):
    """Send a SnapshotFrame now and after every tick, at most ``rate`` a second; the first is whole."""

    rate: float = 2.0


class GetSnapshot(Struct, frozen=True, tag="get-snapshot"):
    """Answered by one SnapshotFrame, always whole."""


class ListPlans(Struct, frozen=True, tag="list-plans"):
    """Answered by PlanList, newest first."""

    limit: int = 50


class GetPlan(Struct, frozen=True, tag="get-plan"):
    """By number or by any unambiguous prefix of the digest (at least 6 digits)."""

    ref: str


class Approve(Struct, frozen=True, tag="approve"):
    """Approve exactly the plan of this whole digest; what runs is that plan or nothing.

    ``skip`` are ids of actions that are left out; ``outside`` is why it cannot wait for a change
    window. ``letter`` and ``signature`` are a signed approval (docs/approval.md), which says the rest.
    """

    digest: str
    reason: str = ""
    skip: tuple[int, ...] = ()
    outside: str = ""
    letter: str = ""
    signature: str = ""


class Reject(Struct, frozen=True, tag="reject"):
    """Refuse a proposed plan."""

    digest: str
    reason: str = ""


class ProposeMove(Struct, frozen=True, tag="propose-move"):
    """An operator's own plan: one shard to one host. Answered by PlanView; still needs approval."""

    shard: str
    destination: str
    reason: str = ""


class SetLevel(Struct, frozen=True, tag="set-level"):
    """Set the automation level: off, shadow, advise, semi or full; "" takes back what was set.

    ``scope`` is fleet, app, shard or host; ``name`` says which one.
    """

    level: str
    reason: str = ""
    scope: str = "fleet"
    name: str = ""


class Retry(Struct, frozen=True, tag="retry"):
    """Try hosts again that refused us (host key, authentication): one, or all. Answered by Done.

    ``trusted`` is what a person has just accepted as that host's key, for the audit log.
    """

    host: str = ""
    trusted: str = ""


class GetDemand(Struct, frozen=True, tag="get-demand"):
    """Demand vectors (S3.11) of all apps, or of one app or shard, ``at`` seconds from now. Answered by DemandList.

    ``profile`` asks for one vector for each of several instants up to the horizon instead.
    Quanta (cores, bytes) round demands up to whole ones (S3.12); 0 does not.
    """

    app: str = ""
    at: float = 0.0
    quantum_cpu: float = 0.0
    quantum_memory: float = 0.0
    profile: bool = False


class GetLog(Struct, frozen=True, tag="get-log"):
    """Events after ``since``, oldest first; below 0, so many of the newest. Answered by EventList."""

    since: int = 0
    limit: int = 500


class Shutdown(Struct, frozen=True, tag="shutdown"):
    """Finish the running step, journal, and end."""


Body = (
    Hello
    | Subscribe
    | GetSnapshot
    | ListPlans
    | GetPlan
    | Approve
    | Reject
    | ProposeMove
    | ProposeReshard
    | ProposeResize
    | SetLevel
    | Retry
    | GetDemand
    | GetLog
    | Shutdown
    | OracleRequest
    | PlanRequest
    | LevelRequest
    | OperatorRequest
    | ReplayRequest
)


class Request(Struct, frozen=True):
    """One request; ``id`` is the client's and at least 1."""

    id: int
    body: Body


class Welcome(Struct, frozen=True, tag="welcome", kw_only=True):
    """Who answers."""

    version: int
    daemon: str
    fleet: Label
    level: str
    banner: Label
    notice: Label
    pid: int
    #: the actor that this connection acts as, from its peer credentials
    actor: Label


class Failure(Struct, frozen=True, tag="failure", kw_only=True):
    """A refusal. ``code``: usage, unknown, stale, state, early, protocol, forbidden, internal."""

    code: str
    message: Label
    hint: Label = Label("")
    #: for ``stale``: what is no longer as planned
    differences: tuple[Label, ...] = ()


class Done(Struct, frozen=True, tag="done"):
    """It was done."""

    text: Label = Label("")


class PlanView(Struct, frozen=True, tag="plan"):
    """A plan, its digest and what has become of it."""

    digest: str
    plan: Plan
    status: PlanStatus


class PlanList(Struct, frozen=True, tag="plans"):
    """Plans, newest first; ``no_plan`` is the newest answer if it was "no plan"."""

    plans: tuple[PlanView, ...]
    no_plan: NoPlan | None = None


class DemandList(Struct, frozen=True, tag="demand"):
    """Each item is one S3.11 demand vector as JSON text."""

    vectors: tuple[str, ...]


class EventList(Struct, frozen=True, tag="events"):
    """Journal rows, oldest first."""

    events: tuple[Event, ...]


class HostStrings(Struct, frozen=True):
    """The words of one host's row."""

    name: Label
    zone: Label


class ShardStrings(Struct, frozen=True):
    """The words of one shard's row."""

    name: Label
    app: Label


class SnapshotFrame(Struct, frozen=True, tag="snapshot", kw_only=True):
    """One picture of the fleet for the screens.

    Arrays are C-ordered little-endian: ``f4`` and ``f2`` floats, ``i4`` and ``u1`` ints. H hosts,
    N shards, D dimensions (``resources.DIMENSIONS``), R planned dimensions, T forecast steps, P
    past steps. ``tables`` numbers the fields of ``protocol_tables.TABLES``: on a subscription they are empty while
    the number is that of the frame before, and ``with_tables`` fills them in.
    """

    number: int
    time: float
    generation: int
    level: str
    #: seconds that the daemon is behind its own tick
    lag: float
    #: "" or what is wrong with the oracle ("fallback: persistence: worker restarting")
    oracle: Label
    model: Label
    confidence: str
    tables: int
    hosts: tuple[HostStrings, ...]
    shards: tuple[ShardStrings, ...]
    #: (H, D) f4
    allocatable: bytes
    #: (N,) i4
    shard_priority: bytes
    #: (H,) u1 index into ``HOST_STATES``, and why, by row, where there is a reason
    host_state: bytes
    reasons: dict[int, Label]
    #: (H, D) f4 use; (H,) f4 age in seconds
    use: bytes
    age: bytes
    #: (N,) u1 index into ``SHARD_STATES``; (N,) i4 host row; (N, R) f4 use; (N,) f4 state bytes
    shard_state: bytes
    shard_host: bytes
    shard_use: bytes
    shard_bytes: bytes
    #: (H, R, P) f2 recent use as fraction of allocatable, oldest first, ``past_step`` seconds apart
    past: bytes
    past_steps: int
    past_step: float
    #: (H, R, T, 5) f2 forecast as fraction of allocatable at levels 0.05, 0.2, 0.5, 0.8, 0.95
    future: bytes
    future_steps: int
    future_step: float
    #: (H, R) f4 chance of contention within the horizon; NaN where nothing can be said (yet)
    risk: bytes
    threshold_cpu: float
    threshold_memory: float
    contention: tuple[Contention, ...] = ()
    accounts: tuple[Account, ...] = ()
    #: plans whose status changed lately, newest first
    plans: tuple[PlanView, ...] = ()
    no_plan: NoPlan | None = None
    #: (H, len(QUALITY)) f4 how well samples come; empty from a daemon that does not say
    quality: bytes = b""
    #: (H, R) u1 how far ``risk`` may be trusted: ``PROVEN`` and ``REACTIVE`` added up; empty likewise
    trust: bytes = b""
    #: what everybody has to know at once ("nothing new begins: ..."): a word or more, a colon, and why
    alerts: tuple[Label, ...] = ()


def host_states(frame: SnapshotFrame) -> tuple[HostState, ...]:
    """Every host's state. Raises ProtocolError for a state that is not known."""
    return _states("host_state", frame.host_state, HOST_STATES)


def shard_states(frame: SnapshotFrame) -> tuple[ShardState, ...]:
    """Every shard's state. Raises ProtocolError for a state that is not known."""
    return _states("shard_state", frame.shard_state, SHARD_STATES)


def _states(what: str, column: bytes, known: Sequence[S]) -> tuple[S, ...]:
    try:
        return tuple(map(known.__getitem__, column))
    except IndexError:
        hint = "are console and daemon of one version?"
        raise ProtocolError(f"column {what} holds {max(column)}, states go to {len(known) - 1}", hint=hint) from None


Answer = (
    Welcome
    | Failure
    | Done
    | PlanView
    | PlanList
    | DemandList
    | EventList
    | SnapshotFrame
    | OracleAnswer
    | PlanReply
    | LevelReply
    | OperatorReply
    | ReplayReply
)


class Reply(Struct, frozen=True):
    """The answer to request ``id``; id 0 is a frame of the subscription."""

    id: int
    body: Answer


#: what the decoder raises for bytes that are no message: text that is no UTF-8 and depth have errors of their own
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_request = msgspec.msgpack.Decoder(Request)
_reply = msgspec.msgpack.Decoder(Reply)


def pack(message: Request | Reply) -> bytes:
    """The whole frame, length first."""
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(HEADER, "big") + data


def frame_length(header: bytes) -> int:
    """The length that a header announces. Raises ProtocolError if it is truncated or absurd."""
    if len(header) != HEADER:
        raise ProtocolError(f"frame header is {len(header)} bytes, not {HEADER}: the peer closed in mid-frame")
    length = int.from_bytes(header, "big")
    if not 0 < length <= MAX_FRAME:
        raise ProtocolError(f"frame of {length} bytes announced; at most {MAX_FRAME} are allowed")
    return length


def parse_request(data: bytes) -> Request:
    """A request from a frame's bytes. Raises ProtocolError."""
    try:
        return _request.decode(data)
    except _UNREADABLE as error:
        raise ProtocolError(f"not a request: {error}", hint="see docs/protocol.md") from error


def parse_reply(data: bytes) -> Reply:
    """A reply from a frame's bytes. Raises ProtocolError."""
    try:
        return _reply.decode(data)
    except _UNREADABLE as error:
        raise ProtocolError(f"not a reply: {error}", hint="are console and daemon of one version?") from error
