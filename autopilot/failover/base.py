"""What a failover under way asks of whoever knows which hosts are lost."""

from __future__ import annotations

from typing import Protocol

from sidestep.autopilot.capsules.base import CapsuleRef
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label


class Rescue(Protocol):
    """Knows which hosts are lost now, and since when."""

    def forbids(self, host: str, shard: str) -> str:
        """Why that shard of that host may not be started elsewhere now, or "": it is back, or the brake holds."""
        ...

    def unheard(self, host: str) -> float:
        """For how many seconds a lost host has not been heard of; no clock that is put right changes that."""
        ...

    def served(self, host: str, shard: ShardSpec, capsule: CapsuleRef | None, gone: float | None = None) -> Label:
        """The shard serves elsewhere, with that capsule's state or with none: how long that took, and what is lost.

        The time to recovery is from when the host was last heard of. What may be lost was written after the capsule
        and before the old owner was surely gone: ``gone`` seconds after the host was last heard of, None is now.
        """
        ...
