"""Asks hosts whether they can move processes with their memory, where a shard of the fleet has driver ``criu``.

The planner plans no such move to or from a host that cannot, or was not asked yet; the move itself looks once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.process.able import Ability, ability
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label, scrub

#: seconds between two looks at who is to be asked, and after which a host is asked again: one that can, one that cannot
LOOK: Final = 2.0
CAN: Final = 3600.0
CANNOT: Final = 120.0
#: hosts that are asked at a time
AT_ONCE: Final = 16
NOT_ASKED: Final = Label("was not asked yet whether it can move processes with their memory")


class Shown(Protocol):
    """The part of the world that is told."""

    fleet: FleetSpec
    unable: Mapping[str, Label]

    def reachable(self) -> tuple[str, ...]:
        """Hosts that commands can be sent to."""
        ...


class Abilities:
    """What hosts said; ``world.unable`` has those that cannot."""

    def __init__(self, world: Shown, transport: Callable[[str], Transport], log: Log, clock: Clock) -> None:
        self._world, self._transport, self._log, self._clock = world, transport, log, clock
        self._found: dict[str, Ability] = {}
        #: monotonic time from which on a host is asked again
        self._due: dict[str, float] = {}

    @property
    def needed(self) -> bool:
        """Whether any shard moves so."""
        return any(shard.driver == "criu" for shard in self._world.fleet.shards)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK)

    async def look(self) -> None:
        """Ask those who are due, and tell the world."""
        if not self.needed:
            self._world.unable = {}
            return
        now = self._clock.monotonic()
        due = [host for host in self._world.reachable() if self._due.get(host, now) <= now][:AT_ONCE]
        await asyncio.gather(*(self._ask(host) for host in due))
        names = [str(host.name) for host in self._world.fleet.hosts]
        self._world.unable = {name: why for name in names if (why := self._why(name))}

    async def _ask(self, host: str) -> None:
        self._due[host] = self._clock.monotonic() + CANNOT
        try:
            found = await ability(self._transport(host))
        except HostError:
            return  # its watch says what is wrong with it
        if not found.code:
            self._due[host] = self._clock.monotonic() + CAN
        before = self._found.get(host)
        self._found[host] = found
        if found.code and (before is None or before.code != found.code):
            remedy = f"; remedy: {found.remedy}" if found.remedy else ""
            self._log.say("host", f"{host}: {found.code}: {found.text}; command: {found.command}{remedy}")

    def _why(self, host: str) -> Label:
        found = self._found.get(host)
        if found is None:
            return NOT_ASKED
        return scrub(f"{found.code}: {found.text}", 300) if found.code else Label("")
