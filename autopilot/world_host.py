"""Watches one host: connects, follows its samples, waits, and says what went wrong.

A watch never raises: whatever happens to its host becomes a state and a reason, so that
one bad host cannot disturb the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from sidestep.autopilot.world_clock import Clock
from sidestep.autopilot.world_connect import Link, Waits
from sidestep.backends.sampler.intake import Intake
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import AuthenticationRefused, HostKeyRefused, SidestepError
from sidestep.fleet.inventory import HostSpec, SamplerKind
from sidestep.fleet.labels import Label, scrub

_NEVER: Final = float("inf")


class Follow(Protocol):
    """``backends.sampler.follow`` or a double of it."""

    async def __call__(
        self,
        transport: Transport,
        fleet: str,
        interval: float,
        intake: Callable[[], Intake],
        *,
        kind: SamplerKind = "auto",
    ) -> None:
        """Hand samples to intakes until the stream ends. Raises HostError."""
        ...


class Desk(Protocol):
    """What a watch tells, and asks for: the world, for one row."""

    def intake(self, row: int) -> Intake:
        """A receiver for a new sampler run."""
        ...

    def failed(self, row: int, error: Label) -> None:
        """Something is wrong."""
        ...

    def refused(self, row: int, refused: bool) -> None:
        """The host refuses us, or may be tried again."""
        ...

    def following(self, row: int, since: float) -> None:
        """A sampler runs since that monotonic time; inf: none does."""
        ...


class HostWatch:
    """The life of one host's connection and sampler."""

    def __init__(
        self,
        row: int,
        spec: HostSpec,
        link: Link,
        *,
        fleet: str,
        interval: float,
        follow: Follow,
        desk: Desk,
        waits: Waits,
        clock: Clock,
    ) -> None:
        self.spec, self.link = spec, link
        #: failures in a row
        self.failures = 0
        self._row, self._fleet, self._interval = row, fleet, interval
        self._follow, self._desk, self._waits, self._clock = follow, desk, waits, clock
        #: failures since the start, the newest sample, or a neighbour's return
        self._tries = 0
        #: monotonic time of the first failure since the newest sample
        self._lost = _NEVER
        self._leash: asyncio.Timeout | None = None
        self._patience = 0.0
        self._again: asyncio.Event | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self._observe()
                self._failed(scrub("the sampler ended"))
            except (HostKeyRefused, AuthenticationRefused) as error:
                await self._give_up(error)
                continue
            except SidestepError as error:
                self._failed(scrub(str(error.args[0])))
            except TimeoutError:
                self._failed(scrub(f"no sample for more than {self._patience:g} s; sampling again"))
            except Exception as error:  # noqa: BLE001 - the supervisor of one host: the other hosts go on
                self._failed(scrub(f"{type(error).__name__}: {error}"))
            if await self._waits.wait(self._tries, self._lost):
                self._tries = 0

    def well(self) -> None:
        """A sample came: what was wrong is over."""
        self.failures = self._tries = 0
        self._lost = _NEVER

    def made(self) -> None:
        """A connection was made: hosts that were lost with this one may be back, too."""
        if self.failures:
            self._waits.recovered(self._lost)

    def stall(self, patience: float) -> None:
        """Nothing new came from the sampler for ``patience`` seconds: end it and start another."""
        self._patience = patience
        if self._leash is not None and not self._leash.expired():
            self._leash.reschedule(0.0)
        self._desk.following(self._row, _NEVER)

    def retry(self) -> None:
        """Try a host again that refused us; an operator says that the cause is gone."""
        if self._again is not None:
            self._again.set()

    async def _observe(self) -> None:
        await self.link.connect()
        self._desk.following(self._row, self._clock.monotonic())
        try:
            async with asyncio.timeout(None) as self._leash:
                await self._follow(
                    self.link,
                    self._fleet,
                    self._interval,
                    lambda: self._desk.intake(self._row),
                    kind=self.spec.sampler,
                )
        finally:
            self._leash = None
            self._desk.following(self._row, _NEVER)

    def _failed(self, error: Label) -> None:
        self.failures += 1
        self._tries += 1
        self._lost = min(self._lost, self._clock.monotonic())
        self._desk.failed(self._row, error)

    async def _give_up(self, error: SidestepError) -> None:
        """Wait for an operator: knocking again at a door that refused us helps nobody."""
        self._failed(scrub(str(error)))
        again = self._again = asyncio.Event()
        self._desk.refused(self._row, True)
        await again.wait()
        self._again = None
        self.well()
        self._desk.refused(self._row, False)
