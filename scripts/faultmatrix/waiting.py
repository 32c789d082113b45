"""A preempt and a place as they come about: a more important shard waits for a host that is full.

The first host has storage for one of two shards, and the second is closed: the shard of the cell, which is the
less important one, has to give way. Then the second is opened, and it gets a place there. Who approves is a person.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from msgspec.structs import replace

from scripts.faultmatrix.cells import Cell
from scripts.faultmatrix.clients import Clients
from scripts.faultmatrix.daemon import HarnessError
from scripts.faultmatrix.direct import Direct
from scripts.faultmatrix.lane import Outcome, soon
from scripts.faultmatrix.stage import REACHED, RETRIED, Stage
from sidestep.autopilot.protocol import Approve, ListPlans
from sidestep.backends.embedded.traffic import APP
from sidestep.fleet.config import dump_fleet
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label, scrub

_HOST: Final = 10 << 30
_SHARD: Final = 6 << 30
_LOOK: Final = 0.2


class Queue(Stage):
    """One cell of a preempt or of a place."""

    #: whether the second host takes nothing
    closed = True

    async def start(self) -> None:
        """Everything runs; requests go straight to the shard."""
        await super().start()
        self._clients[self.shard] = Clients(Direct(self.daemon, self.shard), APP, self.shard, ("k1", "k2", "k3", "k4"))

    def _spec(self) -> FleetSpec:
        low = replace(self.shard_spec(), priority=5, disk=_SHARD)
        high = ShardSpec(
            name=scrub(f"{self.fleet}-high"),
            app=Label("sleep"),
            host=low.host,
            queued=True,
            priority=1,
            disk=_SHARD,
            limit_cpu=0.5,
            limit_memory=64 << 20,
            start="exec sleep 1000",
        )
        policy = Policy(kinds=("migrate", "preempt", "place"), settle=0.5, expire=600.0)
        first, second = (replace(host, disk=_HOST) for host in self.hosts.specs)
        return replace(self.fleet_spec(policy, low, high), hosts=(first, replace(second, cordoned=self.closed)))

    def reachable(self, shard: str) -> bool:
        """Nothing is in the way of requests."""
        return True

    async def act(self, cell: Cell, outcome: Outcome) -> None:
        """It gives way, and gets a place; the one that the cell is about is hurt."""
        if cell.kind == "preempt":
            await self.strike(cell, outcome, lambda: self._approve("preempt"), self.source)
            if self.daemon.waits(self.shard) is None:
                return  # it serves on
        else:
            async with self._approving("preempt"):  # again, where the machine was too busy for the first
                await self.until(self._waits, "it does not give way", REACHED)
            waits = self.daemon.waits(self.shard)
            assert waits is not None
            self._token = waits[1]
        self.closed = False
        (self._folder / "fleet.toml").write_text(dump_fleet(self._spec()), "utf-8")
        self.daemon.reload()
        if cell.kind == "place":
            await self.strike(cell, outcome, lambda: self._approve("place"), self.source)
        async with self._approving("place"):
            await soon(lambda: self._alone(self.shard), RETRIED)
        self.tell(outcome)

    async def _waits(self) -> bool:
        return self.daemon.waits(self.shard) is not None

    async def _approve(self, kind: str) -> None:
        """Approve the next plan that does this to the shard. Raises HarnessError if there is none."""

        trouble = ""

        async def approved() -> bool:
            nonlocal trouble
            try:
                for view in (await self.daemon.call(ListPlans())).plans:
                    mine = any(a.kind == kind and a.shard == self.shard for a in view.plan.actions)
                    if mine and str(view.status.state) == "PROPOSED":
                        await self.daemon.call(Approve(view.digest, "a fault is tried"))
                        return True
            except (SidestepError, OSError) as error:
                trouble = f": {error}"
            return False

        if not await soon(approved, REACHED):
            raise HarnessError(f"no plan with a {kind} of {self.shard} is approved{trouble}")

    @contextlib.asynccontextmanager
    async def _approving(self, kind: str) -> AsyncIterator[None]:
        """Whatever does this to the shard is approved meanwhile: it is tried until it works."""

        async def always() -> None:
            while True:
                with contextlib.suppress(SidestepError):
                    await self._approve(kind)
                await asyncio.sleep(_LOOK)

        task = asyncio.create_task(always())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
