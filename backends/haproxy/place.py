"""Where HAProxy is: its runtime API and its files, on this machine or on a host over SSH."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from sidestep.backends import durable
from sidestep.backends.haproxy.host import talk
from sidestep.backends.haproxy.session import Session
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError, SidestepError
from sidestep.fleet.labels import scrub

#: seconds for the answers to one batch of commands
PATIENCE: Final = 10.0
_PAUSE: Final = 0.05


class Place(Protocol):
    """Runtime API and files of one HAProxy. Raises SidestepError."""

    @property
    def name(self) -> str:
        """How errors call it."""
        ...

    async def ask(self, commands: Sequence[str]) -> list[str]:
        """The answers to these commands, in order, each over a connection of its own."""
        ...

    async def read(self, path: str) -> bytes | None:
        """A file; None where there is none."""
        ...

    async def write(self, path: str, data: bytes) -> None:
        """Replace a file, whole or not at all, durable when this returns."""
        ...

    async def aclose(self) -> None:
        """Keep nothing open."""
        ...


class Here:
    """On this machine."""

    name = "this machine"

    def __init__(self, socket: str) -> None:
        self._socket = socket

    async def ask(self, commands: Sequence[str]) -> list[str]:
        """The answers. Raises SidestepError if nobody answers."""
        try:
            async with asyncio.timeout(PATIENCE):
                return [await self._insisted(command) for command in commands]
        except (OSError, TimeoutError) as error:
            raise silent(self._socket, str(error) or "no answer in time") from error

    async def read(self, path: str) -> bytes | None:
        """The file, or None."""
        return await asyncio.to_thread(_read, Path(path))

    async def write(self, path: str, data: bytes) -> None:
        """Replace it."""
        await asyncio.to_thread(replace_file, Path(path), data)

    async def aclose(self) -> None:
        """Nothing is kept open."""

    async def _insisted(self, command: str) -> str:
        """The answer; asked again for a while, since the master breaks connections off while it reloads."""
        until = asyncio.get_running_loop().time() + talk.RELOAD
        while True:
            try:
                return await self._one(command)
            except OSError:
                if asyncio.get_running_loop().time() > until:
                    raise
                await asyncio.sleep(_PAUSE)

    async def _one(self, command: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(f"{command}\n".encode())
            writer.write_eof()  # the master's socket waits for more otherwise
            return (await reader.read(-1)).decode("utf-8", "replace")
        finally:
            writer.close()


class There:
    """On a host of the fleet, reached as its shards are; it needs python3. One process there answers all questions."""

    def __init__(self, socket: str, transport: Callable[[], Transport]) -> None:
        self._socket, self._transport = socket, transport
        self._session: Session | None = None
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        """The host."""
        return self._transport().host

    async def ask(self, commands: Sequence[str]) -> list[str]:
        """The answers, in one question to the host. Raises SidestepError."""
        where = f"{self.name}:{self._socket}"
        try:
            status, said = await self._told("ask", self._socket, "".join(f"{c}\0" for c in commands).encode())
        except TimeoutError as error:
            raise silent(where, "no answer in time") from error
        if status != "ok":
            raise silent(where, scrub(said.decode("utf-8", "replace"), 400))
        answers = said.decode("utf-8", "replace").split("\0")
        if len(answers) != len(commands) + 1:
            raise silent(where, f"{len(answers) - 1} of {len(commands)} answers came")
        return answers[:-1]

    async def read(self, path: str) -> bytes | None:
        """The file, or None. Raises HostError."""
        return await self._file("read", path)

    async def write(self, path: str, data: bytes) -> None:
        """Replace it. Raises HostError."""
        await self._file("write", path, data)

    async def aclose(self) -> None:
        """End the process there."""
        session, self._session = self._session, None
        if session is not None:
            await session.aclose()

    async def _file(self, verb: str, path: str, data: bytes = b"") -> bytes | None:
        try:
            status, said = await self._told(verb, path, data)
        except TimeoutError as error:
            raise HostError(self.name, "router", f"no answer in {PATIENCE:g} s", command=f"{verb} {path}") from error
        if status == "error":
            text = scrub(said.decode("utf-8", "replace"), 400)
            raise HostError(self.name, "router", f"cannot {verb}: {text}", command=f"{verb} {path}")
        return said if status == "ok" else None

    async def _told(self, verb: str, path: str, body: bytes) -> tuple[str, bytes]:
        """Status and answer. Raises HostError, and TimeoutError; then the next question begins a new session."""
        session: Session | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                session = await self._begun()
                return await session.answer(verb, path, body)
        except TimeoutError:
            if session is not None and session is self._session:
                await self.aclose()
            raise

    async def _begun(self) -> Session:
        async with self._opening:
            transport = self._transport()
            if self._session is None or not self._session.serves(transport):
                await self.aclose()
                self._session = await Session.begin(transport)
            return self._session


def silent(where: str, why: str) -> SidestepError:
    """Nobody answers there."""
    return SidestepError(
        f"{where}: HAProxy does not answer: {why}",
        hint="is haproxy running there, with 'stats socket ... level admin' at that path? See: sidestep router config",
    )


def replace_file(path: Path, data: bytes) -> None:
    """Replace it durably. Raises SidestepError."""
    try:
        durable.replace_file(path, data)
    except OSError as error:
        raise SidestepError(
            f"{path}: cannot be written: {error.strerror}", hint="make the folder under [router], writable for sidestep"
        ) from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SidestepError(f"{path}: cannot be read: {error.strerror}", hint="put its permissions right") from error
