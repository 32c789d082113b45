"""What failover and the queue need of whoever keeps capsules."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from msgspec import Struct

from sidestep.backends.ssh.base import Transport
from sidestep.fleet.labels import Label


class CapsuleRef(Struct, frozen=True, kw_only=True):
    """One capsule: of whom, from when, which bytes, and the hosts that have a good copy."""

    shard: Label
    seq: int
    #: the owner's token when it was taken
    token: int
    #: SHA-256 of its bytes
    digest: str
    bytes: int
    #: unix time
    taken: float
    hosts: tuple[Label, ...]


class Capsules(Protocol):
    """Where the capsules of all shards are."""

    def newest(self, shard: str) -> CapsuleRef | None:
        """The newest capsule with a quorum of copies; None if there is none."""
        ...

    def lost(self, shard: str) -> CapsuleRef | None:
        """The newest complete capsule, if it lies on lost hosts only; None if it can be had, or there is none."""
        ...

    async def bring(self, ref: CapsuleRef, destination: Transport, path: str) -> str:
        """Put the capsule's bytes at ``path`` on that host, from whichever copy answers; says which way.

        The digest of what arrived is checked. Raises HostError (step ``transfer``) if no copy can be had.
        """
        ...

    def forget_host(self, host: str) -> None:
        """Copies on that host count no longer, until they are seen again."""
        ...

    def hosts_of(self, shard: str) -> Collection[Label]:
        """Hosts that have a good copy of its newest capsule: a failover there carries nothing."""
        ...
