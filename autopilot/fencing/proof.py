"""How it is proven that an old owner is gone: it was stopped, its lease ran out, or its host is off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from sidestep.autopilot.fencing.command import DEADLINE, run_fence
from sidestep.autopilot.fencing.host import LeaseHost
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import Backend, Barring
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub

#: seconds that a host has to stop a shard, between two attempts, and between two looks
STOPPING: Final = 10.0
ANEW: Final = 2.0
LOOK: Final = 0.25


class Keeping(Protocol):
    """What is needed of whoever keeps the leases."""

    fleet: FleetSpec
    clock: Clock
    #: hosts that are declared off
    off: dict[str, float]

    @property
    def margin(self) -> float:
        """Seconds beyond a lease that are waited."""
        ...

    def host(self, name: str, step: str = "lease") -> LeaseHost:
        """That host's lease. Raises HostError."""
        ...

    def command_says_off(self, host: str) -> None:
        """Its fencing command has succeeded."""
        ...


class Proof:
    """Fences; several shards of one host at a time wait for the same lease, and run its command once."""

    def __init__(
        self, keeping: Keeping, backends: Mapping[str, Backend], transport: Callable[[str], Transport]
    ) -> None:
        self._keeping, self._backends, self._transport = keeping, backends, transport
        self._turns: dict[str, asyncio.Lock] = {}

    async def fence(self, host: str, shard: ShardSpec, token: int) -> Label:
        """See ``Fencer``. Whichever proof comes first counts."""
        found = self._keeping.host(host, "fence")
        if stopped := await self._stopped(found, shard, token):
            return stopped
        if proven := self._off(host):
            return proven
        with _waiting(found):
            how, answered = await self._wait(found, shard, token)
        if answered and not found.fencing:
            found.stopped = False  # what else is leased there lives on
        return how

    def remaining(self, host: str) -> float:
        """Seconds, for the lease or the command."""
        found = self._keeping.host(host)
        rest = found.lease.until + self._keeping.margin - self._keeping.clock.monotonic()
        return max(rest, 0.0, DEADLINE if self._command(host) else 0.0)

    def gone(self, host: str, shard: ShardSpec) -> float:
        """By the earliest of the proofs that hold now; who was stopped because his host answered is gone only now."""
        found, now = self._keeping.host(host), self._keeping.clock.monotonic()
        ends = [now]
        if self._leased(found, shard) and found.lease.over(now, self._keeping.margin):
            ends.append(found.lease.until + self._keeping.margin)
        if (declared := self._keeping.off.get(host, now)) > -float("inf"):
            ends.append(declared)
        return now - min(ends)

    @staticmethod
    def _leased(found: LeaseHost, shard: ShardSpec) -> bool:
        return shard.failover != "wait" and shard.name in found.known

    async def _wait(self, found: LeaseHost, shard: ShardSpec, token: int) -> tuple[Label, bool]:
        """The proof, and whether it is that the host answered. A host that hangs in answering delays no other proof."""
        clock, tried = self._keeping.clock, self._keeping.clock.monotonic()
        leased = self._leased(found, shard)
        asking: asyncio.Task[Label] | None = None
        try:
            while True:
                now = clock.monotonic()
                if leased and found.lease.over(now, self._keeping.margin):
                    ended = now - found.lease.until
                    return scrub(f"its lease ran out {ended:.1f} s ago, and {shard.name} ended with it"), False
                if proven := self._off(found.name):
                    return proven, False
                if asking is not None and asking.done():
                    if stopped := asking.result():
                        return stopped, True
                    asking, tried = None, now
                if asking is None and found.connected and now - tried >= ANEW:
                    asking = asyncio.create_task(self._stopped(found, shard, token))
                if leased:
                    await clock.sleep(LOOK)
                else:
                    await self._switch_off(found.name, shard)
        finally:
            if asking is not None:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    async def _stopped(self, found: LeaseHost, shard: ShardSpec, token: int) -> Label:
        """How the host stopped the shard; "" if it does not answer, or cannot. Raises HostError for a newer owner."""
        if not found.connected:
            return Label("")
        backend, transport = self._backends[shard.backend], self._transport(found.name)
        try:
            async with asyncio.timeout(STOPPING):
                stop = backend.bar if isinstance(backend, Barring) else backend.stop
                await stop(transport, shard, token)
        except (TimeoutError, HostUnreachable):
            return Label("")
        except HostError as error:
            if await self._newer(backend, transport, shard, token):
                raise HostError(found.name, "fence", str(error.args[0])) from error
            return Label("")
        return scrub(f"it answers: {shard.name} is stopped there, and fenced at {token}")

    @staticmethod
    async def _newer(backend: Backend, transport: Transport, shard: ShardSpec, token: int) -> bool:
        try:
            async with asyncio.timeout(STOPPING):
                seen = await backend.discover(transport)
        except (TimeoutError, HostError):
            return False
        return any(one.shard == shard.name and one.token > token for one in seen)

    def _off(self, host: str) -> Label:
        return scrub(f"{host} is declared to be off") if host in self._keeping.off else Label("")

    async def _switch_off(self, host: str, shard: ShardSpec) -> None:
        """Have its command run. Raises HostError if there is none, or if it fails."""
        async with self._turns.setdefault(host, asyncio.Lock()):
            if host in self._keeping.off:
                return
            command = self._command(host)
            if not command:
                raise self._unproven(host, shard)
            await run_fence(self._keeping.fleet.host(host), command)
            self._keeping.command_says_off(host)

    def _command(self, host: str) -> str:
        return self._keeping.fleet.host(host).fence

    @staticmethod
    def _unproven(host: str, shard: ShardSpec) -> HostError:
        return HostError(
            host,
            "fence",
            f"does not answer, and has never acknowledged a lease of {shard.name}: it may still run there",
            hint=f"switch the host off and say so: sidestep fenced {host} --reason TEXT; or give it a fence command",
        )


@contextmanager
def _waiting(found: LeaseHost) -> Iterator[None]:
    """Renew nothing meanwhile, and go on doing so if nothing was proven."""
    found.fencing += 1
    found.stop()
    try:
        yield
    except BaseException:
        if found.fencing == 1:
            found.stopped = False
        raise
    finally:
        found.fencing -= 1
