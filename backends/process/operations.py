"""Operations on hosts as the steps of moves use them: with their values, their deadlines, and their leases."""

from __future__ import annotations

import asyncio
import hashlib
from abc import abstractmethod
from contextlib import suppress

from sidestep.backends.base import Leases, Move
from sidestep.backends.process.revive import ProcessRevival
from sidestep.backends.process.scripts import is_name, perform, standing_common, standing_texts
from sidestep.backends.process.standing import Stands
from sidestep.backends.process.words import about
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.pace import Pace
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import ShardSpec

Notes = dict[str, str]


class ShellOperations(ProcessRevival):
    """What every operation is told, under which lease, and for how long it is waited for."""

    def __init__(self, fleet: str, *, patience: float = 10.0, timeout: float = 60.0, carry: float = 3600.0) -> None:
        self._fleet, self._patience = fleet, max(1, round(patience))
        self._timeout, self._carry = timeout, carry
        #: who leases hosts to us; None: hosts refuse to start what may fail over
        self.leases: Leases | None = None
        #: how fast state may be carried; None: as fast as it goes
        self.pace: Pace | None = None
        self._stands = Stands()

    @property
    def fleet(self) -> str:
        """The name of the fleet, which names the folder of its shards on every host."""
        return self._fleet

    @property
    def _paced(self) -> bool:
        """Whether state may be carried only so fast."""
        return self.pace is not None and self.pace.limited

    async def _stop(self, transport: Transport, shard: ShardSpec, token: int, *, bar: int) -> None:
        values = self._values(transport, "stop", shard, token=token, bar=bar)
        await perform(transport, "stop", "stop", values, timeout=self._timeout)

    async def _lease(self, transport: Transport, shard: ShardSpec) -> dict[str, str | int]:
        """Under what the shard is started: nothing, or a lease. Raises HostError where there is none to be had."""
        if shard.failover == "wait":
            return {"leased": 0}
        if self.leases is None:
            return {"leased": 1}
        lease = await self.leases.hold(transport.host, shard.name)
        return {"leased": 1, "lease_boot": lease.boot, "lease_by": lease.by}

    async def _thaw(self, step: str, move: Move, source: Transport, notes: Notes) -> None:
        lease: dict[str, str | int] = {"leased": 1}
        with suppress(HostError):  # only a process that died needs one: the host itself refuses to start it without
            lease = await self._lease(source, move.shard)
        await self._at(source, step, "thaw", move, token=move.old_token, digest=notes.get("digest", ""), **lease)

    async def _clean(self, transport: Transport, step: str, operation: str, move: Move, **more: str | int) -> None:
        """An operation that nobody waits for. Raises HostUnreachable when it has not ended in time."""
        patience = move.deadline / 2
        try:
            async with asyncio.timeout(patience):
                await self._at(transport, step, operation, move, **more)
        except TimeoutError as error:
            raise HostUnreachable(
                transport.host, step, f"was not cleaned up within {patience:g} s", command=f"process/{operation}"
            ) from error

    async def _at(
        self, transport: Transport, step: str, operation: str, move: Move, **more: str | int
    ) -> dict[str, str]:
        values = self._of_move(transport, step, move, **more)
        timeout = self._timeout + int(more.get("seconds", 0))
        standing = self._stands.of(move.key, transport.host)
        return dict(await perform(transport, step, operation, values, timeout=timeout, standing=standing))

    def _of_move(self, transport: Transport, step: str, move: Move, **more: str | int) -> dict[str, str | int]:
        key = move.key if is_name(move.key) else hashlib.sha256(move.key.encode()).hexdigest()
        return self._values(transport, step, move.shard, key=key, **more)

    async def _stand(self, step: str, move: Move, *transports: Transport) -> None:
        """Get the hosts ready for operations that users wait for."""
        values = {"fleet": self._fleet, "shard": move.shard.name, "driver": move.shard.driver}
        common = standing_common(transports[0].host, step, values)
        await self._stands.ready(move.key, transports, standing_texts(), common)

    def _values(self, transport: Transport, step: str, shard: ShardSpec, **more: str | int) -> dict[str, str | int]:
        return about(transport, step, self._fleet, shard, self._patience, **self._holder(shard), **more)

    @abstractmethod
    def _holder(self, shard: ShardSpec | None) -> dict[str, str | int]:
        """What operations are told of what holds the shard's processes together."""
