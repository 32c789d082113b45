"""The lock service's unix socket. Whatever a peer sends or fails to read ends at most its own connection."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from sidestep.autopilot.client import peer_uid
from sidestep.autopilot.locks.service import LockService
from sidestep.autopilot.locks.table import Seat
from sidestep.autopilot.server_lock import InstanceLock, private_folder, remove_socket
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label, scrub
from sidestep.locks.wire import (
    LONGEST_NOTE,
    MAX_REQUEST,
    VERSION,
    Answer,
    Frames,
    Hello,
    Refused,
    Reply,
    Request,
    Welcome,
    WireError,
    pack,
    parse_request,
)

MAX_CONNECTIONS: Final = 1024
#: seconds to say hello, and to finish a frame that was begun
_SWEEP: Final = 5.0
#: bytes of answers that a peer may leave unread
_UNREAD: Final = 1 << 20

#: bytes that a socket's path may have, and those that a door's number takes of them
_LONGEST: Final = 107
_DOOR: Final = 6

PeerUid = Callable[[socket.socket], int]


def socket_beside(control: Path) -> Path:
    """The lock socket of the daemon that serves ``control``: NAME.locks for NAME.sock.

    Not ``*.sock``: whoever looks for daemons does not find it, and no fleet has a socket of that name.
    """
    return control.with_name(f"{control.name.removesuffix('.sock')}.locks")


def _bound(path: Path) -> socket.socket:
    """A socket at ``path``, 0600, in place of one that a dead daemon left."""
    remove_socket(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))  # the folder is 0700, so nobody else gets in before chmod
        path.chmod(0o600)
    except BaseException:
        listening.close()
        raise
    return listening


class LockServer:
    """Serves one socket, 0600, to this user and root."""

    def __init__(
        self, path: Path, service: LockService, *, report: Callable[[str], None] = lambda _: None,
        peer: PeerUid = peer_uid,
    ) -> None:  # fmt: skip
        self.path = path
        self.service, self._report, self._peer = service, report, peer
        service.tell = self.tell
        self._lock = InstanceLock(path.with_name(path.name + ".lock"))
        self._server: asyncio.Server | None = None
        self._doors: dict[str, tuple[Path, asyncio.Server]] = {}
        self._connections: dict[int, Connection] = {}
        self._numbers = 0
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Serve; a socket that a dead daemon left is replaced. Raises DaemonRunning or UsageError."""
        if len(os.fsencode(self.path)) > _LONGEST - _DOOR:
            raise UsageError(
                f"{self.path}: a socket's path has at most {_LONGEST - _DOOR} bytes", hint="name a shorter --socket"
            )
        private_folder(self.path.parent)
        self._lock.acquire()
        try:
            self._server = await self._listen(self.path, "")
        except BaseException:
            self._lock.release()
            raise
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)

    async def door(self, host: str) -> Path:
        """A socket of its own for whoever comes from that host: the host's name is put before the holder's.

        Raises OSError.
        """
        if host not in self._doors:
            path = self.path.with_name(f"{self.path.name}.{len(self._doors)}")
            self._doors[host] = (path, await self._listen(path, host))
        return self._doors[host][0]

    async def aclose(self) -> None:
        """Stop serving; what is held stays in the journal, and is held after the next start."""
        if self._server is None:
            return
        server, self._server = self._server, None
        if self._sweeper is not None:
            self._sweeper.cancel()
        server.close()
        for path, door in self._doors.values():
            door.close()
            remove_socket(path)
        self._doors.clear()
        for connection in tuple(self._connections.values()):
            connection.abort()
        remove_socket(self.path)
        self.service.close()
        self._lock.release()

    def tell(self, seat: Seat, answer: Answer) -> None:
        """Send an answer that came later; whoever left gets none."""
        connection = self._connections.get(seat[0])
        if connection is not None:
            connection.send(Reply(seat[1], answer))

    def admit(self, connection: Connection, link: socket.socket) -> str:
        """Take a new connection; why not, or ""."""
        uid = self._peer(link)
        if uid not in (os.geteuid(), 0):
            self._report(f"user {uid} was refused at {self.path}")
            return "these locks are another user's"
        if len(self._connections) >= MAX_CONNECTIONS:
            return f"{MAX_CONNECTIONS} connections are open"
        self._numbers += 1
        connection.number = self._numbers
        self._connections[self._numbers] = connection
        return ""

    def gone(self, connection: Connection) -> None:
        """It ended."""
        if self._connections.pop(connection.number, None) is not None and self._server is not None:
            self.service.left(connection.number)

    async def _listen(self, path: Path, host: str) -> asyncio.Server:
        listening = _bound(path)
        try:
            loop = asyncio.get_running_loop()
            return await loop.create_unix_server(lambda: Connection(self, host), sock=listening, backlog=1024)
        except BaseException:
            listening.close()
            raise

    def _sweep(self) -> None:
        """End who said no hello, or left a frame unfinished, since the last time."""
        for connection in tuple(self._connections.values()):
            connection.sweep()
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)


class Connection(asyncio.Protocol):
    """One peer; ``host`` is where it is, "" for this machine."""

    def __init__(self, server: LockServer, host: str = "") -> None:
        self._server, self._host = server, host
        self._frames = Frames(MAX_REQUEST)
        self._holder: Label | None = None
        self._late = False
        self._transport: asyncio.Transport | None = None
        self.number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take or refuse it."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by their type
        if refused := self._server.admit(self, transport.get_extra_info("socket")):
            self._refuse("forbidden", refused)

    def data_received(self, data: bytes) -> None:
        """Answer whole frames, in order."""
        if not self.number:
            return
        try:
            for frame in self._frames.feed(data):
                if not self._ended():
                    self._take(parse_request(frame))
        except WireError as error:
            self._refuse("usage", str(error))
        if not self._frames.unfinished:
            self._late = False

    def connection_lost(self, _: Exception | None) -> None:
        """It ended, by whoever."""
        self._transport = None
        self._server.gone(self)

    def send(self, reply: Reply) -> None:
        """Send; who leaves too much unread is cut off."""
        if self._transport is None or self._ended():
            return
        self._transport.write(pack(reply))
        if self._transport.get_write_buffer_size() > _UNREAD:
            self.abort()

    def sweep(self) -> None:
        """Called now and then: twice the same unfinished business ends the connection."""
        if self._holder is not None and not self._frames.unfinished:
            self._late = False
        elif self._late:
            self.abort()
        else:
            self._late = True

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def _take(self, request: Request) -> None:
        body = request.body
        if isinstance(body, Hello):
            if body.version != VERSION:
                self._refuse("version", f"version {body.version} was asked for; this service speaks {VERSION}")
                return
            holder = f"{self._host}: {body.holder}" if self._host else body.holder
            self._holder = scrub(holder, LONGEST_NOTE)
            self.send(Reply(request.id, Welcome()))
        elif self._holder is None:
            self._refuse("usage", "the first request must be hello")
        else:
            answer = self._server.service.request((self.number, request.id), body, self._holder)
            if answer is not None:
                self.send(Reply(request.id, answer))

    def _ended(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _refuse(self, code: str, message: str) -> None:
        self.send(Reply(0, Refused(code, message)))
        if self._transport is not None:
            self._transport.close()
