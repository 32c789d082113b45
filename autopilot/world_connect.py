"""How hosts are connected to: through gates, after pauses, and never again where we were refused."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from sidestep.autopilot.world_clock import Clock
from sidestep.backends.ssh.base import Carried, CarriesSockets, Channel, Completed, Feed, Receiver, Transport
from sidestep.backends.ssh.gates import Gates, Permit
from sidestep.fleet.errors import AuthenticationRefused, HostError, HostKeyRefused

#: seconds after which a handshake hangs, and lets others begin beside it
HANGS: Final = 1.0
#: seconds between two losses that may have one cause
TOGETHER: Final = 20.0
#: seconds between two waves of waking
BETWEEN_WAVES: Final = 2.0
#: the exponent beyond which no pause grows
_MOST_DOUBLINGS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Pauses before a host is tried again, in seconds.

    Full jitter: a fleet that lost its network does not come back as one wave. ``spread`` is the time
    over which those are woken that were lost together with a host that came back; None wakes nobody.
    """

    first: float = 0.5
    longest: float = 30.0
    factor: float = 2.0
    jitter: bool = True
    spread: float | None = 0.5

    def pause(self, tries: int) -> float:
        """The pause after ``tries`` failures in a row, at least one."""
        ceiling = min(self.longest, self.first * self.factor ** min(tries - 1, _MOST_DOUBLINGS))
        return random.uniform(0, ceiling) if self.jitter else ceiling  # noqa: S311 - jitter, not a secret


@dataclass(eq=False)
class _Waiter:
    """One host that waits: when it was lost, and when its pause ends."""

    since: float
    due: float
    #: seconds to wait still, once somebody says so
    woken: asyncio.Future[float]


class Waits:
    """Where hosts wait before they are tried again.

    When a host comes back, those that were lost at about the same time are likely back too: they
    are woken, spread in the order in which they began to wait (neighbour wake).
    """

    def __init__(self, clock: Clock, pace: Pace) -> None:
        self._clock, self._pace = clock, pace
        self._waiting: dict[_Waiter, None] = {}
        self._wave = -float("inf")

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, tries: int, since: float) -> bool:
        """Wait as long as ``tries`` failures in a row ask for; whether a neighbour's return cut it short.

        ``since`` is the monotonic time at which the host was lost.
        """
        pause = self._pace.pause(tries)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(since, self._clock.monotonic() + pause, loop.create_future())
        self._waiting[waiter] = None
        sleeper = asyncio.ensure_future(self._clock.sleep(pause))
        try:
            await asyncio.wait((sleeper, waiter.woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.pop(waiter, None)
            sleeper.cancel()
        if not waiter.woken.done():
            return False
        await self._clock.sleep(max(0.0, min(waiter.woken.result(), waiter.due - self._clock.monotonic())))
        return True

    def recovered(self, since: float) -> int:
        """A host that was lost at ``since`` is back: wake its neighbours, but not in wave upon wave.

        Returns how many are woken.
        """
        now = self._clock.monotonic()
        if self._pace.spread is None or now < self._wave + BETWEEN_WAVES:
            return 0
        neighbours = [waiter for waiter in self._waiting if abs(waiter.since - since) <= TOGETHER]
        if neighbours:
            self._wave = now
        for rank, waiter in enumerate(neighbours):
            del self._waiting[waiter]
            if not waiter.woken.done():
                waiter.woken.set_result(self._pace.spread * rank / len(neighbours))
        return len(neighbours)


class Link:
    """One host's transport as everybody shares it: connecting goes through the gates.

    Implements ``Transport``. Where the host's key or our identity was refused, every further
    attempt is refused here and without knocking, until ``retry``: sshd answers repeated failures
    by shutting out the whole address, and a changed key must be looked at by a person.
    """

    def __init__(self, transport: Transport, lane: str, *, gates: Gates, clock: Clock) -> None:
        self.host = transport.host
        self.transport = transport
        #: handshakes that succeeded
        self.made = 0
        #: called after each of them
        self.told: Callable[[], None] = lambda: None
        self._lane, self._gates, self._clock = lane, gates, clock
        self._refused: AuthenticationRefused | HostKeyRefused | None = None
        self._turn = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return bool(getattr(self.transport, "connected", False))

    def round_trip(self) -> float | None:
        """Seconds that a packet takes there and back; None when the transport does not know."""
        known = getattr(self.transport, "round_trip", None)
        return known() if known is not None else None

    def address(self) -> str | None:
        """The address at which we ourselves reach the host; None when we do not, or the transport does not know."""
        known = getattr(self.transport, "address", None)
        return known() if known is not None else None

    def retry(self, transport: Transport) -> Transport:
        """Forget a refusal and go on with a new transport; returns the one before, for closing."""
        before, self.transport, self._refused = self.transport, transport, None
        return before

    async def connect(self) -> None:
        """Connect and authenticate when the gates let us; a no-op when connected. Raises as every transport does."""
        if self.connected:
            return
        async with self._turn:
            if self._refused is not None:
                raise self._refused.with_traceback(None)
            if not self.connected:
                async with self._gates.handshake(self._lane) as permit:
                    await self._shake_hands(permit)
                self.made += 1
                self.told()

    async def _shake_hands(self, permit: Permit) -> None:
        hangs = asyncio.ensure_future(self._hang(permit))
        try:
            await self.transport.connect()
        except (AuthenticationRefused, HostKeyRefused) as error:
            self._refused = error
            raise
        finally:
            hangs.cancel()

    async def _hang(self, permit: Permit) -> None:
        while not permit.aside:
            await self._clock.sleep(HANGS)
            permit.step_aside()

    async def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        """Run a command to its end."""
        return await self.transport.run(command, stdin=stdin, timeout=timeout)

    async def open(self, command: str) -> Channel:
        """Start a command and return its streams."""
        return await self.transport.open(command)

    async def feed(self, command: str, receiver: Receiver) -> Feed:
        """Start a command; its output is pushed to ``receiver``."""
        return await self.transport.feed(command, receiver)

    async def send(self, path: str, chunks: AsyncIterator[bytes], *, timeout: float = 60.0) -> str:
        """Write ``chunks`` to ``path``; returns their SHA-256."""
        return await self.transport.send(path, chunks, timeout=timeout)

    def fetch(self, path: str, *, timeout: float = 60.0) -> AsyncIterator[bytes]:
        """The bytes of ``path`` in chunks."""
        return self.transport.fetch(path, timeout=timeout)

    async def carry_socket(self, path: str, local: str) -> Carried:
        """Have a socket there whose connections come to ``local``. Raises HostError, also where that cannot be."""
        if not isinstance(self.transport, CarriesSockets):
            raise HostError(self.host, "carry a socket", "its transport carries none", hint="use the default one")
        return await self.transport.carry_socket(path, local)

    async def aclose(self) -> None:
        """Close the connection and everything on it."""
        await self.transport.aclose()
