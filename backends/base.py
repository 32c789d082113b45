"""The contract between the executor and whatever runs shards.

A move is the twelve steps of design 7. The executor does ``commit`` itself, and ``route``
together with the router; a backend does the others. Every step is idempotent: done twice
with the same Move it leaves what doing it once leaves. Every step can be undone by
``abort`` until the commit point; after it there is only forward.
"""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from sidestep.backends.ssh.base import Transport
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState, StepName

Capability = Literal[
    "discover", "observe", "migrate", "split", "merge", "resize", "freeze", "replicate", "activate", "route"
]


class Move(Struct, frozen=True, kw_only=True):
    """One move of one shard: who, from where, to where, under which fencing token.

    ``key`` names the move for ever (digest and action id): scratch files on hosts carry it,
    so that a repeated step finds its own work and never somebody else's.
    """

    key: str
    shard: ShardSpec
    source: Label
    destination: Label
    #: the token of the present owner, and the one the destination will hold
    old_token: int
    new_token: int
    #: address shards listen on at the destination
    destination_address: str
    observe: float = 2.0
    #: seconds that one step may take; taking one back is cut off after twice as long
    deadline: float = 15.0


class StepResult(Struct, frozen=True, kw_only=True):
    """What a step found or made; journaled, and handed to the following steps as ``notes``."""

    detail: Label = Label("")
    #: small facts that later steps need: digest, pid, port...
    notes: dict[str, str] = {}
    bytes: int = 0


class ShardObservation(Struct, frozen=True, kw_only=True):
    """A shard process found on a host; ``token`` is what it was started with."""

    shard: Label
    host: Label
    state: ShardState
    token: int
    pid: int
    #: clock ticks since boot at which it started: with the pid, its identity
    started: int
    address: str = ""
    port: int = 0
    detail: Label = Label("")


@runtime_checkable
class Backend(Protocol):
    """Runs shards on hosts it reaches through transports given by name."""

    name: str
    capabilities: frozenset[Capability]

    async def discover(self, transport: Transport) -> tuple[ShardObservation, ...]:
        """Every shard of this fleet on that host, running, frozen or dead."""
        ...

    async def start(self, transport: Transport, shard: ShardSpec, token: int, address: str) -> ShardObservation:
        """Start a shard that runs nowhere, and serve. Refused if the host was fenced with a newer token."""
        ...

    async def stop(self, transport: Transport, shard: ShardSpec, token: int) -> None:
        """Stop the shard if it holds ``token`` or an older one; fence the host at ``token``."""
        ...

    async def step(
        self, name: StepName, move: Move, source: Transport, destination: Transport, notes: dict[str, str]
    ) -> StepResult:
        """Do one step. ``notes`` holds what earlier steps of this move noted. Raises HostError."""
        ...

    async def abort(
        self, name: StepName, move: Move, source: Transport, destination: Transport, notes: dict[str, str]
    ) -> None:
        """Take one step back, before the commit point; harmless if the step never ran.

        ``freeze`` is taken back first: afterwards the source serves, whatever later steps did, and
        this never waits for the destination. Raises HostUnreachable for a destination that may
        keep a copy: it is stopped when that host answers again.
        """
        ...


@runtime_checkable
class Router(Protocol):
    """Sends requests by the routing table; it keeps serving without us."""

    async def hold(self, shard: str, deadline: float) -> None:
        """Stop sending to a shard, keep its requests waiting, return when none is in flight."""
        ...

    async def release(self, shard: str) -> None:
        """Send the waiting requests by the newest table, and serve on."""
        ...

    async def apply(self, table: bytes, checksum: int) -> int:
        """Take a newer table (msgpack of RoutingTable); returns the generation in force."""
        ...

    async def generation(self) -> int:
        """The generation in force."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...
