"""One pipelined connection to a shard, and what is known of a request when it breaks."""

from __future__ import annotations

import asyncio
from typing import Final

_CONNECT_SECONDS: Final = 2.0
_LONGEST_LINE: Final = 65536


class NotSent(Exception):
    """Not a byte of the request left us: it cannot have been applied, and may be sent again."""


class Unanswered(Exception):
    """The request was sent and the connection broke: nobody knows whether it was applied."""


class Upstream:
    """Sends lines ``VERB id …`` and matches answers ``WORD id …`` to them; connects when needed."""

    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address, port
        self._pending: dict[str, asyncio.Future[list[str]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def ask(self, verb: str, ident: str, *words: str) -> list[str]:
        """The words of the answer. Raises NotSent or Unanswered."""
        writer = await self._connected()
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._pending[ident] = answer
        try:
            writer.write(f"{' '.join((verb, ident, *words))}\n".encode())
            return await answer
        finally:
            self._pending.pop(ident, None)

    async def retire(self, seconds: float) -> None:
        """Close once nothing is awaited, and after ``seconds`` in any case."""
        if self._pending:
            await asyncio.wait(self._pending.values(), timeout=seconds)
        await self.aclose()

    async def aclose(self) -> None:
        """Close for good; requests that await an answer raise Unanswered, and those that came too late NotSent."""
        self._closed = True
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is not None:
                return self._writer
            self._check_open()
            try:
                reader, writer = await asyncio.wait_for(
                    asyncio.open_connection(self.address, self.port, limit=_LONGEST_LINE), _CONNECT_SECONDS
                )
            except (OSError, TimeoutError) as error:
                raise NotSent(f"{self.address}:{self.port}: {error}") from error
            if self._closed:
                writer.close()
            self._check_open()
            self._writer = writer
            self._listening = asyncio.create_task(self._listen(reader, writer))
            return writer

    def _check_open(self) -> None:
        """Raise NotSent once it is closed: whoever began to connect before that must not send after it."""
        if self._closed:
            raise NotSent(f"{self.address}:{self.port}: nothing is sent there any more")

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand out answers until the connection ends; then nobody gets one any more."""
        try:
            while line := await reader.readline():
                words = line.decode("utf-8", "replace").split()
                answer = self._pending.get(words[1]) if len(words) > 1 else None
                if answer is not None and not answer.done():
                    answer.set_result(words)
        except (OSError, ValueError):
            pass  # a broken or absurd connection ends as a closed one does
        finally:
            self._writer = None
            for answer in self._pending.values():
                if not answer.done():
                    answer.set_exception(Unanswered(f"{self.address}:{self.port} closed the connection"))
            writer.close()
