"""A feed over any transport's channel: one task that reads and pushes. Transports may do better."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from sidestep.backends.ssh.base import Channel, Receiver
from sidestep.fleet.errors import HostError

_CHUNK: Final = 64 << 10


class ChannelFeed:
    """Implements ``Feed`` over a ``Channel`` that the caller has opened."""

    def __init__(self, channel: Channel, receiver: Receiver) -> None:
        self._channel, self._receiver = channel, receiver
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())
        self._writing = asyncio.create_task(self._write())

    def write(self, data: bytes) -> None:
        """Write a little to standard input; silently lost once the command ended."""
        self._outbox.put_nowait(data)

    async def aclose(self) -> None:
        """Close the channel; the receiver is told."""
        self._writing.cancel()
        await self._channel.aclose()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self) -> None:
        stderr, error = b"", None
        try:
            while data := await self._channel.read(_CHUNK):
                self._receiver.data(data)
            stderr = (await self._channel.wait()).stderr
        except HostError as lost:
            error = lost
        finally:
            self._writing.cancel()
            self._receiver.end(error, stderr)

    async def _write(self) -> None:
        with suppress(HostError):
            while True:
                await self._channel.write(await self._outbox.get())
