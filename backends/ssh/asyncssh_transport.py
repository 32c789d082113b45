"""The default transport: asyncssh, with strict host keys and nothing that asks on the terminal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, suppress
from shlex import quote
from typing import Any, Final

import asyncssh

from sidestep.backends.ssh import carry
from sidestep.backends.ssh.base import Completed, Feed, Receiver
from sidestep.backends.ssh.channel import AsyncsshChannel
from sidestep.backends.ssh.dial import dial
from sidestep.backends.ssh.fastlane import FastLane
from sidestep.backends.ssh.feed import PushFeed
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.readonly import AsyncsshReader, open_reader
from sidestep.backends.ssh.target import SshTarget
from sidestep.backends.ssh.tunnels import Tunnels
from sidestep.backends.ssh.witness import Witness
from sidestep.fleet.errors import HostError, HostUnreachable

#: OpenSSH allows ten sessions on a connection; two stay free for people
SESSIONS: Final = 8
WINDOW: Final = 2 << 20
KILL_DEADLINE: Final = 5.0
CLOSE_DEADLINE: Final = 2.0
FEED: Final = 256 << 10
#: seconds between attempts to open a session
_REAPING: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 0.0)
_MARK: Final = "sidestep-pid:"


class AsyncsshTransport:
    """One connection to one host; implements ``Transport``.

    ``ring`` holds the identities and ``tunnels`` the jump hosts that a fleet's transports share.
    """

    def __init__(
        self, target: SshTarget, keys: HostKeys, *, ring: KeyRing | None = None, tunnels: Tunnels | None = None
    ) -> None:
        self.host: str = target.name
        self._target, self._keys = target, keys
        self._ring = ring or KeyRing()
        self._tunnels = tunnels or Tunnels(idle=0.0)
        self._conn: asyncssh.SSHClientConnection | None = None
        self._lane: FastLane | None = None
        self._witness = Witness()
        self._connecting = asyncio.Lock()
        self._sessions = asyncio.Semaphore(SESSIONS)
        self._tool = ""
        self._cleaners: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._conn is not None and not self._conn.is_closed()

    async def connect(self) -> None:
        """Connect and authenticate; a no-op when connected.

        Raises HostKeyRefused, AuthenticationRefused (neither is worth a retry) or HostUnreachable.
        """
        async with self._connecting:
            if not self.connected:
                self._conn, self._witness = await dial(self._target, self._keys, self._ring, self._tunnels)
                self._lane = FastLane.lay(self._conn)

    async def open(self, command: str, *, window: int = WINDOW) -> AsyncsshChannel:
        """Start a command and return its streams; waits while eight sessions are open."""
        await self._sessions.acquire()
        release = self._attend()
        channel = AsyncsshChannel(self.host, command, release, self._lane)
        await self._start(channel, command, window, lambda: channel.connection_lost(None))
        return channel

    async def feed(self, command: str, receiver: Receiver) -> Feed:
        """Start a command; its output is pushed to ``receiver``, perhaps before this returns."""
        await self._sessions.acquire()
        feed = PushFeed(self.host, command, receiver, self._lane, self._sessions.release)
        settle = self._attend(lambda: None)
        try:
            await self._start(feed, command, WINDOW, feed.abandon)
        finally:
            settle()
        return feed

    async def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        """Run a command with /bin/sh to its end.

        On timeout and when cancelled, its process group is killed through a second channel:
        closing the first would leave it running. Raises HostError on timeout.
        """
        channel: AsyncsshChannel | None = None
        try:
            async with asyncio.timeout(timeout):
                channel = await self.open(carry.shell(f"echo {_MARK}$$ >&2\n{command}"))
                done = await _exchange(channel, stdin)
        except TimeoutError as error:
            tail = _unmarked(channel.stderr) if channel is not None else b""
            if channel is not None:
                await self._kill(channel)
            raise HostError(
                self.host, "run", f"did not end within {timeout:g} s and was killed", command=command, tail=tail
            ) from error
        except BaseException:  # raised again: whatever ended us ends the command, too
            if channel is not None:
                self._later(self._kill(channel))
            raise
        await channel.aclose()
        return Completed(done.status, done.stdout, _unmarked(done.stderr))

    async def send(self, path: str, chunks: AsyncIterator[bytes], *, timeout: float = 60.0) -> str:
        """Write ``chunks`` to ``path`` (created 0600, replaced atomically); returns their SHA-256."""
        part = carry.part_of(path)
        written = False
        try:
            async with asyncio.timeout(timeout):
                self._tool = self._tool or await carry.digest_tool(self)
                digest = await carry.send(self, self._tool, part, path, chunks)
                written = True
        except TimeoutError as error:
            raise HostError(self.host, "send", f"{path} was not written within {timeout:g} s") from error
        finally:
            if not written and self.connected:
                self._later(carry.discard(self, part))
        return digest

    async def fetch(self, path: str, *, timeout: float = 60.0) -> AsyncIterator[bytes]:
        """The bytes of ``path`` in chunks. Raises HostError if it cannot be read to the end."""
        channel = await self.open(carry.shell(f"exec cat < {quote(path)}"), window=carry.WINDOW)
        async with aclosing(channel), aclosing(carry.receive(self.host, channel, path, timeout)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def reader(self) -> AsyncsshReader:
        """Read files over SFTP, for hosts that let nobody run a command; a session until it is closed."""
        await self._sessions.acquire()
        release = self._attend()
        try:
            conn = self._connection("read")
        except HostUnreachable:
            release()
            raise
        return await open_reader(self.host, conn, release)

    async def aclose(self) -> None:
        """Close the connection and everything on it."""
        if self._cleaners:
            await asyncio.wait(tuple(self._cleaners), timeout=KILL_DEADLINE)
        conn, self._conn = self._conn, None
        if conn is None:
            return
        conn.close()
        try:
            async with asyncio.timeout(CLOSE_DEADLINE):
                await conn.wait_closed()
        except TimeoutError:
            conn.abort()

    def _connection(self, step: str) -> asyncssh.SSHClientConnection:
        if self._conn is None or self._conn.is_closed():
            why = f"connection lost: {self._witness.lost}" if self._witness.lost else "not connected"
            raise HostUnreachable(self.host, step, why)
        return self._conn

    def _attend(self, then: Callable[[], None] | None = None) -> Callable[[], None]:
        """Have the connection read as things arrive, until what is returned is called, once."""
        lane, then = self._lane, then or self._sessions.release
        if lane is None:
            return then
        lane.attend()

        def settle() -> None:
            then()
            lane.settle()

        return settle

    async def _start(
        self, session: AsyncsshChannel | PushFeed, command: str, window: int, failed: Callable[[], None]
    ) -> None:
        opened = False
        try:
            for patience in _REAPING:
                try:
                    await self._connection("open").create_session(
                        lambda: session, command, encoding=None, window=window
                    )
                    opened = True
                    return
                except asyncssh.ChannelOpenError:
                    # Our sessions are fewer than a server allows, but it counts one until its process is reaped.
                    if not patience or not self.connected:
                        raise
                    await asyncio.sleep(patience)
        except (OSError, asyncssh.Error) as error:
            kind = HostError if self.connected else HostUnreachable
            raise kind(self.host, "open", f"no channel: {error}", command=command) from error
        finally:
            if not opened:
                failed()

    async def _kill(self, channel: AsyncsshChannel) -> None:
        """Kill the command's process group, and close its channel."""
        with suppress(HostError, TimeoutError):
            async with asyncio.timeout(KILL_DEADLINE), aclosing(channel):
                found = await channel.stderr_match(rb"(?m)^" + _MARK.encode() + rb"(\d+)$")
                if found is None or not self.connected:
                    return
                pid = int(found[1])
                # When the server gave the command no group of its own, -pid names nothing, and only it is hit.
                hit = "kill -s {0} -- -{1} 2>/dev/null || kill -s {0} {1} 2>/dev/null"
                script = f"{hit.format('TERM', pid)}\nsleep 0.3 || sleep 1\n{hit.format('KILL', pid)}\n:"
                async with aclosing(await self.open(carry.shell(script))) as killer:
                    await killer.wait()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._cleaners.add(task)
        task.add_done_callback(self._cleaners.discard)


def _unmarked(stderr: bytes) -> bytes:
    return re.sub(rb"(?m)^" + _MARK.encode() + rb"\d+\n", b"", stderr, count=1)


async def _exchange(channel: AsyncsshChannel, stdin: bytes) -> Completed:
    async def feed() -> None:
        # A command may end without reading its input: its status says whether that matters.
        with suppress(HostError):
            for at in range(0, len(stdin), FEED):
                await channel.write(stdin[at : at + FEED])
            await channel.finish_input()

    feeding = asyncio.ensure_future(feed())
    try:
        return await channel.wait()
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding
