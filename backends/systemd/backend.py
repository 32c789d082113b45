"""Shards as transient systemd units in a slice of their fleet: limited, frozen and ended as a whole by their cgroup.

Nothing is installed and nothing is enabled: after a reboot no unit of before exists, so that no old owner starts by
itself. Root's units are the system's; anybody else needs a systemd of his own that outlives his logins (linger).
"""

from __future__ import annotations

from sidestep.backends.base import Capability, Sizes, Sizing
from sidestep.backends.process.acting import ShellActor
from sidestep.backends.process.scripts import perform
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import ShardSpec


class SystemdBackend(ShellActor):
    """Implements ``Backend``, ``Replicator``, ``Reviver``, ``Actor`` and ``Resizer`` with units."""

    name = "systemd"
    capabilities: frozenset[Capability] = frozenset(
        {"discover", "observe", "migrate", "freeze", "replicate", "resize", "split", "merge"}
    )
    #: who knows what shards were resized to; None: they start with what is declared
    sizing: Sizing | None = None

    async def sizes(self, transport: Transport, shard: ShardSpec, token: int) -> Sizes:
        """What the shard may use there now, as the kernel says. Raises HostError."""
        return await self._limits(transport, "look", shard, token, set=0)

    async def resize(self, transport: Transport, shard: ShardSpec, token: int, sizes: Sizes) -> Sizes:
        """Change what it may use, in place; what the kernel has then. Raises HostError, also where it cannot."""
        disk = {"io_read": sizes.read, "io_write": sizes.write}
        told = {key: "" if amount is None else amount for key, amount in disk.items()}
        return await self._limits(transport, "resize", shard, token, set=1, **_words(sizes), **told)

    async def _limits(self, transport: Transport, step: str, shard: ShardSpec, token: int, **more: str | int) -> Sizes:
        values = {**self._values(transport, step, shard, token=token), **more}
        said = dict(await perform(transport, step, "systemd/limits", values, timeout=self._timeout))
        try:
            read, write = (None if said[key] == "-" else int(said[key] or 0) for key in ("read", "write"))
            return Sizes(cpu=int(said["cpu"] or 0) / 1000, memory=int(said["memory"] or 0), read=read, write=write)
        except (KeyError, ValueError) as error:
            raise HostError(transport.host, step, "unexpected answer", tail=str(said)) from error

    def _holder(self, shard: ShardSpec | None) -> dict[str, str | int]:
        if shard is None:
            return {"units": 1}
        now = self.sizing.sizes_of(shard) if self.sizing is not None else None
        now = now or Sizes(cpu=shard.limit_cpu, memory=shard.limit_memory)
        return {
            "units": 1,
            **_words(now),
            "limit_read": shard.limit_read if now.read is None else now.read,
            "limit_write": shard.limit_write if now.write is None else now.write,
            "state_path": shard.state_path,
        }


def _words(sizes: Sizes) -> dict[str, str | int]:
    return {"limit_cpu": round(sizes.cpu * 1000), "limit_memory": sizes.memory}
