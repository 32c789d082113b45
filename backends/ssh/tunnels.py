"""Jump hosts: one connection to each, shared by everything that goes through it.

A chain of jumps is a chain of shared connections: whoever goes through ``a, b`` shares
``a`` with those that only go through ``a``. A jump host is dialled and verified like any
other host, by the function that the caller hands in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final

import asyncssh

from sidestep.backends.ssh.target import SshTarget
from sidestep.backends.ssh.witness import Witness
from sidestep.fleet.errors import AuthenticationRefused, HostError, HostKeyRefused, HostUnreachable

#: seconds that a jump host without users is kept, so that a burst of reconnects does not shake hands again
IDLE: Final = 30.0
#: seconds that a jump host which did not answer is not tried again, whoever asks
SORE: Final = 1.0

Connected = tuple[asyncssh.SSHClientConnection, Witness]
#: dials one hop, through the connection of the hop before it
Handshake = Callable[[SshTarget, "Lease | None"], Awaitable[Connected]]


class Lease:
    """The right to go through a jump host. ``release`` must be called once it is no longer used."""

    def __init__(self, hop: _Hop, conn: asyncssh.SSHClientConnection) -> None:
        self.conn = conn
        self._hop, self._held = hop, True

    @property
    def name(self) -> str:
        """The jump host's name."""
        return self._hop.target.name

    @property
    def lost(self) -> str:
        """Why the jump host's connection ended; empty while it lasts."""
        return self._hop.why(self.conn)

    def release(self) -> None:
        """Give the right back; harmless when repeated."""
        if self._held:
            self._held = False
            self._hop.leave()


class Tunnels:
    """Every jump host's connection. Single threaded, like the event loop it lives on.

    Refusals (host key, authentication) are remembered until ``forgive``: a thousand hosts
    behind a jump host that refuses us must not knock a thousand times.
    """

    def __init__(self, *, idle: float = IDLE) -> None:
        self._idle = idle
        self._hops: dict[tuple[SshTarget, ...], _Hop] = {}

    async def lease(self, jumps: tuple[SshTarget, ...], handshake: Handshake, *, host: str) -> Lease | None:
        """The way through ``jumps`` (outermost first), for ``host``; None when there are none.

        Raises what dialling raises, saying at which jump host.
        """
        if not jumps:
            return None
        hop = self._hops.get(jumps)
        if hop is None:
            hop = self._hops[jumps] = _Hop(self, jumps, self._idle)
        hop.enter()
        try:
            conn = await hop.connected(handshake)
        except HostError as error:
            hop.leave()
            raise retold(error, host) from error
        except BaseException:
            hop.leave()
            raise
        return Lease(hop, conn)

    def forgive(self) -> int:
        """Forget refusals, so that jump hosts are tried again; returns how many there were."""
        refused = [hop for hop in self._hops.values() if hop.failure is not None]
        for hop in refused:
            hop.failure = None
        return len(refused)

    def state(self) -> tuple[tuple[str, int, str], ...]:
        """Name, users and last failure of every jump host, for people."""
        return tuple((str(h.target.name), h.users, str(h.failure or "")) for h in self._hops.values())

    async def aclose(self) -> None:
        """Close every jump host's connection, innermost first."""
        for jumps in sorted(self._hops, key=len, reverse=True):
            await self._hops[jumps].aclose()
        self._hops.clear()


class _Hop:
    """One jump host at the end of a chain of others: at most one connection, and who uses it."""

    def __init__(self, tunnels: Tunnels, jumps: tuple[SshTarget, ...], idle: float) -> None:
        self.target = jumps[-1]
        self.users = 0
        self.failure: HostError | None = None
        self._tunnels, self._before, self._idle = tunnels, jumps[:-1], idle
        self._until = -inf
        self._conn: asyncssh.SSHClientConnection | None = None
        self._witness: Witness | None = None
        self._opening: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._closing: asyncio.TimerHandle | None = None

    def enter(self) -> None:
        """One more user."""
        self.users += 1
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def leave(self) -> None:
        """One user less; the last one starts the clock."""
        self.users -= 1
        self._rest()

    async def connected(self, handshake: Handshake) -> asyncssh.SSHClientConnection:
        """The connection: the one there is, or a new one that everybody who asks meanwhile shares."""
        loop = asyncio.get_running_loop()
        if self._conn is not None and not self._conn.is_closed():
            return self._conn
        if self.failure is not None and loop.time() < self._until:
            raise self.failure
        if self._opening is None:
            self._opening = loop.create_task(self._open(handshake), name=f"jump {self.target.name}")
            self._opening.add_done_callback(self._opened)
        # A waiter that gives up must not end the handshake that others wait for.
        return await asyncio.shield(self._opening)

    def why(self, conn: asyncssh.SSHClientConnection) -> str:
        """Why that connection ended; empty while it lasts."""
        if not conn.is_closed():
            return ""
        lost = self._witness.lost if self._witness is not None and self._conn is conn else None
        return str(lost or "closed")

    async def aclose(self) -> None:
        """Close the connection, and wait until it is gone."""
        if self._closing is not None:
            self._closing.cancel()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait((self._opening,))
        if self._conn is not None:
            self._conn.abort()
            await self._conn.wait_closed()

    async def _open(self, handshake: Handshake) -> asyncssh.SSHClientConnection:
        lease = await self._tunnels.lease(self._before, handshake, host=self.target.name)
        try:
            conn, witness = await handshake(self.target, lease)
        except BaseException:
            if lease is not None:
                lease.release()
            raise
        if lease is not None:
            witness.goes_through(lease)
        self._conn, self._witness = conn, witness
        return conn

    def _opened(self, task: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
        self._opening, self.failure = None, None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, HostError):
            lasting = isinstance(error, HostKeyRefused | AuthenticationRefused) or not isinstance(
                error, HostUnreachable
            )
            self.failure = error
            self._until = inf if lasting else asyncio.get_running_loop().time() + SORE
        self._rest()

    def _rest(self) -> None:
        """Close after a while without users."""
        if self.users or self._opening is not None or self._conn is None or self._closing is not None:
            return
        self._closing = asyncio.get_running_loop().call_later(self._idle, self._close)

    def _close(self) -> None:
        self._closing = None
        if not self.users and self._conn is not None:
            self._conn.close()
            self._conn = None


def retold(error: HostError, host: str) -> HostError:
    """The jump host's failure as a failure of ``host``, of the same kind, naming the jump host."""
    kinds = (HostKeyRefused, AuthenticationRefused, HostUnreachable)
    kind = next((k for k in kinds if isinstance(error, k)), HostError)
    return kind(host, "connect", f"jump host {error.args[0]}", hint=error.hint)
