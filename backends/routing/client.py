"""The daemon's side of the router's control socket."""

from __future__ import annotations

import asyncio
from typing import Final

from sidestep.backends.routing.wire import (
    Apply,
    Audit,
    Failed,
    Generation,
    Hold,
    Ok,
    Release,
    Request,
    Stats,
    frame,
    parse_reply,
    read_frame,
)
from sidestep.fleet.errors import ProtocolError, SidestepError

#: seconds that an answer may take beyond what the request itself waits for
GRACE: Final = 10.0
AUDIT: Final = 60.0


class UnixRouter:
    """A ``Router`` behind a unix socket. Every call raises SidestepError naming the socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def hold(self, shard: str, deadline: float) -> None:
        """Stop sending to a shard, keep its requests waiting, return when none is in flight."""
        await self._ask(Hold(shard, deadline), deadline + GRACE)

    async def release(self, shard: str) -> None:
        """Send the waiting requests by the newest table, and serve on."""
        await self._ask(Release(shard))

    async def apply(self, table: bytes, checksum: int) -> int:
        """Take a newer table; returns the generation in force."""
        return (await self._ask(Apply(table, checksum))).generation

    async def generation(self) -> int:
        """The generation in force; 0 before the first table."""
        return (await self._ask(Generation())).generation

    async def stats(self) -> dict[str, float]:
        """What the router counted so far."""
        return (await self._ask(Stats())).counts

    async def audit(self) -> dict[str, int]:
        """End the traffic, reconcile every request with the shards' own counts, and say the result."""
        counts = (await self._ask(Audit(), AUDIT)).counts
        return {name: int(value) for name, value in counts.items()}

    async def aclose(self) -> None:
        """Close the connection; the next call opens it again."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, request: Request, deadline: float = GRACE) -> Ok:
        async with self._turn:
            try:
                async with asyncio.timeout(deadline):
                    return await self._try_twice(request)
            except TimeoutError:
                await self.aclose()
                raise SidestepError(f"router {self._path}: no answer within {deadline:g} s") from None
            except (OSError, ProtocolError) as error:
                await self.aclose()
                raise SidestepError(f"router {self._path}: {error}", hint="is the fleet's router running?") from error
            except asyncio.CancelledError:
                await self.aclose()  # the answer to this request must not be taken for the next one's
                raise

    async def _try_twice(self, request: Request) -> Ok:
        """Requests are idempotent: one lost with an old connection is asked again on a new one."""
        fresh = self._streams is None
        try:
            return await self._exchange(request)
        except OSError:
            await self.aclose()
            if fresh:
                raise
            return await self._exchange(request)

    async def _exchange(self, request: Request) -> Ok:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(self._path)
        reader, writer = self._streams
        writer.write(frame(request))
        await writer.drain()
        data = await read_frame(reader)
        if data is None:
            raise ConnectionResetError("it closed the connection")
        reply = parse_reply(data)
        if isinstance(reply, Failed):
            raise SidestepError(f"router {self._path}: {reply.message}")
        return reply
