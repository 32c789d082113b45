"""Searches for plans beside the ticks: one at a time, and a tick waits only so long for it.

A search in a large fleet, or on a machine with no cores to spare, may take longer than a tick. The
fleet is shown meanwhile as it is, and what the search comes to counts at the tick that finds it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import NoPlan

#: seconds of one search after which it is told of
LONG: Final = 5.0


class Planning:
    """From ``turn`` to ``turn``; ``aclose`` leaves a search behind that is under way."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._search: asyncio.Task[NoPlan | None] | None = None
        self._began = 0.0
        #: the newest reasons for which there is no plan
        self.no_plan: NoPlan | None = None

    async def turn(self, search: Callable[[], Coroutine[Any, Any, NoPlan | None]], patience: float) -> bool:
        """Begin that search, unless one is under way, and wait so many seconds: whether one has ended.

        Raises what the search raised.
        """
        if self._search is None:
            self._began = self._clock.monotonic()
            self._search = asyncio.create_task(search(), name="search for a plan")
        if not self._search.done():
            await self._wait(self._search, patience)
        if not self._search.done():
            return False
        ended, self._search = self._search, None
        self.no_plan = None
        self.no_plan = ended.result()
        return True

    def notices(self) -> tuple[Label, ...]:
        """What every screen has to say of a search that takes long."""
        seconds = self._clock.monotonic() - self._began
        if self._search is None or self._search.done() or seconds < LONG:
            return ()
        return (scrub(f"the planner has been at work for {seconds:.0f} s; the fleet is shown meanwhile as it is"),)

    async def aclose(self) -> None:
        """Wait no more for a search; its thread ends by its own time limit."""
        if self._search is not None:
            self._search.cancel()
            await asyncio.gather(self._search, return_exceptions=True)
            self._search = None

    async def _wait(self, search: asyncio.Task[NoPlan | None], patience: float) -> None:
        enough = asyncio.ensure_future(self._clock.sleep(patience))
        try:
            await asyncio.wait((search, enough), return_when=asyncio.FIRST_COMPLETED)
        finally:
            enough.cancel()
