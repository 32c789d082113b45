"""One request to one shard over a pooled connection: one line there, one line back.

A request is ``<VERB> <id> ...``; its answer is ``OK <id> <token> <text>`` or ``BUSY <id>``, and
a shard that answers BUSY has not applied it. What is known not to be applied may be sent
again, anything else never.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sidestep.fleet.errors import SidestepError

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MAX_LINE: Final = 65536


class NotApplied(SidestepError):
    """The request certainly had no effect: nobody listened, or the shard was busy."""


class AnswerLost(SidestepError):
    """The request was sent and no answer came: nobody knows whether it had an effect."""


class Exchange:
    """Connections to the shards, kept open between requests."""

    def __init__(self, connect_timeout: float = 2.0) -> None:
        self._timeout = connect_timeout
        self._idle: dict[tuple[str, int], list[Connection]] = {}

    async def send(self, address: str, port: int, line: bytes, deadline: float) -> tuple[int, bytes]:
        """The token and text of the shard's answer. Raises NotApplied or AnswerLost."""
        place = (address, port)
        reader, writer = await self._open(place)
        try:
            async with asyncio.timeout(deadline):
                writer.write(line)
                await writer.drain()
                answer = await reader.readline()
        except (OSError, TimeoutError, ValueError) as error:
            writer.close()
            raise AnswerLost(f"no answer from {address}:{port}: {error or 'timed out'}") from error
        if not answer.endswith(b"\n"):
            writer.close()
            raise AnswerLost(f"{address}:{port} closed the connection before it answered")
        word, ours, *rest = [*answer.split(None, 3), b"", b""]
        if ours != line.split(None, 2)[1]:
            writer.close()
            raise AnswerLost(f"{address}:{port} answered another request than ours")
        self._idle.setdefault(place, []).append((reader, writer))
        if word == b"BUSY":
            raise NotApplied(f"{address}:{port} takes no requests now")
        if word != b"OK" or not rest[0].isdigit():
            raise AnswerLost(f"{address}:{port} answered nothing that can be understood")
        return int(rest[0]), rest[1].rstrip(b"\n")

    async def _open(self, place: tuple[str, int]) -> Connection:
        idle = self._idle.get(place, [])
        while idle:
            reader, writer = idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.open_connection(*place, limit=MAX_LINE)
        except (OSError, TimeoutError) as error:
            raise NotApplied(f"{place[0]}:{place[1]} cannot be reached: {error or 'timed out'}") from error

    def forget(self) -> None:
        """Close idle connections, such as those to where a shard was."""
        for connections in self._idle.values():
            for _, writer in connections:
                writer.close()
        self._idle.clear()
