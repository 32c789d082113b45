"""One node over one connection: commands one by one, or many in one write.

The wire is the well-kept ``redis`` library's; it is imported when the first connection is made. An answer that is an
error is a value here (``Refusal``) in a pipeline, and raised as HostError for a single command.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sidestep.backends.redis_cluster.access import Access, written
from sidestep.backends.secret import secret
from sidestep.fleet.errors import AuthenticationRefused, HostError, HostUnreachable, UsageError
from sidestep.fleet.labels import Label, scrub

if TYPE_CHECKING:
    from redis.asyncio.connection import Connection

Word = str | int | bytes
#: what a node answers: text is bytes; lists nest
Answer = object
#: commands in one write; more would keep the node from its clients for long
MOST: Final = 256
#: commands whose words are never shown: they may hold a password
_SILENT: Final = frozenset({"AUTH", "MIGRATE", "CONFIG", "ACL", "HELLO"})


class Refusal(Exception):
    """A node's answer that is an error: ``MOVED``, ``BUSYKEY`` and the like, scrubbed."""

    def __init__(self, text: str) -> None:
        super().__init__(scrub(text, 400))

    @property
    def code(self) -> str:
        """Its first word."""
        return str(self.args[0]).partition(" ")[0]


class Node:
    """A connection to one node, made anew when it broke. For one task at a time, which a lock sees to."""

    def __init__(self, host: str, port: int, access: Access) -> None:
        self.host, self.port, self.access = host, port, access
        self.name: Label = scrub(written(host, port))
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        #: whether it is Valkey; None until it was asked
        self._valkey: bool | None = None

    async def ask(self, *words: Word, step: str = "ask") -> Answer:
        """The answer to one command. Raises HostError, HostUnreachable."""
        (answer,) = await self.pipeline([words], step=step)
        if isinstance(answer, Refusal):
            raise HostError(self.name, step, str(answer), command=shown(words))
        return answer

    async def text(self, *words: Word, step: str = "ask") -> str:
        """The same, as text. Raises HostError also if it is none."""
        answer = await self.ask(*words, step=step)
        if isinstance(answer, bytes):
            return answer.decode("utf-8", "replace")
        if isinstance(answer, str):
            return answer
        raise HostError(self.name, step, "unexpected answer", command=shown(words))

    async def pipeline(self, commands: Sequence[Sequence[Word]], *, step: str = "ask") -> list[Answer]:
        """The answers in order, a ``Refusal`` for each that is an error. Raises HostUnreachable: some may be done."""
        answers: list[Answer] = []
        async with self._lock:
            for begin in range(0, len(commands), MOST):
                answers += await self._write(commands[begin : begin + MOST], step)
        return answers

    async def valkey(self) -> bool:
        """Whether it is Valkey, which has its replicas do SETSLOT first, and dies of it in MULTI. Raises HostError."""
        if self._valkey is None:
            self._valkey = "valkey_version:" in await self.text("INFO", "server", step="probe")
        return self._valkey

    async def together(self, commands: Sequence[Sequence[Word]], *, step: str) -> list[Answer]:
        """The answers to commands that are done all at once; by Valkey one after the other. Raises HostError."""
        if await self.valkey():
            return await self.pipeline(commands, step=step)
        answers = await self.pipeline([("MULTI",), *commands, ("EXEC",)], step=step)
        done = answers[-1]
        return done if isinstance(done, list) else [answers[-1]] * len(commands)

    async def overhear(self, seconds: float, most: int) -> list[bytes]:
        """What ``MONITOR`` says for so long, ``most`` lines of it. The connection is closed after it."""
        async with self._lock:
            lines = await self._write([("MONITOR",)], "overhear")
            if isinstance(lines[0], Refusal):
                raise HostError(self.name, "overhear", str(lines[0]), command="MONITOR")
            found: list[bytes] = []
            connection = self._connection
            assert connection is not None
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        while len(found) < most:
                            line = await connection.read_response(disable_decoding=True)
                            found += [line] if isinstance(line, bytes) else []
            except Exception as error:
                raise HostUnreachable(self.name, "overhear", f"{type(error).__name__}: {error}") from error
            finally:
                await self.aclose()
        return found

    async def aclose(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError, Exception):  # it is of no use any more, whatever ails it
                await connection.disconnect(nowait=True)

    async def _write(self, commands: Sequence[Sequence[Word]], step: str) -> list[Answer]:
        from redis.exceptions import AuthenticationError, RedisError, ResponseError  # noqa: PLC0415

        answers: list[Answer] = []
        try:
            # the library's own timeouts lose cancellations on Python 3.11
            async with asyncio.timeout(self.access.timeout):
                connection = self._connection or await self._open()
                await connection.send_packed_command(connection.pack_commands(commands))
                for _ in commands:
                    try:
                        answers.append(await connection.read_response(disable_decoding=True))
                    except ResponseError as error:
                        answers.append(Refusal(_words(error)))
        except AuthenticationError as error:
            await self.aclose()
            raise AuthenticationRefused(
                self.name, step, str(error), hint="look at --user and --password (docs/redis.md)"
            ) from None
        except (RedisError, OSError, TimeoutError) as error:
            await self.aclose()
            raise HostUnreachable(self.name, step, f"{type(error).__name__}: {error}") from error
        except BaseException:
            await self.aclose()  # answers would be read by the next
            raise
        return answers

    async def _open(self) -> Connection:
        from redis.asyncio.connection import Connection, SSLConnection  # noqa: PLC0415
        from redis.exceptions import ResponseError  # noqa: PLC0415

        access = self.access
        options: dict[str, Any] = {
            "host": self.host, "port": self.port, "username": access.user or None,
            "password": secret(access.password, "--password") or None, "socket_timeout": None,
            "socket_connect_timeout": access.timeout, "protocol": 2,
        }  # fmt: skip
        if access.tls:
            connection: Connection = SSLConnection(
                **options, ssl_ca_certs=access.ca or None, ssl_certfile=access.cert or None,
                ssl_keyfile=access.key or None,
            )  # fmt: skip
        else:
            connection = Connection(**options)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except ResponseError as error:  # a wrong password is one
            raise AuthenticationRefused(self.name, "connect", _words(error)) from None
        self._connection = connection
        return connection


class Nodes:
    """The connections to all nodes of one cluster, by address, opened when they are first needed."""

    def __init__(self, access: Access) -> None:
        ready()
        self.access = access
        self._open: dict[tuple[str, int], Node] = {}

    def at(self, host: str, port: int) -> Node:
        """The node at that address."""
        return self._open.setdefault((host, port), Node(host, port, self.access))

    async def aclose(self) -> None:
        """Close them all."""
        for node in self._open.values():
            await node.aclose()


def ready() -> None:
    """Raise UsageError where the library is missing."""
    try:
        import redis  # noqa: F401, PLC0415
    except ImportError:
        raise UsageError("clusters need the redis library", hint="pip install 'sidestep[redis]'") from None


def shown(words: Sequence[Word]) -> str:
    """A command as errors may show it: without what may be a secret."""
    first = [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in words[:6]]
    return first[0] if first and first[0].upper() in _SILENT else " ".join(first)


def _words(error: Exception) -> str:
    """What the node said; the library cuts the first word of some errors off."""
    code = getattr(error, "status_code", None)
    said = str(getattr(error, "message", None) or error)
    return f"{code} {said}" if code and code != "ERR" else said
