"""Locks for apps on hosts: a socket there whose connections come to the daemon's, over the SSH that is there anyway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.locks.server import LockServer
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.ssh.base import Carried
from sidestep.fleet.errors import HostUnreachable, SidestepError
from sidestep.fleet.inventory import FleetSpec, HostSpec

#: seconds until a host whose connection is lost is tried again, and one that refused
RETRY: Final = 1.0
REFUSED: Final = 30.0


class Host(Protocol):
    """What is needed of a host's connection."""

    async def carry_socket(self, path: str, local: str) -> Carried:
        """Have a socket there whose connections come to ``local``. Raises HostError."""
        ...


class LockCarrier:
    """Keeps the sockets that ``locks`` of hosts names; ``run`` is its life.

    It makes no connection: where the sampler's comes back the socket does, and a client there, which has its
    ttl for that, goes on with the locks that it holds.
    """

    def __init__(
        self, fleet: FleetSpec, server: LockServer, host: Callable[[str], Host], log: Log, clock: Clock
    ) -> None:
        self._hosts = [spec for spec in fleet.hosts if spec.locks]
        self._server, self._host, self._clock = server, host, clock
        self._told, self._error = log.told("daemon"), log.told("error")

    async def run(self) -> None:
        """Carry until cancelled; returns at once where no host wants locks."""
        async with asyncio.TaskGroup() as group:
            for spec in self._hosts:
                group.create_task(self._keep(spec), name=f"locks on {spec.name}")

    async def _keep(self, spec: HostSpec) -> None:
        said = ""
        while True:
            pause = RETRY
            try:
                door = await self._server.door(spec.name)
                carried = await self._host(spec.name).carry_socket(spec.locks, str(door))
            except HostUnreachable:
                pass  # the host's own state says that
            except (SidestepError, OSError) as error:
                pause = REFUSED
                told = "; remedy: ".join(str(error).split("\n  remedy: "))
                if told != said:
                    said = told
                    self._error(f"no locks for apps on {spec.name}: {told}")
            else:
                if said:
                    said = ""
                    self._told(f"locks are served at {spec.locks} of {spec.name} again")
                try:
                    await carried.wait_closed()
                finally:
                    carried.close()
            await self._clock.sleep(pause)
