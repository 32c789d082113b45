"""Cares for the oracle beside the loop: tells it what is known to come, and keeps what its forecasts were worth.

Nothing waits for it. What fails is said once, and tried again at its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from sidestep.autopilot.accuracy_apps import with_apps
from sidestep.autopilot.calendar_memory import keep_learned
from sidestep.autopilot.calendar_tasks import TimerReader
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.sampler.schedule import ScheduledTask
from sidestep.fleet.accuracy import AccuracyBoard
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import scrub
from sidestep.fleet.occasions import Occasion
from sidestep.forecasting.horizon import grid_step

#: seconds between two looks at what is to come, and between two boards that are kept
LOOK: Final = 10.0
KEEP: Final = 300.0
#: seconds after which a fleet that has no board yet gets its first one, so that there is something to show
FIRST: Final = 30.0


class Told(Protocol):
    """The part of the oracle that is cared for."""

    async def know(self, occasions: tuple[Occasion, ...], homes: dict[str, str] | None = None) -> None:
        """Take what is known to come, and which host each shard is on."""
        ...

    async def learned(self) -> bytes:
        """What occasions do to demand."""
        ...

    async def scores(self) -> AccuracyBoard | None:
        """The account of every series."""
        ...


class Events(Protocol):
    """What operators announced."""

    def occasions(self, now: float, timers: tuple[Occasion, ...] | None = None) -> tuple[Occasion, ...]:
        """Events that are not over, with the timers."""
        ...


class Boards(Protocol):
    """Where accounts are kept."""

    def put(self, board: AccuracyBoard) -> bool:
        """Keep a board."""
        ...

    def begun(self) -> bool:
        """Whether any board is kept."""
        ...


class Guesses(Protocol):
    """What is guessed of new work."""

    async def guess(self) -> None:
        """Look ahead, at its times."""
        ...

    async def save(self) -> None:
        """Keep what was learned."""
        ...


class Care:
    """``run`` for as long as the daemon lives. ``tasks`` gives every host's scheduled tasks, in the fleet's order."""

    def __init__(
        self,
        fleet: FleetSpec,
        oracle: Told,
        *,
        tasks: Callable[[], Sequence[tuple[ScheduledTask, ...]]],
        events: Events | None,
        boards: Boards | None,
        homes: Callable[[], dict[str, str]] = dict,
        memory: Path | None = None,
        coming: Guesses | None = None,
        clock: Clock,
        report: Callable[[str], None],
    ) -> None:
        self._oracle, self._tasks, self._events, self._boards = oracle, tasks, events, boards
        self._clock, self._report, self._homes, self._memory = clock, report, homes, memory
        self._coming = coming
        step = grid_step(fleet.oracle, fleet.policy.horizon, fleet.interval)
        self._timers = TimerReader([host.name for host in fleet.hosts], step)
        self._apps = {str(shard.name): str(shard.app) for shard in fleet.shards}
        self._trouble: set[str] = set()

    async def run(self) -> None:
        """Look every few seconds, keep a board every few minutes, until cancelled."""
        kept = began = self._clock.monotonic()
        first = True
        while True:
            await self._safely("calendar", self.tell)
            if self._coming is not None:
                await self._safely("guess of new work", self._coming.guess)
            if self._clock.monotonic() - kept >= KEEP:
                kept = self._clock.monotonic()
                await self._safely("accuracy", self.keep)
                await self._safely("memory of occasions", self.remember)
                if self._coming is not None:
                    await self._safely("memory of new work", self._coming.save)
            elif first and self._clock.monotonic() - began >= FIRST:
                first = not await self._first()
            await self._clock.sleep(LOOK)

    async def tell(self) -> None:
        """Tell the oracle what is known to come now."""
        now = self._clock.wall()
        timers = self._timers.read(self._tasks(), now)
        known = timers if self._events is None else await asyncio.to_thread(self._events.occasions, now, timers)
        await self._oracle.know(known, self._homes())

    async def remember(self) -> None:
        """Keep what occasions do to demand, for the next daemon. Raises SidestepError."""
        if self._memory is not None and (learned := await self._oracle.learned()):
            await asyncio.to_thread(keep_learned, self._memory, learned)

    async def keep(self) -> None:
        """Keep the account as it is now; one without a number would stand before those of an earlier daemon."""
        if self._boards is None:
            return
        board = await self._oracle.scores()
        if board is None or not board.scored:
            return
        shards = next((part.names for part in board.sections if part.kind == "shard"), ())
        apps = [self._apps.get(name, "") for name in shards]
        await asyncio.to_thread(lambda: self._boards is not None and self._boards.put(with_apps(board, apps)))

    async def _first(self) -> bool:
        """Keep a board if the fleet has none; whether it has one now."""
        boards = self._boards
        if boards is None or boards.begun():
            return True
        await self._safely("accuracy", self.keep)
        return boards.begun()

    async def _safely(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
            self._trouble.discard(what)
        except Exception as error:  # noqa: BLE001 - the supervisor of the oracle's care: forecasts go on without it
            if what not in self._trouble:
                self._trouble.add(what)
                self._report(f"oracle: its {what} is not kept: {type(error).__name__}: {scrub(str(error))}")
