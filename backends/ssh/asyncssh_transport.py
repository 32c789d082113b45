"""The default transport: asyncssh, with strict host keys and nothing that asks on the terminal."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import asyncssh

from sidestep.backends.ssh.base import Carried, Feed, Receiver
from sidestep.backends.ssh.channel import AsyncsshChannel
from sidestep.backends.ssh.commands import Commands
from sidestep.backends.ssh.dial import dial
from sidestep.backends.ssh.fastlane import FastLane
from sidestep.backends.ssh.feed import PushFeed
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.readonly import AsyncsshReader, open_reader
from sidestep.backends.ssh.rtt import round_trip
from sidestep.backends.ssh.slim import slim
from sidestep.backends.ssh.sockets import carry_socket
from sidestep.backends.ssh.target import SshTarget
from sidestep.backends.ssh.tunnels import Tunnels
from sidestep.backends.ssh.witness import Witness
from sidestep.fleet.errors import HostError, HostUnreachable

#: OpenSSH allows ten sessions on a connection; two stay free for people
SESSIONS: Final = 8
WINDOW: Final = 2 << 20
CLOSE_DEADLINE: Final = 2.0
#: seconds between attempts to open a session
_REAPING: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 0.0)


class AsyncsshTransport(Commands):
    """One connection to one host; implements ``Transport``.

    ``ring`` holds the identities and ``tunnels`` the jump hosts that a fleet's transports share.
    """

    def __init__(
        self, target: SshTarget, keys: HostKeys, *, ring: KeyRing | None = None, tunnels: Tunnels | None = None
    ) -> None:
        super().__init__()
        self.host = target.name
        self._target, self._keys = target, keys
        self._ring = ring or KeyRing()
        self._tunnels = tunnels or Tunnels(idle=0.0)
        self._conn: asyncssh.SSHClientConnection | None = None
        self._lane: FastLane | None = None
        self._witness = Witness()
        self._connecting = asyncio.Lock()
        self._sessions = asyncio.Semaphore(SESSIONS)

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._conn is not None and not self._conn.is_closed()

    def round_trip(self) -> float | None:
        """Seconds that a packet takes there and back, from those that flow anyway; None when it is not known."""
        return round_trip(self._conn) if self._conn is not None and not self._conn.is_closed() else None

    def address(self) -> str | None:
        """The address at which this process itself reaches the host; None through a tunnel or a command."""
        sock = self._conn.get_extra_info("socket") if self.connected and self._conn is not None else None
        if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        return str(sock.getpeername()[0])

    async def connect(self) -> None:
        """Connect and authenticate; a no-op when connected.

        Raises HostKeyRefused, AuthenticationRefused (neither is worth a retry) or HostUnreachable.
        """
        async with self._connecting:
            if not self.connected:
                self._conn, self._witness = await dial(self._target, self._keys, self._ring, self._tunnels)
                slim(self._conn)
                self._lane = FastLane.lay(self._conn)

    async def open(self, command: str, *, window: int = WINDOW) -> AsyncsshChannel:
        """Start a command and return its streams; waits while eight sessions are open."""
        return await self.open_channel(command, window)

    async def open_channel(self, command: str, window: int) -> AsyncsshChannel:
        """The same with a window of so many bytes under way."""
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

    async def carry_socket(self, path: str, local: str) -> Carried:
        """Listen at ``path`` there and connect whoever comes to ``local`` here; no session. Raises HostError."""
        conn = self._connection("carry a socket")
        return await carry_socket(self.host, conn, self.run, lambda: self._attend(lambda: None), path, local)

    async def aclose(self) -> None:
        """Close the connection and everything on it."""
        await self.finish_cleaning()
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
