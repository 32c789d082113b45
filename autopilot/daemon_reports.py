"""What else the daemon observes: invocations, requests, other sources, round trips; one value to start and end.

Nothing in here may stop the daemon: trouble is reported once, and the rest goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sidestep.autopilot.invocations_feed import InvocationFeed, Reporter, socket_beside
from sidestep.autopilot.rtt import RttProbe
from sidestep.autopilot.sources import SourceFeeds
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.invocations import Invocation
from sidestep.forecasting.durations import Durations, Expected

__all__ = ["Reports"]

#: newest invocations of the store that a new daemon learns from
PRIMED = 2000


class Reports:
    """From ``start`` to ``aclose``: the feed of invocations, what was learned from them, sources, round trips.

    ``rtt.table`` and ``rtt.controller`` are round trips, ``feed.store`` the invocations, and
    requests and latencies of shards are in ``world.reported``, so in every snapshot.
    """

    def __init__(
        self,
        fleet: FleetSpec,
        world: World,
        router: Reporter | None,
        *,
        state: Path,
        socket: Path,
        clock: Clock,
        report: Callable[[str], None],
        address: Callable[[HostSpec], tuple[str, int]] = lambda host: (host.address, host.port),
    ) -> None:
        self._model, self._turn = Durations(), threading.Lock()
        self._priming: asyncio.Task[None] | None = None
        self.feed = InvocationFeed(
            state,
            socket_beside(socket),
            reported=world.reported,
            router=router,
            clock=clock,
            interval=max(1.0, fleet.interval),
            report=report,
            learn=self._learn,
        )
        shards = tuple(str(spec.name) for spec in fleet.shards)
        self._sources = SourceFeeds(fleet.sources, shards, reported=world.reported, clock=clock, report=report)
        self.rtt = RttProbe(
            fleet.hosts,
            world.transport,
            reachable=world.reachable,
            clock=clock,
            report=report,
            mode=fleet.round_trips,
            address=address,
        )

    async def start(self) -> None:
        """Begin; what earlier daemons kept is learned in the background."""
        await self.feed.start()
        await self._sources.start()
        await self.rtt.start()
        self._priming = asyncio.create_task(asyncio.to_thread(self._prime), name="learn invocations")

    async def aclose(self) -> None:
        """Stop measuring, write what waits, remove the socket."""
        await self._sources.aclose()
        await self.rtt.aclose()
        if self._priming is not None:
            await asyncio.gather(self._priming, return_exceptions=True)
        await self.feed.aclose()

    def expected(
        self, app: str, features: Mapping[str, float | str] | None = None, levels: tuple[float, ...] = LEVELS
    ) -> Expected:
        """What the next call of an app with these features will take and use."""
        with self._turn:
            return self._model.predict(app, features, levels)

    def _prime(self) -> None:
        if self.feed.store is not None:
            self._learn(tuple(reversed(self.feed.store.rows(limit=PRIMED))))

    def _learn(self, batch: Sequence[Invocation]) -> None:
        with self._turn:
            self._model.observe(batch)
