"""Keeps hosts and router to what the journal says, while the daemon runs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from sidestep.autopilot.daemon_astray import Astray
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_shards import Settlement
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.steps import routing_table
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.autopilot.world_states import ORDERED
from sidestep.backends.base import Router
from sidestep.backends.routing.engine import RouterEngine
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.machines import HostState

#: seconds between two looks
PERIOD: Final = 2.0
#: seconds between two looks at all that a router has, and differences that a line names
REPAIR: Final = 10.0
SHOWN: Final = 3
_UP: Final = frozenset({HostState.READY, HostState.QUARANTINED, *ORDERED})


class Reconciler:
    """Settles hosts that came back, and gives the router a table that it has not."""

    def __init__(
        self,
        fleet: FleetSpec,
        world: World,
        journal: Journal,
        settlement: Settlement,
        router: Router | None,
        *,
        busy: Callable[[], frozenset[str]],
        served: Callable[[Collection[str]], None],
        clock: Clock,
        log: Log,
    ) -> None:
        self._fleet, self._world, self._journal, self._settlement = fleet, world, journal, settlement
        self._router, self._busy, self._served, self._clock, self._log = router, busy, served, clock, log
        self._trouble, self._repair_at = "", 0.0
        self._routed = frozenset(s.name for s in fleet.shards if s.keys is not None or s.spare)
        #: shards that serve, but whose requests a move that failed may have left waiting
        self._held: set[str] = set()
        self._astray = Astray()

    async def run(self) -> None:
        """Look every ``PERIOD`` seconds until cancelled."""
        while True:
            await self._clock.sleep(PERIOD)
            try:
                await self.once()
            except Exception as error:  # noqa: BLE001 - the supervisor of reconciling: it is tried again soon
                self.complain(f"{type(error).__name__}: {error}")

    async def once(self) -> None:
        """One look at hosts and router."""
        states = self._world.states()
        settled = self._settlement.settled
        self._settlement.lost({host for host in settled if states[host] is HostState.DEAD})
        if wrong := self._world.astray(self._journal.placement()):
            spare = self._busy() | self._settlement.disputed
            self._settlement.doubt(self._astray.due(wrong, spare, self._clock.monotonic()), moved=False)
        waiting = tuple(host for host, state in states.items() if state in _UP and host not in settled)
        if waiting:
            await self.settle(waiting)
        if not self._busy():
            await self.push_routes()

    async def settle(self, hosts: tuple[str, ...]) -> None:
        """Put right what runs on these hosts; the requests of shards that serve then may flow again."""
        serving = await self._settlement.settle(hosts)
        self._held |= serving & self._routed
        self._served(serving)

    async def push_routes(self) -> None:
        """Give the router the newest table unless it has it, and let go what waits; trouble is said once."""
        if self._router is None:
            return
        try:
            table = routing_table(
                self._fleet, self._journal.placement(), self._journal.endpoints(), self._journal.shard_keys()
            )
            if await self._router.generation() < table.generation:
                in_force = await self._router.apply(msgspec.msgpack.encode(table), table.checksum())
                self._log.say("daemon", f"router at generation {in_force}")
            await self._repair_router()
            for shard in sorted(self._held):
                if shard not in self._busy():  # a move lets its requests go by itself
                    await self._router.release(shard)
                self._held.discard(shard)
            self._trouble = ""
        except (SidestepError, OSError) as error:
            self.complain(f"router: {error}")

    async def _repair_router(self) -> None:
        """Bring a router that forgot, or that somebody changed, to what it was told. Raises SidestepError."""
        now = self._clock.monotonic()
        if not isinstance(self._router, RouterEngine) or now < self._repair_at:
            return
        self._repair_at = now + REPAIR
        if differs := await self._router.repair():
            shown = "; ".join(differs[:SHOWN]) + (f" and {len(differs) - SHOWN} more" if len(differs) > SHOWN else "")
            self._log.say("daemon", f"router put right: {shown}")

    def complain(self, text: str) -> None:
        """Say trouble once until it changes."""
        if text != self._trouble:
            self._trouble = text
            self._log.say("error", text)
