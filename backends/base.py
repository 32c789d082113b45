"""The contract between the executor and whatever runs shards.

A move is the twelve steps of design 7. The executor does ``commit`` itself, and ``route``
together with the router; a backend does the others. Every step is idempotent: done twice
with the same Move it leaves what doing it once leaves. Every step can be undone by
``abort`` until the commit point; after it there is only forward.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    so that a repeated step finds its own work and never somebody else's. ``source`` is "" for a
    shard that runs nowhere (its capsule is brought from elsewhere): then nothing is asked of, nor
    thawed at, a source, and both transports are the destination's. Without a ``digest`` in the notes of its
    steps it brings no capsule either, and begins with nothing.
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


class Lease(Struct, frozen=True, kw_only=True):
    """Until when a host may start what is leased: an uptime of that host in whole seconds, in that boot of it."""

    boot: str
    by: int


class Leases(Protocol):
    """Whoever keeps hosts leased (``autopilot.fencing``): asked before every start of a shard that may fail over."""

    async def hold(self, host: str, shard: str) -> Lease:
        """Lease the host to us, and this shard there with it. Raises HostError (step ``lease``): then start nothing."""
        ...


@runtime_checkable
class Leased(Protocol):
    """A backend that starts shards under leases; without ``leases`` it starts none that may fail over."""

    leases: Leases | None


@runtime_checkable
class Barring(Protocol):
    """A backend whose orders to start may be under way for long, and which can have them refused."""

    async def bar(self, transport: Transport, shard: ShardSpec, token: int) -> None:
        """``stop``, and no order to start that was given before starts it any more, under whatever token.

        One that is given later, under a lease that was renewed since, does. Raises HostError.
        """
        ...


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
        this never waits for the destination. ``prepare`` is about the destination alone, and takes back
        whatever any step made there. Raises HostUnreachable for a destination that does not answer:
        ``prepare`` is taken back again when it does, wherever the shard is by then.
        """
        ...


class SnapshotLimits(Struct, frozen=True, kw_only=True):
    """What taking one capsule may cost. What would cost more is given up, and the shard serves on."""

    #: bytes that the capsule may have, and that have to stay free on the host's disk
    bytes: int
    spare: int
    #: seconds that the shard may stand still, if it has to at all, and that everything may take
    still: float
    seconds: float


class TakenCapsule(Struct, frozen=True, kw_only=True):
    """A capsule of a shard that serves on, in a file on its host."""

    path: str
    #: SHA-256
    digest: str
    bytes: int
    #: seconds that the shard stood still for it
    paused: float
    #: names the process that it was taken of: another one may have begun with an empty state
    life: Label


class CapsulePlace(Struct, frozen=True, kw_only=True):
    """Where a copy of a capsule belongs on a host, and the SHA-256 of what is there already, or ""."""

    path: str
    digest: str


class CapsuleCopy(Struct, frozen=True, kw_only=True):
    """A copy that was found on a host. A digest that is none says that it cannot be read."""

    shard: Label
    seq: int
    digest: str
    bytes: int


@runtime_checkable
class Replicator(Protocol):
    """What a backend of the capability ``replicate`` does besides: capsules for the day on which a host is lost.

    A capsule is one file of bytes, the same that ``capture`` makes, so that ``restore`` takes either. It is
    named by its shard and ``seq``, a number that is never used twice. Whoever keeps capsules chooses hosts, carries
    the files between them, and knows which exist; the backend knows how to make one and where they lie.
    What has no files (a database with backups of its own) writes a file that says which backup it is, and
    keeps that backup until ``drop``. All methods may be repeated, and raise HostError.
    """

    async def snapshot(
        self, transport: Transport, shard: ShardSpec, token: int, seq: int, limits: SnapshotLimits
    ) -> TakenCapsule:
        """Take a capsule on the shard's own host, consistent as of some moment after the call.

        Every request that was acknowledged before the call is in it. The shard serves afterwards, and all
        the time but for ``TakenCapsule.paused``. Refused unless the shard runs there under ``token``; it
        never lets a shard go on that a move has frozen. The file is whole and on disk, or there is none.
        """
        ...

    async def keep(self, transport: Transport, shard: ShardSpec, seq: int, size: int, spare: int) -> CapsulePlace:
        """Make a place for a copy of ``size`` bytes on any host. Refused if fewer than ``spare`` would stay free."""
        ...

    async def check(
        self, transport: Transport, copies: Sequence[tuple[str, int]], *, seconds: float
    ) -> tuple[CapsuleCopy, ...]:
        """Read these copies (shard and seq) on a host, gently; those that are not there are left out."""
        ...

    async def lend(self, transport: Transport, shard: ShardSpec, seq: int, digest: str, path: str) -> None:
        """Put the copy that this very host has at ``path``, after checking its digest; it stays a copy."""
        ...

    async def drop(self, transport: Transport, shard: ShardSpec, keep: Collection[int]) -> None:
        """Remove all copies of this shard's capsules on a host but these, and what was half written."""
        ...


class FolderLook(Struct, frozen=True, kw_only=True):
    """What a host has of a shard that does not run: where a capsule of it belongs, and its own files."""

    path: str
    #: SHA-256 of the capsule that is at ``path`` already, or ""
    digest: str
    #: names what the shard itself has on disk; "" for nothing
    files: str
    #: seconds since the newest of these was written, by the host's own clock; inf without any
    age: float


@runtime_checkable
class Reviver(Protocol):
    """A backend that can make a shard again where it was, under the token that its owner has. Raises HostError."""

    async def look(self, transport: Transport, shard: ShardSpec, seq: int) -> FolderLook:
        """What that host has of the shard, and where its capsule ``seq`` belongs there."""
        ...

    async def revive(
        self, transport: Transport, shard: ShardSpec, token: int, address: str, seq: int, digest: str, found: FolderLook
    ) -> ShardObservation:
        """Start the shard from the capsule that was put at ``found.path``, and serve: wholly, or nothing runs.

        As ``start`` otherwise: fenced by newer tokens, leased where it has to be, and one that runs is kept.
        Refused if its files are not those of ``found`` any more. Files that it had are put aside, not removed.
        """
        ...


class Sizes(Struct, frozen=True, kw_only=True):
    """What a shard may use: cores and bytes of memory; 0 is no limit."""

    cpu: float = 0.0
    memory: int = 0
    #: bytes a second at the disk of its state; None is not known, or left as it is
    read: int | None = None
    write: int | None = None


class Sizing(Protocol):
    """Whoever knows what shards were resized to, asked before every start."""

    def sizes_of(self, shard: ShardSpec) -> Sizes:
        """What it is to have: what it was resized to, else what is declared."""
        ...


@runtime_checkable
class Resizer(Protocol):
    """What a backend of the capability ``resize`` does besides. All methods may be repeated, and raise HostError."""

    sizing: Sizing | None

    async def sizes(self, transport: Transport, shard: ShardSpec, token: int) -> Sizes:
        """What the shard may use on its host now, as the host itself says. Refused unless it runs under ``token``."""
        ...

    async def resize(self, transport: Transport, shard: ShardSpec, token: int, sizes: Sizes) -> Sizes:
        """Let it use so much from now on, without restarting it; what the host says then.

        Refused where it would end the shard, or where the host cannot limit it: never a limit in name only.
        """
        ...


class Order(Struct, frozen=True, kw_only=True):
    """One command of an action of a plugin, word for word as it was approved.

    ``key`` names the action for ever (digest and id); ``name`` is what the fleet file calls it, and names the
    folder KEEP. ``verify`` says whether it is in force, and is asked after every other command, too. ``lift``: what
    is done takes the plugin's action back, and undoing that brings it into force again.
    """

    key: str
    name: str
    what: Literal["validate", "do", "verify", "undo"]
    command: str
    verify: str
    #: each of the two may take so long
    seconds: float
    lift: bool = False


@runtime_checkable
class Actor(Protocol):
    """A backend beside whose shards commands of plugins can be run."""

    async def act(self, transport: Transport, shard: ShardSpec, token: int, order: Order) -> int | None:
        """Run it beside the shard, which nobody else starts, stops or moves meanwhile; the exit status of ``verify``.

        Refused unless the shard runs there under ``token``. To ``undo`` is never refused: it is done where the shard
        is dead as well, unless it would bring something into force there; None where there is nothing to undo, since
        that, or another owner's process, is there. After ``undo`` no order of that key that comes late is run any more,
        and none runs on. What does not end in its time is killed with all that it started. Raises HostError for what
        fails; ``verify`` may end with any status.
        """
        ...


@runtime_checkable
class Router(Protocol):
    """Sends requests by the routing table; it keeps serving without us."""

    async def hold(self, shard: str, deadline: float, *, firm: bool = False) -> None:
        """Stop sending to a shard, keep its requests waiting, return when none is in flight.

        Raises SidestepError, with the shard let go again, once that takes longer than ``deadline`` seconds. Where
        ``firm``, as for an owner that is lost, it stays held then, and what the owner has not answered is given up:
        whoever asked is told that nobody knows, and no late answer of that owner is passed on.
        """
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
