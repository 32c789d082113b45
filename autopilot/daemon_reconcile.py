"""Keeps hosts and router to what the journal says, while the daemon runs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_shards import Settlement
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.steps import routing_table
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import Router
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.machines import HostState

#: seconds between two looks
PERIOD: Final = 2.0
_UP: Final = frozenset({HostState.READY, HostState.CORDONED})


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
        self._trouble = ""
        self._routed = frozenset(s.name for s in fleet.shards if s.keys is not None)
        #: shards that serve, but whose requests a move that failed may have left waiting
        self._held: set[str] = set()

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
        settled -= {host for host in settled if states[host] is HostState.DEAD}
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
            table = routing_table(self._fleet, self._journal.placement(), self._journal.endpoints())
            if await self._router.generation() < table.generation:
                in_force = await self._router.apply(msgspec.msgpack.encode(table), table.checksum())
                self._log.say("daemon", f"router at generation {in_force}")
            for shard in sorted(self._held):
                if shard not in self._busy():  # a move lets its requests go by itself
                    await self._router.release(shard)
                self._held.discard(shard)
            self._trouble = ""
        except (SidestepError, OSError) as error:
            self.complain(f"router: {error}")

    def complain(self, text: str) -> None:
        """Say trouble once until it changes."""
        if text != self._trouble:
            self._trouble = text
            self._log.say("error", text)
