"""One remote command over asyncssh: three byte streams, bounded buffers, an exit status."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import Final

import asyncssh

from sidestep.backends.ssh.base import Completed
from sidestep.backends.ssh.fastlane import FastLane
from sidestep.backends.ssh.inside import Stream
from sidestep.fleet.errors import HostError, HostUnreachable

#: reading from the network stops while this much is waiting to be read
HIGH_WATER: Final = 1 << 20
#: most that a command run to its end may write
MAX_OUTPUT: Final = 64 << 20
#: of standard error, the last part is kept
MAX_STDERR: Final = 64 << 10
CLOSE_DEADLINE: Final = 2.0
#: seconds after which a server that says nothing gets all that it has room for
_ROOM_DEADLINE: Final = 0.1
_PACKET: Final = 32 << 10


class AsyncsshChannel(asyncssh.SSHClientSession[bytes]):
    """Implements ``Channel``. ``ended`` is called exactly once, when the channel is gone."""

    def __init__(self, host: str, command: str, ended: Callable[[], None], lane: FastLane | None = None) -> None:
        self._host, self._command, self._ended = host, command, ended
        #: what was not read: pieces as they arrived, so that bulk is copied once
        self._out: deque[bytes] = deque()
        self._size = 0
        self._err = bytearray()
        self._limit = HIGH_WATER
        #: so much must be there before whoever waits is woken, unless something else happens
        self._wanted = 0
        self._paused = False
        self._eof = self._closing = False
        self._lost: Exception | None = None
        self._fresh, self._writable, self._gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._writable.set()
        self._roomy = asyncio.Event()
        self._chan: asyncssh.SSHClientChannel[bytes] | None = None
        self._lane = lane
        self._number: int | None = None

    # -- what asyncssh calls

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Keep the channel, and take the fast lane if there is one."""
        self._chan = chan
        # A writer waits until all it wrote is on its way: what waits in asyncssh is copied for every packet.
        chan.set_write_buffer_limits(0, 0)
        if self._lane is not None:
            self._number = self._lane.join(chan, self._arrived, self._roomy.set)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Keep what arrived, and stop the sender when nobody reads it."""
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._err += data
            if len(self._err) > MAX_STDERR:
                del self._err[:-MAX_STDERR]
            self._fresh.set()
            return
        self._arrived(data)

    def _arrived(self, data: bytes) -> None:
        self._out.append(data)
        self._size += len(data)
        if self._size > self._limit and not self._paused and self._chan is not None:
            self._pause(True)
        if self._size >= self._wanted:
            self._fresh.set()

    def eof_received(self) -> bool:
        """Stay half open: the exit status is still to come."""
        self._eof = True
        self._fresh.set()
        return True

    def pause_writing(self) -> None:
        """The window is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The window has room again."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone: wake everybody who waits for it."""
        self._lost, self._eof = exc, True
        if self._lane is not None and self._number is not None:
            self._lane.leave(self._number)
            self._number = None
        self._gone.set()
        self._fresh.set()
        self._writable.set()
        self._roomy.set()
        self._end()

    # -- Channel

    @property
    def stderr(self) -> bytes:
        """The tail of what the command wrote to standard error so far."""
        return bytes(self._err)

    async def stderr_match(self, pattern: bytes) -> re.Match[bytes] | None:
        """Wait until standard error matches; None when the command ended without."""
        while True:
            found = re.search(pattern, self.stderr)
            if found is not None or self._gone.is_set():
                return found
            await self._arrival()

    async def readline(self, limit: int = 262144) -> bytes:
        """One line with its newline; b"" at the end. Raises ValueError for a line over ``limit``."""
        self._allow(max(limit, HIGH_WATER))
        line = bytearray()
        while True:
            while self._out:
                piece = self._out.popleft()
                end = piece.find(b"\n") + 1 or len(piece)
                self._size -= end
                line += piece[:end]
                if end < len(piece):
                    self._out.appendleft(piece[end:])
                if len(line) > limit:
                    self._return(line)
                    raise ValueError(f"a line is longer than {limit} bytes")
                if line.endswith(b"\n"):
                    self._allow(self._limit)
                    return bytes(line)
            if self._eof:
                self._return(line)
                self._check_lost()
                return self._take(len(line))
            try:
                await self._arrival()
            except asyncio.CancelledError:
                self._return(line)
                raise

    async def read(self, n: int) -> bytes:
        """Up to ``n`` bytes; b"" at the end."""
        while not self._out and not self._eof:
            await self._arrival()
        if not self._out:
            self._check_lost()
        return self._take(n)

    async def read_much(self, n: int) -> bytes:
        """``n`` bytes, fewer at the end: for bulk, where being woken for every packet costs more than the packet."""
        self._wanted = min(n, self._limit // 2)
        try:
            while self._size < self._wanted and not self._eof:
                await self._arrival()
        finally:
            self._wanted = 0
        return await self.read(n)

    async def write(self, data: bytes) -> None:
        """Write to standard input, waiting while the window is full."""
        left = memoryview(data)
        while True:
            await self._writable.wait()
            self._check_lost()
            if self._gone.is_set() or self._closing or self._chan is None:
                raise self._unread()
            if self._lane is not None and left:
                stream = self._lane.stream(self._number) if self._number is not None else None
                room = stream.room() if stream is not None else None
                if stream is not None and room is not None and room <= 0:
                    await _wait_for_room(stream, self._roomy)
                    continue
                sent = self._lane.send(self._chan, left[:room])
                left = left[sent:]
                if sent and left:
                    continue
            # What is more than the window takes: asyncssh keeps one packet, and says when that is gone.
            part = left[:_PACKET] if self._lane is not None else left
            try:
                if part:
                    self._chan.write(bytes(part))
            except BrokenPipeError as error:
                raise self._unread() from error
            left = left[len(part) :]
            if not left:
                return

    async def finish_input(self) -> None:
        """Send end-of-file."""
        if self._chan is not None and not self._gone.is_set() and not self._closing:
            self._chan.write_eof()

    async def wait(self) -> Completed:
        """Wait for the end; ``stdout`` holds what was not read."""
        self._allow(MAX_OUTPUT)
        while not self._gone.is_set():
            if self._size > MAX_OUTPUT:
                raise self._wrong(HostError, "run", f"wrote more than {MAX_OUTPUT >> 20} MiB")
            await self._arrival()
        self._check_lost()
        status = self._chan.get_returncode() if self._chan is not None else None
        if status is None and not self._closing:
            raise self._wrong(HostUnreachable, "run", "the channel closed before the command ended")
        return Completed(-1 if status is None else status, self._take(self._size), self.stderr)

    async def aclose(self) -> None:
        """Close the channel; the remote command sees end-of-file."""
        self._closing = True
        if self._chan is not None and not self._gone.is_set():
            self._chan.abort()
            try:
                async with asyncio.timeout(CLOSE_DEADLINE):
                    await self._gone.wait()
            except TimeoutError:
                pass
        self._end()

    # -- inside

    def _wrong(self, kind: type[HostError], step: str, why: str) -> HostError:
        return kind(self._host, step, why, command=self._command, tail=self.stderr)

    def _unread(self) -> HostError:
        return self._wrong(HostError, "write", "the command ended before it read its input")

    def _take(self, n: int) -> bytes:
        pieces, left = [], n
        while left and self._out:
            piece = self._out.popleft()
            if len(piece) > left:
                self._out.appendleft(piece[left:])
                piece = piece[:left]
            pieces.append(piece)
            left -= len(piece)
        self._size -= n - left
        self._allow(self._limit)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _return(self, line: bytearray) -> None:
        """Put back what is no whole line yet."""
        if line:
            self._out.appendleft(bytes(line))
            self._size += len(line)

    def _allow(self, limit: int) -> None:
        self._limit = limit
        if self._paused and self._size <= limit // 2 and self._chan is not None:
            self._pause(False)

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        if self._lane is not None and self._number is not None:
            self._lane.hold(self._number, paused)
        elif self._chan is not None:
            self._chan.pause_reading() if paused else self._chan.resume_reading()

    async def _arrival(self) -> None:
        self._fresh.clear()
        await self._fresh.wait()

    def _check_lost(self) -> None:
        if self._lost is not None and not self._closing:
            raise self._wrong(HostUnreachable, "channel", f"connection lost: {self._lost}") from self._lost

    def _end(self) -> None:
        ended, self._ended = self._ended, _nothing
        ended()


async def _wait_for_room(stream: Stream, roomy: asyncio.Event) -> None:
    """A server that makes no room in time waits for more of its window to be used."""
    roomy.clear()
    try:
        async with asyncio.timeout(_ROOM_DEADLINE):
            await roomy.wait()
    except TimeoutError:
        stream.exhaust()


def _nothing() -> None:
    return None
