"""The router as the daemon sees it: calls over its control socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from sidestep.backends.routing import wire
from sidestep.backends.routing.engine import Endpoint, EndpointLoad
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import ProtocolError, SidestepError
from sidestep.fleet.routing import RouterSpec

#: seconds for which a router that does not answer is tried again, so that it may restart
PATIENCE: Final = 2.0
_PAUSE: Final = 0.05
#: beyond what the call itself may take
_SLACK: Final = 10.0
_AUDIT_SECONDS: Final = 90.0


class UnixRouter:
    """Router of ``backends.base`` over a unix socket; a connection per call, so that a restart is not noticed."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    async def hold(self, shard: str, deadline: float, *, firm: bool = False) -> None:
        """Hold a shard's requests; returns when none is in flight. Raises SidestepError after ``deadline`` seconds.

        Where ``firm``, what its owner has not answered by then is given up instead.
        """
        await self._call(wire.Hold(shard, deadline, firm), deadline)

    async def release(self, shard: str) -> None:
        """Send the waiting requests by the newest table, and serve on. Raises SidestepError."""
        await self._call(wire.Release(shard))

    async def apply(self, table: bytes, checksum: int) -> int:
        """Take a newer table; returns the generation in force. Raises SidestepError if it is refused."""
        return self._generation(await self._call(wire.Apply(table, checksum)))

    async def generation(self) -> int:
        """The generation in force; 0 before the first table."""
        return self._generation(await self._call(wire.GetGeneration()))

    async def stats(self) -> dict[str, Any]:
        """The router's counters."""
        return self._facts(await self._call(wire.GetStats()))

    async def report(self, after: int) -> dict[str, Any]:
        """Totals and latencies of every shard, and the calls after that number; see ``meter.Meter.report``.

        Raises SidestepError, also for a router of a version that measures nothing.
        """
        return self._facts(await self._call(wire.GetReport(after)))

    async def audit(self) -> dict[str, Any]:
        """Stop the requests, and account for every one of them.

        ``requests``, ``acked``, ``late``, ``lost``, ``duplicated``, ``max_wait_ms``, and ``shards`` one by one.
        """
        return self._facts(await self._call(wire.Audit(), _AUDIT_SECONDS))

    async def aclose(self) -> None:
        """Nothing is kept open."""

    async def _call(self, call: wire.Call, seconds: float = 0.0) -> wire.Answer:
        """The answer; every call may be repeated, so one that was cut off is. Raises SidestepError."""
        until = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                async with asyncio.timeout(seconds + _SLACK):  # wait_for may hide a cancellation
                    answer = await self._once(call)
                break
            except TimeoutError as error:
                raise self._error(f"no answer within {seconds + _SLACK:g} s") from error
            except (OSError, ProtocolError) as error:
                if asyncio.get_running_loop().time() > until:
                    raise self._error(str(error)) from error
                await asyncio.sleep(_PAUSE)
        if isinstance(answer, wire.Refused):
            raise SidestepError(f"{self.path}: {answer.message}", hint=answer.hint)
        return answer

    async def _once(self, call: wire.Call) -> wire.Answer:
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            writer.write(wire.pack(call))
            await writer.drain()
            return wire.parse_answer(await wire.read_frame(reader))
        finally:
            writer.close()

    def _error(self, message: str) -> SidestepError:
        return SidestepError(f"{self.path}: the router does not answer: {message}", hint="is the router running?")

    def _generation(self, answer: wire.Answer) -> int:
        if not isinstance(answer, wire.Done):
            raise self._error(f"unexpected {type(answer).__name__}")
        return answer.generation

    def _facts(self, answer: wire.Answer) -> dict[str, Any]:
        if not isinstance(answer, wire.Facts):
            raise self._error(f"unexpected {type(answer).__name__}")
        return answer.values


class EmbeddedRouter(UnixRouter):
    """``RouterEngine`` over the socket of our own router, as ``[router]`` with ``engine = "embedded"`` names it."""

    def __init__(self, spec: RouterSpec, transport_for: Callable[[str], Transport]) -> None:
        super().__init__(spec.socket)

    async def endpoints(self, shard: str) -> tuple[EndpointLoad, ...]:
        """The owner and all others, with what is in flight at each."""
        values = self._facts(await self._call(wire.GetEndpoints(shard)))
        return msgspec.convert(values["endpoints"], tuple[EndpointLoad, ...])

    async def add(self, shard: str, endpoint: Endpoint) -> None:
        """Send to one more endpoint, by its weight; one of that name changes into it."""
        await self._call(wire.AddEndpoint(shard, endpoint))

    async def weigh(self, shard: str, weights: Mapping[str, int]) -> None:
        """Give these endpoints new weights, all or none."""
        await self._call(wire.Weigh(shard, dict(weights)))

    async def shift(self, shard: str, shares: Mapping[str, int]) -> None:
        """Give groups shares of the shard's requests, all or none."""
        await self._call(wire.Shift(shard, dict(shares)))

    async def drain(self, shard: str, name: str, deadline: float) -> None:
        """Send nothing new to it; returns when nothing is in flight there. Raises SidestepError after ``deadline``."""
        await self._call(wire.Drain(shard, name, deadline), deadline)

    async def remove(self, shard: str, name: str) -> None:
        """Forget an endpoint at which nothing is in flight."""
        await self._call(wire.RemoveEndpoint(shard, name))

    async def differences(self) -> tuple[str, ...]:
        """None: what it was told is what it has, in one process."""
        return ()

    async def repair(self) -> tuple[str, ...]:
        """Nothing to repair; raises SidestepError if it does not answer."""
        await self.generation()
        return ()
