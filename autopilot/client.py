"""How a front end talks to the daemon: one call, one answer, and a stream of pictures.

``Client`` is for commands, ``AsyncClient`` for screens. Both refuse a socket that is not
the caller's own, since whoever serves it is told what to move. Reconnecting is the
caller's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Final

from sidestep.autopilot.protocol import (
    HEADER,
    Answer,
    Body,
    Failure,
    Hello,
    Reply,
    Request,
    SnapshotFrame,
    Subscribe,
    Welcome,
    frame_length,
    pack,
    parse_reply,
)
from sidestep.autopilot.protocol_tables import with_tables
from sidestep.fleet.errors import ProtocolError, SidestepError, UsageError
from sidestep.fleet.labels import Label

#: seconds within which the daemon answers; a call never starts anything that it waits for
TIMEOUT: Final = 30.0
#: bytes that are read before anybody takes them: a whole picture, else the line is stopped and started within it
_READ_AHEAD: Final = 1 << 21
#: codes that mean "you asked wrongly", against "it cannot be done now"
_USAGE: Final = frozenset({"usage", "unknown"})


class DaemonMissing(SidestepError):
    """Nobody serves the socket."""


class DaemonLost(SidestepError):
    """The connection ended, or no answer came in time."""


class Refused(SidestepError):
    """The daemon said no; ``code`` is that of the Failure.

    ``differences`` says, for ``stale``, what is no longer as planned.
    """

    def __init__(self, failure: Failure) -> None:
        shown = "".join(f"\n  {line}" for line in failure.differences if line not in failure.message)
        super().__init__(failure.message, hint=failure.hint)
        self.code: str = failure.code
        self.differences: tuple[Label, ...] = failure.differences
        self._shown = shown

    def __str__(self) -> str:
        text = f"{self.args[0]}{self._shown}"
        return f"{text}\n  remedy: {self.hint}" if self.hint else text


def error_of(failure: Failure) -> SidestepError:
    """The error to raise for a Failure: UsageError, ProtocolError or Refused."""
    if failure.code in _USAGE:
        return UsageError(failure.message, hint=failure.hint)
    if failure.code == "protocol":
        return ProtocolError(failure.message, hint=failure.hint)
    return Refused(failure)


def peer_uid(connected: socket.socket) -> int:
    """The user id of the process at the other end of a unix socket (SO_PEERCRED)."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


def _missing(path: Path) -> DaemonMissing:
    return DaemonMissing(f"no daemon at {path}", hint="start one: sidestep autopilot")


def _open(path: Path, timeout: float) -> socket.socket:
    """A connected socket whose file and server are ours. Raises DaemonMissing or SidestepError."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path) from None
    except OSError as error:
        raise SidestepError(f"{path}: {error.strerror}", hint="name the daemon's socket with --socket") from error
    if not stat.S_ISSOCK(status.st_mode):
        raise UsageError(f"{path} is not a socket", hint="name the daemon's socket with --socket")
    if status.st_uid != os.geteuid():
        raise SidestepError(
            f"{path} belongs to user {status.st_uid}, not to you; it may be a trap",
            hint="run the command as the user who runs the daemon",
        )
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(timeout)
        connected.connect(str(path))
        uid = peer_uid(connected)
    except (ConnectionError, FileNotFoundError):
        connected.close()
        raise _missing(path) from None
    except OSError as error:
        connected.close()
        raise SidestepError(f"{path}: {error}", hint="a socket's path has at most 107 bytes") from error
    if uid != os.geteuid():
        connected.close()
        raise SidestepError(f"{path} is served by user {uid}, not by you", hint="end that process and remove the file")
    return connected


def _answer(reply: Reply) -> Answer:
    if isinstance(reply.body, Failure):
        raise error_of(reply.body)
    return reply.body


def _welcome(answer: Answer) -> Welcome:
    if not isinstance(answer, Welcome):
        raise ProtocolError(f"the daemon greeted with {type(answer).__name__}, not Welcome")
    return answer


class Client:
    """One connection for commands, used in a ``with`` block.

    Every call raises UsageError (exit code 2) for something unknown or unusable, Refused
    for what cannot be done now, DaemonLost when the connection ends.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._next = 0
        self.welcome: Welcome | None = None

    @classmethod
    def connect(cls, path: Path | str, *, name: str = "sidestep", timeout: float = TIMEOUT) -> Client:
        """Connect and say hello. Raises DaemonMissing if nobody serves ``path``."""
        client = cls(_open(Path(path), timeout))
        try:
            client.welcome = _welcome(client.call(Hello(client=name)))
        except BaseException:
            client.close()
            raise
        return client

    def call(self, body: Body) -> Answer:
        """Send one request and wait for its answer."""
        self._next += 1
        with contextlib.suppress(OSError):  # a daemon that refuses closes at once; what it said can still be read
            self._socket.sendall(pack(Request(self._next, body)))
        while True:
            reply = parse_reply(self._exactly(frame_length(self._exactly(HEADER))))
            if reply.id == self._next or isinstance(reply.body, Failure):
                return _answer(reply)

    def _exactly(self, count: int) -> bytes:
        parts: list[bytes] = []
        missing = count
        while missing:
            try:
                part = self._socket.recv(min(missing, 1 << 20))
            except TimeoutError as error:
                raise DaemonLost(f"the daemon did not answer in {self._socket.gettimeout():.0f} s") from error
            except OSError as error:
                raise DaemonLost(f"the connection to the daemon broke: {error}") from error
            if not part:
                raise DaemonLost("the daemon closed the connection", hint="its log says why")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """One connection for a screen: calls and the newest picture, side by side.

    A reader that is slower than the daemon skips pictures; it never falls behind. Every
    picture that it gets is whole, and tables that did not change are the same objects.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float) -> None:
        self._reader, self._writer, self._timeout = reader, writer, timeout
        self._next = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._newest: SnapshotFrame | None = None
        #: the latest picture that came, read or skipped
        self._latest: SnapshotFrame | None = None
        self._wake = asyncio.Event()
        self._error: SidestepError | None = None
        self._task = asyncio.get_running_loop().create_task(self._read(), name="sidestep-client")
        self.welcome: Welcome | None = None

    @classmethod
    async def connect(cls, path: Path | str, *, name: str = "sidestep", timeout: float = TIMEOUT) -> AsyncClient:
        """Connect and say hello. Raises DaemonMissing if nobody serves ``path``."""
        connected = _open(Path(path), timeout)
        connected.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=connected, limit=_READ_AHEAD)
        client = cls(reader, writer, timeout)
        try:
            client.welcome = _welcome(await client.call(Hello(client=name)))
        except BaseException:
            await client.aclose()
            raise
        return client

    async def call(self, body: Body) -> Answer:
        """Send one request and wait for its answer; raises what ``Client.call`` raises."""
        if self._error is not None:
            raise self._error
        self._next += 1
        number = self._next
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            with contextlib.suppress(ConnectionError):  # the reader tells why
                self._writer.write(pack(Request(number, body)))
                await self._writer.drain()
            return await asyncio.wait_for(future, self._timeout)
        except TimeoutError as error:
            raise DaemonLost(f"the daemon did not answer in {self._timeout:.0f} s") from error
        finally:
            self._waiting.pop(number, None)

    async def subscribe(self, rate: float = 2.0) -> AsyncIterator[SnapshotFrame]:
        """The newest picture, then every newer one, at most ``rate`` a second.

        Raises DaemonLost when the connection ends.
        """
        await self.call(Subscribe(rate))
        while True:
            await self._wake.wait()
            self._wake.clear()
            frame, self._newest = self._newest, None
            if frame is not None:
                yield frame
            elif self._error is not None:
                self._wake.set()
                raise self._error

    async def aclose(self) -> None:
        """Close the connection; whoever waits gets DaemonLost."""
        self._task.cancel()
        self._writer.close()
        await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        self._end(DaemonLost("the connection was closed"))

    async def _read(self) -> None:
        try:
            while True:
                header = await self._reader.readexactly(HEADER)
                self._take(parse_reply(await self._reader.readexactly(frame_length(header))))
        except (asyncio.IncompleteReadError, OSError):
            self._end(DaemonLost("the daemon closed the connection", hint="its log says why"))
        except SidestepError as error:
            self._end(error)

    def _take(self, reply: Reply) -> None:
        body = reply.body
        future = self._waiting.get(reply.id)
        if reply.id == 0 and isinstance(body, SnapshotFrame):
            self._newest = self._latest = with_tables(body, self._latest)
            self._wake.set()
        elif reply.id == 0 and isinstance(body, Failure):
            raise error_of(body)
        elif future is not None and not future.done():
            if isinstance(body, Failure):
                future.set_exception(error_of(body))
            else:
                future.set_result(body)

    def _end(self, error: SidestepError) -> None:
        self._error = self._error or error
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._error)
        self._wake.set()
