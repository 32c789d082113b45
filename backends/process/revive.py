"""Making a shard again where it was, from a capsule: ``Reviver`` in one shell operation.

One operation under the shard's lock, since everything happens under the owner's own token: a process that was
started and not filled would be taken for the owner. The host marks it (``loading``) until it has its state;
what is marked counts as dead, and whoever works on the shard next ends it.
"""

from __future__ import annotations

import math
from abc import abstractmethod

from sidestep.backends.base import FolderLook, ShardObservation
from sidestep.backends.process.replicate import ProcessCapsules
from sidestep.backends.process.scripts import perform
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import scrub
from sidestep.fleet.machines import ShardState


class ProcessRevival(ProcessCapsules):
    """The part of the process backend that makes shards again."""

    _carry: float

    @abstractmethod
    async def _lease(self, transport: Transport, shard: ShardSpec) -> dict[str, str | int]:
        """Under what the shard is started. Raises HostError."""

    async def look(self, transport: Transport, shard: ShardSpec, seq: int) -> FolderLook:
        """What is there of the shard, and where a capsule belongs. Raises HostError."""
        values = self._values(transport, "look", shard, look=1, key=_key(seq), token=0)
        said = dict(await perform(transport, "look", "revive", values, timeout=self._timeout))
        try:
            age = max(0.0, float(said["age"])) if "age" in said else math.inf
            return FolderLook(path=said["capsule"], digest=said.get("digest", ""), files=said["files"], age=age)
        except (KeyError, ValueError) as error:
            raise HostError(transport.host, "look", "unexpected answer", tail=str(said)) from error

    async def revive(
        self, transport: Transport, shard: ShardSpec, token: int, address: str, seq: int, digest: str, found: FolderLook
    ) -> ShardObservation:
        """Start the shard from the capsule that was brought, and serve. Raises HostError."""
        lease = await self._lease(transport, shard)
        values = self._values(
            transport, "start", shard, look=0, key=_key(seq), seen=found.files, digest=digest,
            token=token, port=shard.port, address=address, **lease,
        )  # fmt: skip
        said = dict(await perform(transport, "start", "revive", values, timeout=self._carry))
        return started(transport, shard, said)


def started(transport: Transport, shard: ShardSpec, said: dict[str, str]) -> ShardObservation:
    """The shard that ``tell`` speaks of."""
    return ShardObservation(
        shard=shard.name, host=scrub(transport.host), state=ShardState.RUNNING, token=int(said["token"]),
        pid=int(said["pid"]), started=int(said["started"]), address=said["address"], port=int(said["port"]),
    )  # fmt: skip


def _key(seq: int) -> str:
    return f"revive-{seq}"
