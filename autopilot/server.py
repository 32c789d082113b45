"""The daemon's unix socket: who may ask, in which version, and what one peer can cost.

Whatever a peer sends or fails to read ends at most its own connection. Requests of one
connection are answered in order; pictures go out newest first, and a subscriber that
cannot keep up misses pictures instead of making the daemon remember them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidestep.autopilot.client import peer_uid
from sidestep.autopilot.protocol import (
    HEADER,
    VERSION,
    Answer,
    Body,
    Done,
    Failure,
    Hello,
    Reply,
    Request,
    SnapshotFrame,
    Subscribe,
    frame_length,
    pack,
    parse_request,
)
from sidestep.autopilot.protocol_tables import without_tables
from sidestep.autopilot.server_lock import InstanceLock, private_folder, remove_socket
from sidestep.autopilot.server_service import Service, UnknownReference, actor_of, answer, failure_of
from sidestep.fleet.errors import ProtocolError, SidestepError, UsageError
from sidestep.fleet.labels import Label, scrub

__all__ = ["Server", "Service", "UnknownReference", "actor_of", "failure_of"]

#: a request is small; pictures go the other way
MAX_REQUEST: Final = 1 << 20
MAX_CONNECTIONS: Final = 64
MAX_RATE: Final = 20.0
#: seconds to say hello, to finish a frame that was begun, and to read what was sent
HELLO_TIMEOUT: Final = 5.0
FRAME_TIMEOUT: Final = 10.0
WRITE_TIMEOUT: Final = 30.0

PeerUid = Callable[[socket.socket], int]
Report = Callable[[str], None]


class Server:
    """Serves one socket. ``announce`` after every tick; subscribers then get ``service.frame()``."""

    def __init__(
        self, path: Path, service: Service, *, report: Report = lambda _: None, peer: PeerUid = peer_uid
    ) -> None:
        self.path = path
        self._service, self._report, self._peer = service, report, peer
        self._lock = InstanceLock(path.with_name(path.name + ".lock"))
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._frame: SnapshotFrame | None = None
        #: the newest picture as it travels, without its tables and with them
        self._packed: dict[bool, bytes] = {}

    def claim(self) -> None:
        """Take the socket's lock. Raises DaemonRunning or UsageError; call it before anything has effects."""
        if len(os.fsencode(self.path)) > 107:
            raise UsageError(f"{self.path}: a socket's path has at most 107 bytes", hint="name a shorter --socket")
        private_folder(self.path.parent)
        self._lock.acquire()

    async def start(self) -> None:
        """Serve; a socket that a dead daemon left behind is replaced."""
        remove_socket(self.path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(self.path))  # the folder is 0700, so nobody else gets in before chmod
            self.path.chmod(0o600)
            self._server = await asyncio.start_unix_server(self._accept, sock=listening)
        except BaseException:
            listening.close()
            raise

    async def aclose(self) -> None:
        """Stop serving, close every connection, remove the socket, release the lock."""
        if self._server is not None:
            self._server.close()
            for connection in tuple(self._connections):
                await connection.aclose()
            await self._server.wait_closed()
            self._server = None
            remove_socket(self.path)
        self._lock.release()

    def announce(self) -> None:
        """There is a newer picture."""
        self._frame, self._packed = None, {}
        for connection in self._connections:
            connection.newer.set()

    def picture(self, known: int | None) -> tuple[bytes, int] | None:
        """The newest picture for a subscriber with the tables of that number, and the number of its own.

        It is packed once for all subscribers that have its tables, and once for those that have not.
        """
        frame = self._frame = self._frame or self._service.frame()
        if frame is None:
            return None
        whole = frame.tables != known
        if whole not in self._packed:
            self._packed[whole] = pack(Reply(0, frame if whole else without_tables(frame)))
        return self._packed[whole], frame.tables

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, self._service, reader, writer, self._report)
        refused = self._refusal(writer)
        if refused is None:
            self._connections.add(connection)
        try:
            await connection.serve(refused, self._peer)
        finally:
            self._connections.discard(connection)

    def _refusal(self, writer: asyncio.StreamWriter) -> Failure | None:
        uid = self._peer(writer.get_extra_info("socket"))
        if uid not in (os.geteuid(), 0):
            self._report(f"user {actor_of(uid)} was refused at {self.path}")
            return Failure(code="forbidden", message=scrub("this daemon serves another user"))
        if len(self._connections) >= MAX_CONNECTIONS:
            return Failure(code="forbidden", message=scrub(f"{MAX_CONNECTIONS} connections are open; close one"))
        return None


class Connection:
    """One peer, from its hello to the end."""

    def __init__(
        self,
        server: Server,
        service: Service,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        report: Report,
    ) -> None:
        self._server, self._service, self._report = server, service, report
        self._reader, self._writer = reader, writer
        self._writing = asyncio.Lock()
        self._feed: asyncio.Task[None] | None = None
        self._rate = 1.0
        #: the tables that were sent last; whatever cannot be sent ends the connection
        self._tables: int | None = None
        self._task = asyncio.current_task()
        self.actor = Label("")
        self.newer = asyncio.Event()
        writer.transport.set_write_buffer_limits(high=0)

    async def serve(self, refused: Failure | None, peer: PeerUid) -> None:
        """Answer until the peer leaves or breaks the protocol."""
        try:
            if refused is not None:
                await self._send(pack(Reply(0, refused)))
                return
            self.actor = actor_of(peer(self._writer.get_extra_info("socket")))
            await self._greet()
            while True:
                request = await self._request(None)
                await self._send(pack(Reply(request.id, await self._answer(request.body))))
        except ProtocolError as error:
            with contextlib.suppress(OSError, TimeoutError):
                await self._send(pack(Reply(0, failure_of(error))))
        except (OSError, TimeoutError, EOFError, asyncio.CancelledError):
            pass
        finally:
            await self._end()

    async def aclose(self) -> None:
        """End this connection from outside."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _end(self) -> None:
        if self._feed is not None:
            self._feed.cancel()
            await asyncio.gather(self._feed, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 1.0)

    async def _greet(self) -> None:
        request = await self._request(HELLO_TIMEOUT)
        if not isinstance(request.body, Hello):
            raise ProtocolError("the first request must be hello")
        if request.body.version != VERSION:
            raise ProtocolError(
                f"version {request.body.version} was asked for, this daemon speaks {VERSION}",
                hint="use the console and the daemon of one installation",
            )
        await self._send(pack(Reply(request.id, self._service.welcome(self.actor))))

    async def _request(self, timeout: float | None) -> Request:
        """The next request. Raises EOFError between frames, ProtocolError within one."""
        first = await asyncio.wait_for(self._reader.read(1), timeout)
        if not first:
            raise EOFError
        try:
            async with asyncio.timeout(FRAME_TIMEOUT):
                header = first + await self._reader.readexactly(HEADER - 1)
                length = frame_length(header)
                if length > MAX_REQUEST:
                    raise ProtocolError(f"a request of {length} bytes was announced; at most {MAX_REQUEST} are allowed")
                data = await self._reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise ProtocolError("the frame was cut off") from error
        except TimeoutError as error:
            raise ProtocolError(f"the frame was not finished in {FRAME_TIMEOUT:.0f} s") from error
        request = parse_request(data)
        if request.id < 1:
            raise ProtocolError(f"request id {request.id}; ids begin at 1")
        return request

    async def _answer(self, body: Body) -> Answer:
        try:
            return (
                self._subscribe(body) if isinstance(body, Subscribe) else await answer(self._service, body, self.actor)
            )
        except SidestepError as error:
            return failure_of(error)
        except Exception as error:  # noqa: BLE001 - the supervisor of requests: one bad answer must not end the daemon
            self._report(f"{type(body).__name__} failed: {type(error).__name__}: {error}")
            return Failure(code="internal", message=scrub(f"{type(error).__name__}: {error}", 2000))

    def _subscribe(self, request: Subscribe) -> Answer:
        if not 0 < request.rate <= MAX_RATE:
            raise UsageError(f"rate {request.rate}: must be above 0 and at most {MAX_RATE:.0f} a second")
        self._rate, self._tables = request.rate, None
        self.newer.set()
        if self._feed is None:
            self._feed = asyncio.get_running_loop().create_task(self._stream(), name="sidestep-feed")
        return Done(scrub(f"at most {request.rate:g} pictures a second"))

    async def _stream(self) -> None:
        """Send the newest picture whenever there is a newer one and the peer has read the last."""
        try:
            while True:
                await self.newer.wait()
                self.newer.clear()
                picture = self._server.picture(self._tables)
                if picture is not None:
                    data, self._tables = picture
                    await self._send(data)
                    await asyncio.sleep(1 / self._rate)
        except (OSError, TimeoutError):
            self._writer.transport.abort()
        except Exception as error:  # noqa: BLE001 - the supervisor of the feed: the other requests are still answered
            self._report(f"the feed of {self.actor} ended: {type(error).__name__}: {error}")
            self._writer.transport.abort()

    async def _send(self, data: bytes) -> None:
        """Write one frame and wait until the peer's system has it. Raises OSError or TimeoutError."""
        async with self._writing:
            self._writer.write(data)
            await asyncio.wait_for(self._writer.drain(), WRITE_TIMEOUT)
