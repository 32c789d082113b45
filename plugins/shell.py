"""The base of plugins whose shards are started by a command: all steps of a move are there and keep the contract."""

from __future__ import annotations

from sidestep.backends.process import ProcessBackend
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.inventory import ShardSpec


class ShellBackend(ProcessBackend):
    """Shards as process groups that commands start; a plugin says which commands.

    Give it a ``name`` of your own (the ``backend`` of shards in the fleet file), and override ``commands``. It
    needs nothing on hosts but a POSIX shell. What you change besides is yours to prove: ``sidestep plugin check``.
    """

    name = "shell"

    def commands(self, shard: ShardSpec) -> ShardSpec:
        """The shard as declared, with the commands that run it on a host (``start``, ``save``, ``load``, ``ready``...).

        Called before every operation, so it must give the same for the same shard, whatever happens meanwhile. The
        driver has to stay: ``hook`` saves and loads, ``restart`` keeps everything in the folder ``$STATE``.
        """
        return shard

    def _values(self, transport: Transport, step: str, shard: ShardSpec, **more: str | int) -> dict[str, str | int]:
        return super()._values(transport, step, self.commands(shard), **more)
