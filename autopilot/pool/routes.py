"""Where requests for the apps of pools go: what the manager needs of a router, and the fleet's own as such."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from sidestep.autopilot.pool.ledger import PoolInstance
from sidestep.backends.routing.engine import OWNER, Endpoint, RouterEngine
from sidestep.fleet.labels import Label, scrub


class PoolRoutes(Protocol):
    """Every call may be repeated, and raises SidestepError."""

    def knows(self, app: str) -> bool:
        """Whether requests of that app are routed here at all."""
        ...

    async def join(self, one: PoolInstance, address: str) -> None:
        """Send requests of its app to that instance, too."""
        ...

    async def leave(self, one: PoolInstance, deadline: float) -> None:
        """Send it nothing new; returns when it has answered all, or nothing else can be done."""
        ...

    async def load(self, app: str) -> float:
        """Requests of that app that are not answered yet."""
        ...


class EngineRoutes:
    """``PoolRoutes`` over the fleet's router: instances are further endpoints of the shard that has the app's name."""

    def __init__(self, engine: RouterEngine, shards: Collection[str]) -> None:
        self._engine, self._shards = engine, frozenset(map(str, shards))

    def knows(self, app: str) -> bool:
        """Whether a shard of that name is in the routing table."""
        return app in self._shards

    async def join(self, one: PoolInstance, address: str) -> None:
        """Add its endpoint."""
        await self._engine.add(one.app, Endpoint(name=_named(one), address=address, port=one.port))

    async def leave(self, one: PoolInstance, deadline: float) -> None:
        """Drain its endpoint, and remove it."""
        known = {load.endpoint.name for load in await self._engine.endpoints(one.app)}
        if _named(one) in known:
            await self._engine.drain(one.app, _named(one), deadline)
            await self._engine.remove(one.app, _named(one))

    async def load(self, app: str) -> float:
        """What is in flight at all endpoints but the owner's."""
        loads = await self._engine.endpoints(app)
        return float(sum(load.in_flight for load in loads if load.endpoint.name != OWNER))


def _named(one: PoolInstance) -> Label:
    return scrub(f"{one.pool}-{one.name}")
