"""Shards as process groups: any Linux host, no root, nothing installed."""

from __future__ import annotations

from sidestep.backends.base import Capability
from sidestep.backends.process.acting import ShellActor
from sidestep.fleet.inventory import ShardSpec


class ProcessBackend(ShellActor):
    """A shard is its process group: a process that leaves the group is not stopped, moved or killed with it."""

    name = "process"
    capabilities: frozenset[Capability] = frozenset(
        {"discover", "observe", "migrate", "freeze", "replicate", "split", "merge"}
    )

    def _holder(self, shard: ShardSpec | None) -> dict[str, str | int]:
        return {"units": 0}
