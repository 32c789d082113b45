"""The second transport: paramiko in threads behind the same contract as the default one."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import paramiko

from sidestep.backends.ssh.base import Completed, Feed, Receiver
from sidestep.backends.ssh.commands import Commands
from sidestep.backends.ssh.feed import ChannelFeed
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.paramiko_connection import ParamikoConnection, end_input
from sidestep.backends.ssh.target import SshTarget
from sidestep.backends.ssh.tunnels import Tunnels
from sidestep.fleet.errors import HostError, HostUnreachable

SESSIONS: Final = 8
WINDOW: Final = 2 << 20
CHUNK: Final = 64 << 10
HIGH_WATER: Final = 1 << 20
MAX_OUTPUT: Final = 64 << 20
MAX_STDERR: Final = 64 << 10
CLOSE_DEADLINE: Final = 5.0


class ParamikoTransport(Commands):
    """One connection to one host; implements ``Transport``. Costs two threads a channel and one a connection.

    A target's jump hosts are connected for it alone: ``tunnels``, which shares them, is not used.
    """

    def __init__(
        self, target: SshTarget, keys: HostKeys, *, ring: KeyRing | None = None, tunnels: Tunnels | None = None
    ) -> None:
        super().__init__()
        self.host = target.name
        self._target, self._keys, self._ring = target, keys, ring or KeyRing()
        self._connection: ParamikoConnection | None = None
        self._connecting = asyncio.Lock()
        self._sessions = asyncio.Semaphore(SESSIONS)
        # Reading blocks a thread for as long as a command lives: never the loop's shared pool.
        self._threads = ThreadPoolExecutor(2 * SESSIONS + 4, thread_name_prefix=f"paramiko {target.name}")

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._connection is not None and self._connection.connected

    async def connect(self) -> None:
        """Connect and authenticate; a no-op when connected. Raises like the default transport."""
        async with self._connecting:
            if self.connected:
                return
            targets = (self._target, *self._target.jumps)
            credentials = {target: await self._ring.credentials(target) for target in targets}
            connection = ParamikoConnection(self._target, self._keys, credentials)
            await self._call(connection.connect)
            self._connection = connection

    async def open_channel(self, command: str, window: int = WINDOW) -> ParamikoChannel:
        """Start a command and return its streams; waits while eight sessions are open."""
        await self._sessions.acquire()
        try:
            channel = await self._call(self._present().open, command, window)
        except BaseException:
            self._sessions.release()
            raise
        return ParamikoChannel(self.host, command, channel, self._sessions.release)

    async def open(self, command: str) -> ParamikoChannel:
        """Start a command and return its streams."""
        return await self.open_channel(command)

    async def feed(self, command: str, receiver: Receiver) -> Feed:
        """Start a command; its output is pushed to ``receiver``."""
        return ChannelFeed(await self.open_channel(command), receiver)

    async def aclose(self) -> None:
        """Close the connection and everything on it."""
        await self.finish_cleaning()
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.to_thread(connection.close)
        self._threads.shutdown(wait=False)

    def _present(self) -> ParamikoConnection:
        if self._connection is None:
            raise HostUnreachable(self.host, "open", "not connected")
        return self._connection

    async def _call(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


class ParamikoChannel:
    """Implements ``Channel``: two threads pump the streams into bounded buffers of the event loop."""

    def __init__(self, host: str, command: str, channel: paramiko.Channel, ended: Callable[[], None]) -> None:
        self._host, self._command, self._chan, self._ended = host, command, channel, ended
        self._loop = asyncio.get_running_loop()
        self._out, self._err = bytearray(), bytearray()
        self._limit = HIGH_WATER
        self._fresh, self._gone = asyncio.Event(), asyncio.Event()
        self._eof = self._closing = self._lost = False
        self._status = 0
        self._room = threading.Event()
        self._room.set()
        self._writing = asyncio.Lock()
        self._errors = threading.Thread(target=self._pump_errors, daemon=True)
        self._errors.start()
        threading.Thread(target=self._pump, daemon=True).start()

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
        while True:
            end = self._out.find(b"\n")
            if end >= limit or (end < 0 and len(self._out) > limit):
                raise ValueError(f"a line is longer than {limit} bytes")
            if end >= 0:
                return self._take(end + 1)
            if self._eof:
                self._check_lost()
                return self._take(len(self._out))
            await self._arrival()

    async def read(self, n: int) -> bytes:
        """Up to ``n`` bytes; b"" at the end."""
        while not self._out and not self._eof:
            await self._arrival()
        if not self._out:
            self._check_lost()
        return self._take(min(n, len(self._out)))

    async def write(self, data: bytes) -> None:
        """Write to standard input, waiting while the window is full."""
        async with self._writing:
            self._check_lost()
            if self._gone.is_set() or self._closing:
                raise self._unread()
            try:
                await asyncio.to_thread(self._chan.sendall, data)
            except (OSError, EOFError, paramiko.SSHException) as error:
                await asyncio.sleep(0)
                self._check_lost()
                raise self._unread() from error

    async def finish_input(self) -> None:
        """Send end-of-file."""
        if not self._gone.is_set() and not self._closing:
            with suppress(OSError, EOFError, paramiko.SSHException):
                await asyncio.to_thread(end_input, self._chan)

    async def wait(self) -> Completed:
        """Wait for the end; ``stdout`` holds what was not read."""
        self._allow(MAX_OUTPUT)
        while not self._gone.is_set():
            if len(self._out) > MAX_OUTPUT:
                raise HostError(
                    self._host, "run", f"wrote more than {MAX_OUTPUT >> 20} MiB", command=self._command,
                    tail=self.stderr,
                )  # fmt: skip
            await self._arrival()
        self._check_lost()
        return Completed(self._status, self._take(len(self._out)), self.stderr)

    async def aclose(self) -> None:
        """Close the channel; the remote command sees end-of-file."""
        self._closing = True
        self._room.set()
        if not self._gone.is_set():
            await asyncio.to_thread(self._chan.close)
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_DEADLINE):
                    await self._gone.wait()
        self._end()

    # -- in threads

    def _pump(self) -> None:
        with suppress(OSError, EOFError):
            while data := self._chan.recv(CHUNK):
                self._tell(self._arrived, data)
                self._room.wait()
        self._tell(self._at_end)
        self._errors.join()
        # Set by an answer or by the end of the channel; -1 that no signal explains is no answer.
        status = self._chan.recv_exit_status()
        answered = status != -1 or getattr(self._chan, "signalled", False)
        self._tell(self._ending, status, not answered)

    def _pump_errors(self) -> None:
        with suppress(OSError, EOFError):
            while data := self._chan.recv_stderr(CHUNK):
                self._tell(self._complained, data)

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is gone: nobody listens any more
            self._loop.call_soon_threadsafe(what, *arguments)

    # -- in the loop

    def _arrived(self, data: bytes) -> None:
        self._out += data
        if len(self._out) > self._limit and not self._closing:
            self._room.clear()
        self._fresh.set()

    def _complained(self, data: bytes) -> None:
        self._err += data
        del self._err[:-MAX_STDERR]
        self._fresh.set()

    def _at_end(self) -> None:
        self._eof = True
        self._fresh.set()

    def _ending(self, status: int, lost: bool) -> None:
        self._status, self._lost = status, lost and not self._closing
        self._gone.set()
        self._fresh.set()
        self._end()

    def _unread(self) -> HostError:
        return HostError(
            self._host, "write", "the command ended before it read its input", command=self._command, tail=self.stderr
        )

    def _take(self, n: int) -> bytes:
        taken = bytes(self._out[:n])
        del self._out[:n]
        self._allow(self._limit)
        return taken

    def _allow(self, limit: int) -> None:
        self._limit = limit
        if len(self._out) <= limit:
            self._room.set()

    async def _arrival(self) -> None:
        self._fresh.clear()
        await self._fresh.wait()

    def _check_lost(self) -> None:
        if self._lost:
            raise HostUnreachable(self._host, "channel", "connection lost", command=self._command, tail=self.stderr)

    def _end(self) -> None:
        ended, self._ended = self._ended, _nothing
        ended()


def _nothing() -> None:
    return None
