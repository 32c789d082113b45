"""What failover needs of whoever makes sure that a lost host serves nothing any more."""

from __future__ import annotations

from typing import Protocol

from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label


class Fencer(Protocol):
    """Proves that an old owner is gone. A guess is not a proof: without one, a shard starts nowhere else."""

    async def fence(self, host: str, shard: ShardSpec, token: int) -> Label:
        """Return once no process of that shard under ``token`` or an older one can serve on that host, and say how.

        It may take the rest of a lease. Repeating it is harmless. Raises HostError (step ``fence``) if it
        cannot be known: then nothing may be started elsewhere.
        """
        ...

    def gone(self, host: str, shard: ShardSpec) -> float:
        """After ``fence``: for how many seconds it is sure that nothing of it can serve there; 0 is only since now."""
        ...

    def release(self, host: str) -> None:
        """A failover from that host is given up: if it answers again, what still runs there may run on."""
        ...

    def remaining(self, host: str) -> float:
        """Seconds until that host has stopped its leased shards by itself, if nothing reaches it from now on."""
        ...
