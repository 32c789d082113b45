"""Lost hosts and poisoned shards, on the daemon's socket; part of ``protocol_control``. Needs msgspec only."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label


class GetLosses(Struct, frozen=True, tag="get-losses"):
    """Which hosts are lost or in quarantine, what starts nowhere, and what came back. Answered by LossesView."""


class ClearPoison(Struct, frozen=True, tag="clear-poison"):
    """A poisoned shard may start again, says a person. Answered by Done."""

    shard: str
    reason: str = ""


class LostHost(Struct, frozen=True, kw_only=True):
    """A host that was given up. Times are unix times; ``back`` and ``quarantined`` (until) are 0 while it is away.

    ``stays`` are shards that wait for it, with the code of why: WAITS, NO_CAPSULE, POISONED, PINNED.
    """

    host: Label
    heard: float
    lost: float
    back: float
    quarantined: float
    reason: Label
    stays: dict[Label, str] = {}


class PoisonedShard(Struct, frozen=True, kw_only=True):
    """A shard that starts nowhere until it is cleared."""

    shard: Label
    since: float
    reason: Label


class RecoveredShard(Struct, frozen=True, kw_only=True):
    """A shard that serves elsewhere since ``at``, ``rto`` seconds after its host was last heard of.

    ``rpo`` are the seconds from its capsule until the old owner was surely gone: writes of that time may be lost.
    ``age`` is how old (s) the capsule was when the host was last heard of, which is all that is lost if it ended then.
    Both are None for one that began with nothing.
    """

    shard: Label
    host: Label
    at: float
    rto: float
    rpo: float | None = None
    age: float | None = None


class LossesView(Struct, frozen=True, tag="losses", kw_only=True):
    """``brake`` says why nothing is failed over though hosts are lost, or ""; ``recovered`` are the newest, oldest
    first, of this daemon's life."""

    hosts: tuple[LostHost, ...] = ()
    poisoned: tuple[PoisonedShard, ...] = ()
    recovered: tuple[RecoveredShard, ...] = ()
    brake: Label = Label("")


FailoverRequest = GetLosses | ClearPoison
FailoverReply = LossesView
