"""Capsules kept for the loss of a host, on the daemon's socket; part of ``protocol_control``. Needs msgspec only."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label


class GetCapsules(Struct, frozen=True, tag="get-capsules"):
    """Which capsules are kept, of ``shard`` or of all. Answered by CapsuleList."""

    shard: str = ""


class ScrubCapsules(Struct, frozen=True, tag="scrub-capsules"):
    """Read every copy now, of ``shard`` or of all, and make anew what is bad. Answered by Done, before it is done."""

    shard: str = ""
    reason: str = ""


class CapsuleRow(Struct, frozen=True, kw_only=True):
    """What is kept of one shard. ``age`` is what a loss of its host would cost, in seconds (RPO).

    ``age`` is None before the first capsule is complete, and so are ``seq``, ``bytes`` and the hosts empty. ``copies``
    are hosts with a good copy, ``bad`` and ``lost`` those whose copy is damaged, or that are away.
    """

    shard: Label
    owner: Label
    replicas: int
    every: float
    age: float | None
    #: older than three times ``every``
    stale: bool
    seq: int = 0
    token: int = 0
    bytes: int = 0
    digest: str = ""
    #: seconds that the shard stood still for it
    paused: float = 0.0
    copies: tuple[Label, ...] = ()
    bad: tuple[Label, ...] = ()
    lost: tuple[Label, ...] = ()
    #: unix time at which all of its copies were read last
    checked: float = 0.0
    trouble: Label = Label("")


class CapsuleList(Struct, frozen=True, tag="capsules", kw_only=True):
    """Every replicated shard, and shards that are not replicated any more but have capsules; the oldest first.

    ``scrubbed`` is when the newest scrub ended (unix time, 0: none has) and what it found.
    """

    rows: tuple[CapsuleRow, ...]
    scrubbed: float = 0.0
    read: int = 0
    bad: int = 0
    missing: int = 0
    unread: int = 0
    #: copies that were made anew, and bytes that were carried, since the daemon began
    repaired: int = 0
    carried: int = 0


CapsuleRequest = GetCapsules | ScrubCapsules
CapsuleReply = CapsuleList
