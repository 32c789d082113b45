"""Reading a host's files over SFTP, and nothing else: for keys that let nobody run a command.

``restrict,command="internal-sftp -R"`` in authorized_keys gives such a key. Handles stay open,
so that a file of /proc costs one request each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, Protocol, TypeVar, runtime_checkable

import asyncssh

from sidestep.fleet.errors import HostError, HostUnreachable

#: most bytes of a file that are read
MOST: Final = 1 << 20
#: the same of a file that is not kept open: all of those are short
MOST_ONCE: Final = 16 << 10
#: most names of a folder; most requests under way at a time, whose answers may be large
MOST_NAMES: Final = 4096
AT_ONCE: Final = 64
#: a file of records, such as /proc/diskstats, comes a page at a time; a short part is its last
_SHORT: Final = 2048
_CHUNK: Final = 65536
T = TypeVar("T")


@runtime_checkable
class SftpReader(Protocol):
    """Files of one host, read only."""

    async def read_files(self, paths: Sequence[str], *, keep: bool = True) -> dict[str, bytes]:
        """What they say now; those that cannot be read are absent. ``keep`` leaves them open for the next time."""
        ...

    async def list_folder(self, path: str) -> list[str]:
        """Names in a folder, sorted; empty where it cannot be read."""
        ...

    async def existing(self, paths: Sequence[str]) -> set[str]:
        """Those of the paths that exist."""
        ...

    async def aclose(self) -> None:
        """Close the channel."""
        ...


@runtime_checkable
class OffersFiles(Protocol):
    """A transport that can read files without running a command; optional."""

    async def reader(self) -> SftpReader:
        """Open a channel for it. Raises HostError, HostUnreachable."""
        ...


class AsyncsshReader:
    """Implements ``SftpReader`` over asyncssh; ``ended`` is called once, when the channel is closed."""

    def __init__(self, host: str, client: asyncssh.SFTPClient, ended: Callable[[], None]) -> None:
        self._host, self._client, self._ended = host, client, ended
        self._kept: dict[str, asyncssh.SFTPClientFile] = {}
        self._closed = False
        self._room = asyncio.Semaphore(AT_ONCE)

    async def read_files(self, paths: Sequence[str], *, keep: bool = True) -> dict[str, bytes]:
        """What they say now; all are asked for at once."""
        found = await asyncio.gather(*(self._read(path, keep) for path in paths))
        return {path: data for path, data in zip(paths, found, strict=True) if data is not None}

    async def list_folder(self, path: str) -> list[str]:
        """Names in a folder, sorted; no more than MOST_NAMES: a host may have more to say than we can hold."""
        names: list[str] = []

        async def look() -> None:
            async with aclosing(self._client.scandir(path)) as entries:  # type: ignore[type-var]
                async for entry in entries:
                    if entry.filename not in (".", ".."):
                        names.append(str(entry.filename))
                    if len(names) == MOST_NAMES:
                        return

        await self._ask(look())
        return sorted(names)

    async def existing(self, paths: Sequence[str]) -> set[str]:
        """Those of the paths that exist."""
        found = await asyncio.gather(*(self._ask(self._client.exists(path)) for path in paths))
        return {path for path, there in zip(paths, found, strict=True) if there}

    async def aclose(self) -> None:
        """Close the channel."""
        if not self._closed:
            self._closed = True
            self._client.exit()
            self._ended()

    async def _read(self, path: str, keep: bool) -> bytes | None:
        file = self._kept.get(path) or await self._ask(self._client.open(path, "rb", encoding=None, block_size=0))
        if file is None:
            return None
        data = part = await self._part(file, 0)
        most = MOST if keep else MOST_ONCE
        while part is not None and len(part) > _SHORT and data is not None and len(data) < most:
            part = await self._part(file, len(data))
            data += part or b""
        if keep and data is not None:
            self._kept[path] = file
        else:
            self._kept.pop(path, None)
            await self._ask(file.close())
        return data[:most] if data is not None else None

    async def _part(self, file: asyncssh.SFTPClientFile, at: int) -> bytes | None:
        part = await self._ask(file.read(_CHUNK, at))
        return part if isinstance(part, bytes) else None

    async def _ask(self, answer: Awaitable[T]) -> T | None:
        """An answer; None when the host refuses this one request. Raises HostUnreachable."""
        try:
            async with self._room:
                return await answer
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, ConnectionError) as error:
            raise HostUnreachable(self._host, "read", f"connection lost: {error}") from error
        except asyncssh.SFTPError:
            return None


async def open_reader(host: str, conn: asyncssh.SSHClientConnection, ended: Callable[[], None]) -> AsyncsshReader:
    """Start SFTP on a connection. Raises HostError when the host does not offer it."""
    client: asyncssh.SFTPClient | None = None
    try:
        client = await conn.start_sftp_client()
        return AsyncsshReader(host, client, ended)
    except (OSError, asyncssh.Error) as error:
        raise HostError(host, "read", f"no SFTP: {error}", hint="Subsystem sftp must be in sshd_config") from error
    finally:
        if client is None:
            ended()
