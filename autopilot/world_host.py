"""Watches one host: connects, samples, backs off, and says how the host is and why.

A watch never raises: whatever happens to its host becomes a state and a reason, so that
one bad host cannot disturb the others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, Protocol

from sidestep.autopilot.world_clock import Clock
from sidestep.backends.sampler import HostSample
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import AuthenticationRefused, HostKeyRefused, HostUnreachable, SidestepError
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import HOST, HostState, advance

FIRST_BACKOFF: Final = 0.5
LONGEST_BACKOFF: Final = 30.0
#: missed samples until a host is SUSPECT, and until it is DEAD (but at least DEAD_SECONDS)
SUSPECT_MISSED: Final = 3
DEAD_MISSED: Final = 10
DEAD_SECONDS: Final = 10.0

Report = Callable[[str], None]


class Sampler(Protocol):
    """``backends.sampler.sample`` or a double of it."""

    def __call__(self, transport: Transport, fleet: str, interval: float) -> AsyncGenerator[HostSample, None]:
        """Samples until the connection is lost."""
        ...


class HostWatch:
    """One host's state, its reason, and its newest sample."""

    def __init__(
        self,
        spec: HostSpec,
        transport: Transport,
        *,
        fleet: str,
        interval: float,
        sampler: Sampler,
        gate: asyncio.Semaphore,
        clock: Clock,
        report: Report,
    ) -> None:
        self.spec, self.transport = spec, transport
        self.state, self.reason = HostState.UNKNOWN, scrub("connecting")
        self.sample: HostSample | None = None
        #: unix time at which the newest sample arrived
        self.sampled_at = float("nan")
        self.refused = False
        self._fleet, self._interval, self._sampler = fleet, interval, sampler
        self._gate, self._clock, self._report = gate, clock, report
        self._dead_after = max(DEAD_SECONDS, DEAD_MISSED * interval)
        self._seen = self._started = clock.monotonic()
        self._error = Label("")
        self._failures = 0
        self._said = ""
        self._again = asyncio.Event()

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
                self._failed(scrub(f"no sample for {self._dead_after:.0f} s; sampling again"))
            except Exception as error:  # noqa: BLE001 - the supervisor of one host: the other hosts go on
                self._failed(scrub(f"{type(error).__name__}: {error}"))
            self.judge()
            await self._clock.sleep(self._backoff())

    def retry(self, transport: Transport) -> None:
        """Try a host again that refused us; an operator says that the cause is gone."""
        self.transport = transport
        self._again.set()

    def age(self) -> float:
        """Seconds since the newest sample; NaN before the first."""
        return self._clock.monotonic() - self._seen if self.sample is not None else float("nan")

    @property
    def failed(self) -> bool:
        """Whether there is trouble since the newest sample."""
        return self._failures > 0

    @property
    def fresh(self) -> bool:
        """Whether the newest sample still says how the host is."""
        return self.state in (HostState.READY, HostState.CORDONED)

    def judge(self) -> HostState:
        """Bring the state up to date with the clock; logs a change once."""
        silent = self._clock.monotonic() - self._seen
        if self.refused:
            self._enter(HostState.DEAD, self._error)
        elif self.sample is None and not self._error and silent <= self._dead_after:
            return self.state
        elif silent > self._dead_after:
            self._enter(HostState.DEAD, self._error or scrub(f"no sample for more than {self._dead_after:.0f} s"))
        elif self.sample is None or silent > (SUSPECT_MISSED + 0.5) * self._interval:
            self._enter(HostState.SUSPECT, self._error or scrub(f"{SUSPECT_MISSED} samples missed"))
        elif self.spec.cordoned:
            self._enter(HostState.CORDONED, scrub("cordoned in the fleet file"))
        else:
            self._enter(HostState.READY, Label(""))
        return self.state

    async def _observe(self) -> None:
        async with self._gate:
            await self.transport.connect()
        async with aclosing(self._sampler(self.transport, self._fleet, self._interval)) as samples:
            while True:
                async with asyncio.timeout(self._dead_after):
                    sample = await anext(samples, None)
                if sample is None:
                    return
                self._take(sample)

    def _take(self, sample: HostSample) -> None:
        self.sample, self._seen = sample, self._clock.monotonic()
        self.sampled_at = self._clock.wall()
        self._error, self._failures = Label(""), 0
        self.judge()

    def _failed(self, error: Label) -> None:
        self._error = error
        self._failures += 1

    def _backoff(self) -> float:
        """Full jitter: a fleet that lost its network does not come back as one wave."""
        ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._failures - 1, 10))
        return random.uniform(0, ceiling)  # noqa: S311 - jitter, not a secret

    async def _give_up(self, error: HostUnreachable | SidestepError) -> None:
        """Wait for an operator: knocking again at a door that refused us helps nobody."""
        self._failed(scrub(str(error)))
        self.refused = True
        self.judge()
        await self._again.wait()
        self._again.clear()
        self.refused, self._error, self._failures = False, Label(""), 0

    def _enter(self, state: HostState, reason: Label) -> None:
        if state is not self.state:
            if self.state is HostState.DEAD and state is HostState.CORDONED:
                self.state = advance(HOST, self.state, HostState.READY)
            self.state = advance(HOST, self.state, state)
        self.reason = reason
        said = f"{state}: {reason}" if reason else str(state)
        if said != self._said:
            self._said = said
            self._report(f"{self.spec.name}: {said}")
