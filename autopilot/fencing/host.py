"""One host's lease as we keep it: the channel over which it is renewed, and what the host said there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from sidestep.autopilot.fencing.lease import HostLease
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import Lease
from sidestep.backends.process import leases
from sidestep.backends.ssh.base import Feed, Transport
from sidestep.fleet.errors import HostError, HostUnreachable, SidestepError

#: renewals within one lease
OFTEN: Final = 3
#: seconds until a channel is tried again, and that a start may wait for a lease
AGAIN: Final = 0.5
PATIENCE: Final = 10.0
#: seconds for which a host that a start was announced to is leased though nothing of it is seen
ANNOUNCED: Final = 60.0
#: bytes without a newline that are no answer
_LONGEST: Final = 1 << 20


class Desk(Protocol):
    """What a host's lease asks of whoever keeps them all."""

    seconds: float

    def leasable(self, shard: str) -> bool:
        """Whether a shard of that name may fail over."""
        ...

    def learned(self, host: LeaseHost) -> None:
        """What the host holds is not what it was."""
        ...

    def complain(self, host: str, text: str) -> None:
        """Something is wrong with its lease."""
        ...


class LeaseHost:
    """Implements ``Receiver`` for its own channel. No task of its own while all is well: ``beat`` makes it act."""

    def __init__(
        self, name: str, fleet: str, desk: Desk, *, transport: Callable[[str], Transport], clock: Clock, until: float
    ) -> None:
        self.name, self.lease = name, HostLease(until)
        #: shards that it owns, and those that it has acknowledged to hold under its lease
        self.wanted: frozenset[str] = frozenset()
        self.known: frozenset[str] = frozenset()
        #: shards that were leased there and are not to be any more
        self.residue: frozenset[str] = frozenset()
        #: not renewed: somebody waits until the lease has run out
        self.stopped = False
        #: how many do so
        self.fencing = 0
        self._fleet, self._desk, self._transport, self._clock = fleet, desk, transport, clock
        self._announced: dict[str, float] = {}
        self._feed: Feed | None = None
        self._opening: asyncio.Task[None] | None = None
        self._line: _Line | None = None
        self._ready = False
        self._seq = 0
        #: the question or renewal that is not answered yet, and since when
        self._open: tuple[int, float] | None = None
        self._renewing = 0
        #: when a renewal was last acknowledged, and with what
        self._renewed_at, self._renewed = -float("inf"), Lease(boot="", by=0)
        self._waiting: list[tuple[str, asyncio.Future[Lease]]] = []

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return bool(getattr(self._transport(self.name), "connected", False))

    @property
    def needed(self) -> bool:
        """Whether anything there lives, or is about to live, by our lease."""
        now = self._clock.monotonic()
        self._announced = {s: until for s, until in self._announced.items() if until > now}
        if self.wanted or self.residue or self._announced:
            return True
        ack = self.lease.ack
        return self._feed is not None and ack is not None and any(h.how == "running" for h in ack.held.values())

    def beat(self) -> float:
        """Ask for the host's clock, which a renewal follows; open the channel first. Seconds until the next beat."""
        if self._feed is None:
            if self._opening is None and self.connected:
                self._opening = asyncio.create_task(self._connect(), name=f"lease of {self.name}")
            return AGAIN
        now = self._clock.monotonic()
        if self._open is not None and now - self._open[1] > self._desk.seconds:
            self.close()
            return AGAIN
        if self._ready and self._open is None and not self.stopped:
            self._say(0)
        return self._desk.seconds / OFTEN

    async def hold(self, shard: str) -> Lease:
        """Have the shard leased there; the lease in force. Raises HostError."""
        now = self._clock.monotonic()
        self._may_hold()
        self._announced[shard] = now + ANNOUNCED
        if shard in self.known and now - self._renewed_at < self._desk.seconds / OFTEN:
            return self._renewed
        waiter: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiting.append((shard, waiter))
        try:
            async with asyncio.timeout(PATIENCE):
                await self._transport(self.name).connect()
                self.beat()
                return await waiter
        except TimeoutError as error:
            raise HostUnreachable(self.name, "lease", f"did not take a lease within {PATIENCE:g} s") from error
        finally:
            self._waiting.remove((shard, waiter))

    def stop(self) -> None:
        """Renew no more, and let nobody start anything there."""
        self.stopped = True
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(self._fenced())

    def forget(self, shards: frozenset[str]) -> None:
        """These are not to be leased any more, wherever they are."""
        self.residue |= self.known & shards
        self.known -= shards

    def unmark(self) -> bool:
        """At our end: nothing there is to end because we do; whether it could be said."""
        self.wanted, self._announced = frozenset(), {}
        self.residue |= self.known
        if self._feed is None or not self._ready:
            return False
        self._say(0, unmark=sorted(self.residue))
        return True

    def close(self) -> None:
        """Give the channel up; the lease goes on without us, to its end."""
        feed, self._feed = self._feed, None
        self._ready, self._open = False, None
        if feed is not None:
            closing = asyncio.ensure_future(feed.aclose())
            closing.add_done_callback(_ignore)

    async def aclose(self) -> None:
        """Close it, and whatever is being opened."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        self.close()

    # -- the channel

    async def _connect(self) -> None:
        line = _Line(self)
        try:
            async with asyncio.timeout(PATIENCE):
                feed = await self._transport(self.name).feed(leases.COMMAND, line)
            self._feed, self._line, self._open = feed, line, (0, self._clock.monotonic())
            feed.write(leases.payload(self._fleet))
        except (TimeoutError, HostUnreachable):
            pass  # the watch says why, and connects again
        except SidestepError as error:
            self._desk.complain(self.name, f"no lease: {error.args[0]}")
        finally:
            self._opening = None

    def said(self, line: _Line, text: bytes) -> None:
        """One line of the host's."""
        if self._feed is None or line is not self._line:
            return
        if text == leases.HELLO:
            self._ready, self._open = True, None
            if not self.stopped:
                self._say(0)
            return
        try:
            ack = leases.parse(text)
        except ValueError as error:
            self._desk.complain(self.name, f"no lease: {error}")
            self.close()
            return
        now = self._clock.monotonic()
        self.lease.heard(ack, now)
        if self._open is not None and ack.seq >= self._open[0]:
            self._open = None
        self.residue &= ack.held.keys()
        if ack.seq == self._renewing:
            self._learn(ack, now)
        elif ack.seq == self._seq and not self.stopped and self.needed:
            self._renew(ack)

    def ended(self, line: _Line, error: HostError | None, stderr: bytes) -> None:
        """The channel is gone. The connection is the watch's to make again."""
        if self._feed is not None and line is self._line:
            self._feed, self._ready, self._open = None, False, None
            if not isinstance(error, HostUnreachable):
                why, said = error.args[0] if error else "its keeper ended", stderr.decode("utf-8", "replace").strip()
                self._desk.complain(self.name, f"no lease: {why}: {said[-200:]}")

    def _renew(self, ack: leases.Ack) -> None:
        boot, until = self.lease.renewal(self._desk.seconds)
        wanted = self.wanted | self._announced.keys()
        unmark = {shard for shard in ack.held if not self._desk.leasable(shard)} | self.residue
        self._say(until, boot, mark=sorted(wanted - ack.held.keys()), unmark=sorted(unmark - wanted))
        self._renewing = self._seq

    def _learn(self, ack: leases.Ack, now: float) -> None:
        """A renewal was taken: what the host holds now ends with its lease."""
        guarded = ack.guard > 0 and ack.until > ack.uptime
        known = {s for s, held in ack.held.items() if guarded and held.how != "damaged" and self._desk.leasable(s)}
        self._renewed_at, self._renewed = now, Lease(boot=ack.boot, by=ack.until)
        if known != self.known:
            self.known = frozenset(known)
            self._desk.learned(self)
        if not ack.guard:
            self._desk.complain(self.name, "no lease: no guard runs there")
        for shard, waiter in self._waiting:
            if shard in known and not waiter.done():
                waiter.set_result(self._renewed)
        if guarded and not self.stopped and any(not waiter.done() for _, waiter in self._waiting):
            self._say(0)  # announced while this renewal was under way

    def _say(self, until: int, boot: str = "", mark: list[str] = [], unmark: list[str] = []) -> None:  # noqa: B006
        assert self._feed is not None
        self._seq += 1
        self._open = self._seq, self._clock.monotonic()
        self._feed.write(leases.line(self._seq, boot, until, mark=mark, unmark=unmark))

    def _may_hold(self) -> None:
        if self.stopped:
            raise self._fenced()

    def _fenced(self) -> HostError:
        return HostError(
            self.name, "lease", "is being fenced: nothing is started there", hint="wait until its failover is over"
        )


class _Line:
    """Implements ``Receiver`` for one run of the channel, so that a late word of an older one counts for nothing."""

    def __init__(self, host: LeaseHost) -> None:
        self._host, self._rest = host, b""

    def data(self, data: bytes) -> None:
        """Bytes, cut anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            self._rest = b""
        for text in lines:
            self._host.said(self, text)

    def end(self, error: HostError | None, stderr: bytes) -> None:
        """It ended."""
        self._host.ended(self, error, stderr)


def _ignore(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()
