"""The controller's end of a session with the router's host: one process there answers for as long as it is needed.

To start an interpreter for every question takes longer than all that HAProxy does, and on a loaded host seconds. The
process there (``host/talk.py``) ends with its channel, and by itself when nothing is asked for a while.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import cache
from importlib.resources import files
from shlex import quote
from typing import Final

from sidestep.backends.haproxy.host import talk
from sidestep.backends.ssh.base import Channel, Transport
from sidestep.backends.ssh.carry import shell
from sidestep.fleet.errors import HostError, HostUnreachable

#: seconds without a question after which a session is not used again: less than its host waits for one
STALE: Final = talk.SILENCE / 3
#: bytes that a shell may say before, and of an answer
_GREETING: Final = 64 << 10
_MOST: Final = 64 << 20


class Session:
    """Questions and answers in order, several under way at a time. Raises HostError; then it is ``over``."""

    def __init__(self, transport: Transport, channel: Channel) -> None:
        self.transport, self._channel = transport, channel
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._used, self._over = self._loop.time(), False
        self._reading = self._loop.create_task(self._read(), name=f"router on {transport.host}")

    @classmethod
    async def begin(cls, transport: Transport) -> Session:
        """A new one. Raises HostError if the host has no python3."""
        await transport.connect()
        channel = await transport.open(shell(f"exec python3 -S -c {quote(_source())}"))
        begun = False
        try:
            read = 0
            while (line := await channel.readline(_GREETING)) and not line.endswith(talk.READY):
                read += len(line)
                if read > _GREETING:
                    raise HostError(transport.host, "router", "its shell says too much", hint="make its profile silent")
            if not line:
                done = await channel.wait()
                raise HostError(
                    transport.host, "router", f"python3 ended with status {done.status}", command="python3",
                    tail=done.stderr, hint="the router's host needs python3; Debian's python3-minimal is enough",
                )  # fmt: skip
            begun = True
            return cls(transport, channel)
        except ValueError as error:
            raise HostError(transport.host, "router", str(error), hint="make its shell's profile silent") from error
        finally:
            if not begun:
                with suppress(HostError):
                    await channel.aclose()

    def serves(self, transport: Transport) -> bool:
        """Whether it can take questions for that connection."""
        return not self._over and transport is self.transport and self._loop.time() - self._used < STALE

    async def answer(self, verb: str, path: str, body: bytes) -> tuple[str, bytes]:
        """Status and body of the answer to one question."""
        question = b"\0".join([verb.encode(), path.encode(), body])
        async with self._turn:
            waiting: asyncio.Future[bytes] = self._loop.create_future()
            self._waiting.append(waiting)
            self._used, sent = self._loop.time(), False
            try:
                await self._channel.write(len(question).to_bytes(4, "big") + question)
                sent = True
            finally:
                if not sent:  # part of it may be: whatever followed would be misread
                    self._over = True
                    self._reading.cancel()
        status, _, said = (await waiting).partition(b"\0")
        return status.decode("ascii", "replace"), said

    async def aclose(self) -> None:
        """Hang up: the process there ends."""
        self._over = True
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        why: HostError = HostUnreachable(self.transport.host, "router", "the session with it has ended")
        try:
            while head := await self._exactly(4):
                size = int.from_bytes(head, "big")
                if size > _MOST:
                    why = HostError(self.transport.host, "router", f"an answer of {size >> 20} MiB is none")
                    return
                data = await self._exactly(size)
                if not data:
                    return
                waiting = self._waiting.popleft()
                if not waiting.done():  # who asked may be gone by now
                    waiting.set_result(data)
        except HostError as error:
            why = error
        finally:
            self._over = True
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_exception(why)
            with suppress(HostError):
                await self._channel.aclose()

    async def _exactly(self, size: int) -> bytes:
        """So many bytes; fewer, and none, only at the end between two answers. Raises HostUnreachable."""
        found = bytearray()
        while len(found) < size:
            data = await self._channel.read(size - len(found))
            if not data:
                if found:
                    raise HostUnreachable(self.transport.host, "router", "the session ended in the middle of an answer")
                return b""
            found += data
        return bytes(found)


@cache
def _source() -> str:
    return files(talk.__package__).joinpath("talk.py").read_text(encoding="utf-8")
