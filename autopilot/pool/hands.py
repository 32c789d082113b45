"""What is done to single instances: journaled first, then done on the host, then journaled as done.

Each is a task of its own. What fails ends with an instance that is DEAD and gone from its host, or is looked
at again by the next tick: an instance is never handed on dirty, and never forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.pool.ledger import PoolInstance
from sidestep.autopilot.pool.routes import PoolRoutes
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.pool.client import PoolHost
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.instances import InstanceState
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.pools import PoolSpec

_I = InstanceState
#: seconds that a host is left alone after something failed there, at first and at most
PAUSE: Final = 2.0
LONGEST: Final = 300.0


class PoolHands:
    """Acts on instances through their hosts; ``timed`` hears how long activations and warmings took."""

    def __init__(
        self, fleet: FleetSpec, world: World, journal: Journal, clock: Clock, routes: PoolRoutes | None,
        report: Callable[[str], None], timed: Callable[[str, str, float], None],
    ) -> None:  # fmt: skip
        self._fleet, self._world, self._journal, self._clock = fleet, world, journal, clock
        self._routes, self._report, self._timed = routes, report, timed
        self.pools: dict[str, PoolSpec] = {str(pool.name): pool for pool in fleet.pools}
        self._hosts: dict[tuple[str, str], PoolHost] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}
        self._epoch = 0

    def host(self, pool: str, host: str) -> PoolHost:
        """The pool's supervisor on that host."""
        self._epoch = self._epoch or self._journal.pool_epoch()
        found = self._hosts.get((pool, host))
        if found is None:
            transport, address = self._world.transport(host), self._fleet.host(host).address
            found = PoolHost(str(self._fleet.name), self.pools[pool], transport, address, self._epoch)
            self._hosts[pool, host] = found
        return found

    def busy(self, one: PoolInstance) -> bool:
        """Whether something is being done to it."""
        return one.id in self._tasks

    def paused(self, pool: str, host: str) -> bool:
        """Whether that host is left alone for a while, since something failed there."""
        return self._failures.get((pool, host), (0, -1.0))[1] > self._clock.monotonic()

    def begin(self, one: PoolInstance, work: Coroutine[Any, Any, None]) -> None:
        """Do it, beside everything else."""
        if self.busy(one):
            work.close()
            return
        task = asyncio.get_running_loop().create_task(self._guarded(one, work), name=f"pool {one.pool} {one.name}")
        self._tasks[one.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(one.id, None))

    async def aclose(self) -> None:
        """Stop acting; instances go on, and the journal knows what was under way."""
        for task in tuple(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await asyncio.gather(*(host.aclose() for host in self._hosts.values()), return_exceptions=True)

    async def settled(self) -> None:
        """Wait until nothing is being done."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _guarded(self, one: PoolInstance, work: Coroutine[Any, Any, None]) -> None:
        key = (str(one.pool), str(one.host))
        try:
            await work
        except SidestepError as error:
            times = self._failures.get(key, (0, 0.0))[0] + 1
            pause = min(PAUSE * 2.0 ** (times - 1), LONGEST)
            self._failures[key] = times, self._clock.monotonic() + pause
            self._report(f"pool {one.pool}: {one.name} on {one.host}: {error.args[0]}")
        else:
            self._failures.pop(key, None)

    # -- what is done

    async def warm(self, one: PoolInstance) -> None:
        """WARMING to READY; what cannot be made ready ends."""
        pool, began = self.pools[one.pool], self._clock.monotonic()
        try:
            seen = await self.host(one.pool, one.host).warm(one.name, one.port)
        except SidestepError:
            await self._bury(one)
            raise
        self._timed(one.pool, "warm", self._clock.monotonic() - began)
        self._journal.pool_move(one, _I.READY, pool, pid=seen.pid, checked=True)

    async def cold(self, one: PoolInstance) -> None:
        """Have its host check that it could be started."""
        try:
            await self.host(one.pool, one.host).cold(one.name, one.port)
        except SidestepError:
            await self._bury(one)
            raise

    async def activate(self, one: PoolInstance) -> None:
        """ACTIVATING to ACTIVE, with the state that waits for its app; routed once it serves."""
        pool, began = self.pools[one.pool], self._clock.monotonic()
        handed = next((h for h in self._journal.handovers() if (h.pool, h.app) == (one.pool, one.app)), None)
        try:
            state = ("", "")
            if handed is not None:
                state = await self._carry(handed.host, handed.path, one), handed.digest
            await self.host(one.pool, one.host).activate(one.name, one.app, state)
            await self.join(one)
        except SidestepError:
            await self.retire(one)
            raise
        self._timed(one.pool, "activate", self._clock.monotonic() - began)
        self._journal.pool_move(one, _I.ACTIVE, pool)
        if handed is not None:
            self._journal.handed_over(handed.instance)
            with suppress(SidestepError):  # a file that stays is never handed over again
                await self.host(handed.pool, handed.host).forget(f"i{handed.instance}")

    async def _carry(self, host: str, path: str, one: PoolInstance) -> str:
        if host == one.host:
            return path
        target = f"{path}.{one.name}"
        chunks = self._world.transport(host).fetch(path)
        await self._world.transport(one.host).send(target, chunks)
        return target

    async def join(self, one: PoolInstance) -> None:
        """Have requests sent to it, where a router knows its app."""
        if self._routes is not None and self._routes.knows(one.app):
            await self._routes.join(one, self._fleet.host(one.host).address)

    async def retire(self, one: PoolInstance) -> None:
        """Unroute, drain, save, scrub: READY again, or ended."""
        pool, host = self.pools[one.pool], self.host(one.pool, one.host)
        if one.state is not _I.SCRUBBING:
            if one.state is not _I.DEACTIVATING:
                one = self._journal.pool_move(one, _I.DEACTIVATING, pool)
            await self._leave(one)
            with suppress(SidestepError):  # what cannot be drained any more has ended, and has saved nothing
                seen = await host.drain(one.name)
                if seen.saved[0]:
                    self._journal.hand_over(one, *seen.saved)
            one = self._journal.pool_move(one, _I.SCRUBBING, pool)
        seen = await host.scrub(one.name)
        if seen.state == "ready" and not seen.dirty:
            self._journal.pool_move(one, _I.READY, pool, checked=True)
        else:
            await self._bury(one)

    async def _leave(self, one: PoolInstance) -> None:
        if self._routes is not None and one.app and self._routes.knows(one.app):
            await self._routes.leave(one, self.pools[one.pool].drain_deadline)

    async def discard(self, one: PoolInstance) -> None:
        """A READY instance that is not needed ends."""
        await self._bury(self._journal.pool_move(one, _I.SCRUBBING, self.pools[one.pool]))

    async def gone(self, one: PoolInstance) -> None:
        """It was found dead: nobody is sent there, and its row goes."""
        await self._leave(one)
        await self._bury(one)

    async def drill(self, one: PoolInstance, number: int) -> None:
        """Wake a cold instance (already WARMING), see that it is ready, and put it back."""
        pool, host, began = self.pools[one.pool], self.host(one.pool, one.host), self._clock.monotonic()
        try:
            await host.warm(one.name, one.port)
            seconds = self._clock.monotonic() - began
            one = self._journal.pool_move(one, _I.READY, pool, checked=True)
            one = self._journal.pool_move(one, _I.SCRUBBING, pool)
            await host.cold(one.name, one.port)
            self._journal.pool_move(one, _I.COLD, pool)
        except SidestepError as error:
            seconds = self._clock.monotonic() - began
            self._journal.drill_end(number, ok=False, seconds=seconds, detail=str(error.args[0]))
            await self._bury(one)
            raise
        self._journal.drill_end(number, ok=True, seconds=seconds, detail="")

    async def _bury(self, one: PoolInstance) -> None:
        """End it on its host, then forget it; while its host does not answer it is remembered."""
        await self.host(one.pool, one.host).end(one.name)
        self._journal.pool_move(one, _I.DEAD, self.pools[one.pool])
