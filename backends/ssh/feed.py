"""Feeds: over any transport's channel with a task that reads and pushes, and over asyncssh without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import asyncssh

from sidestep.backends.ssh.base import Channel, Receiver
from sidestep.backends.ssh.fastlane import FastLane
from sidestep.fleet.errors import HostError, HostUnreachable

_CHUNK: Final = 64 << 10
#: of standard error, the last part is kept
_STDERR: Final = 64 << 10
#: a stream that complains so much is none of samples; reading it would cost a core
_MUCH: Final = 1 << 20
CLOSE_DEADLINE: Final = 2.0


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


class PushFeed(asyncssh.SSHClientSession[bytes]):
    """Implements ``Feed`` as an asyncssh session: what arrives goes straight to the receiver.

    No task, no queue and no buffer; on a fast lane not even asyncssh is asked. ``ended`` is
    called exactly once, when the channel is gone.
    """

    def __init__(
        self, host: str, command: str, receiver: Receiver, lane: FastLane | None, ended: Callable[[], None]
    ) -> None:
        self._host, self._command = host, command
        self._receiver: Receiver | None = receiver
        self._lane, self._ended = lane, ended
        self._chan: asyncssh.SSHClientChannel[bytes] | None = None
        self._number: int | None = None
        self._err, self._complained = b"", 0
        self._closing = False
        self._gone: asyncio.Future[None] | None = None

    # -- what asyncssh calls

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Keep the channel, and take the fast lane if there is one."""
        self._chan = chan
        if self._lane is not None and self._receiver is not None:
            self._number = self._lane.join(chan, self._receiver.data)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """What took the long way."""
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._err = (self._err + data)[-_STDERR:]
            self._complained += len(data)
            if self._complained > _MUCH and not self._closing and self._chan is not None:
                error = self._unreachable("channel", f"wrote more than {_MUCH >> 20} MiB to standard error")
                self._closing = True
                self._chan.abort()
                self._end(error)
        elif self._receiver is not None:
            self._receiver.data(data)

    def eof_received(self) -> bool:
        """Stay half open: the exit status is still to come."""
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone: tell the receiver how."""
        status = self._chan.get_returncode() if self._chan is not None else None
        error: HostError | None = None
        if exc is not None and not self._closing:
            error = self._unreachable("channel", f"connection lost: {exc}")
            error.__cause__ = exc
        elif status is None and not self._closing:
            error = self._unreachable("run", "the channel closed before the command ended")
        self._end(error)

    # -- Feed

    def write(self, data: bytes) -> None:
        """Write a little to standard input; silently lost once the command ended."""
        chan: Any = self._chan
        if chan is None or self._closing or self._receiver is None:
            return
        sent = self._lane.send(chan, data) if self._lane is not None else 0
        if sent < len(data):
            with suppress(OSError):
                chan.write(data[sent:])

    async def aclose(self) -> None:
        """Close the channel; the receiver is told."""
        self._closing = True
        if self._chan is not None and self._receiver is not None:
            self._gone = asyncio.get_running_loop().create_future()
            if self._lane is not None:
                self._lane.wake()
            self._chan.abort()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_DEADLINE):
                    await self._gone
        self._end(None)

    def abandon(self) -> None:
        """The command was never started: nobody is told anything."""
        self._receiver = None
        self._end(None)

    # -- inside

    def _unreachable(self, step: str, why: str) -> HostUnreachable:
        return HostUnreachable(self._host, step, why, command=self._command, tail=self._err)

    def _end(self, error: HostError | None) -> None:
        if self._lane is not None and self._number is not None:
            self._lane.leave(self._number)
        self._lane = self._number = None
        ended, self._ended = self._ended, _nothing
        ended()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.end(error, self._err)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)


def _nothing() -> None:
    return None
