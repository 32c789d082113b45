"""The router's control socket: hold, release, apply, generation, stats, audit (unix, 0600)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from sidestep.backends.routing.router import RouterCore
from sidestep.backends.routing.wire import (
    Apply,
    Audit,
    Failed,
    Generation,
    Hold,
    Ok,
    Release,
    Reply,
    Request,
    Stats,
    frame,
    parse_request,
    read_frame,
)
from sidestep.fleet.errors import ProtocolError, SidestepError

Counts = Callable[[], Awaitable[Mapping[str, float]]]


class RouterServer:
    """Serves one router's control socket; a connection that talks nonsense is closed, the others go on."""

    def __init__(self, core: RouterCore, path: Path, *, audit: Counts) -> None:
        self._core, self._path, self._audit = core, path, audit
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a socket that a dead router left is replaced."""
        self._path.unlink(missing_ok=True)
        old = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
        finally:
            os.umask(old)

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while True:
                try:
                    data = await read_frame(reader)
                    if data is None:
                        return
                    reply: Reply = await self._answer(parse_request(data))
                except ProtocolError as error:
                    writer.write(frame(Failed(str(error))))
                    await writer.drain()
                    return
                except SidestepError as error:
                    reply = Failed(str(error))
                writer.write(frame(reply))
                await writer.drain()

    async def _answer(self, request: Request) -> Ok:
        counts: Mapping[str, float] = {}
        match request:
            case Hold(shard, deadline):
                await self._core.hold(shard, deadline)
            case Release(shard):
                self._core.release(shard)
            case Apply(table, checksum):
                self._core.apply(table, checksum)
            case Stats():
                counts = dict(self._core.counts)
            case Audit():
                counts = await self._audit()
            case Generation():
                pass
        return Ok(self._core.generation, dict(counts))
