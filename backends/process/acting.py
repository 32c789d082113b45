"""Running what actions of plugins declare, beside a shard and under its lock."""

from __future__ import annotations

import hashlib
import math
from typing import Final

from sidestep.backends.base import Order
from sidestep.backends.process.moves import ShellMoves
from sidestep.backends.process.scripts import is_name, perform
from sidestep.backends.process.words import check_names
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import ShardSpec

#: seconds for which one waits for the lock of a shard, and for the ends of what was killed
_BESIDE: Final = 15.0


class ShellActor(ShellMoves):
    """Implements ``Actor`` besides."""

    async def act(self, transport: Transport, shard: ShardSpec, token: int, order: Order) -> int | None:
        """Run one command of an action, as ``Actor`` says. Raises HostError."""
        check_names(transport, order.what, order.name)
        key = order.key if is_name(order.key) else hashlib.sha256(order.key.encode()).hexdigest()
        values = self._values(
            transport, order.what, shard, token=token, key=key, app=str(shard.app), action=order.name, what=order.what,
            lift=int(order.lift), cmd_act=order.command, cmd_verify=order.verify,
            centis=max(10, math.ceil(order.seconds * 100)),
        )  # fmt: skip
        timeout = _BESIDE + 2 * order.seconds
        said = dict(await perform(transport, order.what, "act", values, timeout=timeout))
        status = said.get("status", "")
        if not status:
            return None
        if not status.isdecimal():
            raise HostError(transport.host, order.what, "unexpected answer", tail=str(said))
        return int(status)
