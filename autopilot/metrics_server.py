"""Serves one page over HTTP: ``GET /metrics``, to whoever reaches the address. One connection, one answer.

Whatever a peer sends or fails to read ends at most its own connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from sidestep.fleet.config_operation import split

#: bytes and seconds that a request may take, and connections at a time
MOST: Final = 8192
DEADLINE: Final = 5.0
CONNECTIONS: Final = 8

#: the page and its content type, for the value of an Accept header
Page = Callable[[str], tuple[bytes, str]]


class MetricsServer:
    """``start`` binds; raises OSError if it cannot."""

    def __init__(self, listen: str, page: Page) -> None:
        self._listen, self._page = listen, page
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[object]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        address, _ = split(self._listen)
        try:
            return ipaddress.ip_address(address).is_loopback
        except ValueError:
            return address == "localhost"

    async def start(self) -> None:
        """Begin to serve."""
        address, port = split(self._listen)
        self._server = await asyncio.start_server(self._serve, address, port, limit=MOST)

    async def aclose(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.close()
        if self._open:
            await asyncio.wait(self._open, timeout=DEADLINE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, TimeoutError):
                if len(self._open) <= CONNECTIONS:
                    async with asyncio.timeout(DEADLINE):
                        writer.write(await self._answer(reader))
                        await writer.drain()
        finally:
            self._open.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ", 2)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            return _response(HTTPStatus.BAD_REQUEST, b"not a request\n")
        if method != "GET":
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"GET only\n")
        if target.partition("?")[0] != "/metrics":
            return _response(HTTPStatus.NOT_FOUND, b"see /metrics\n")
        headers = dict(line.lower().split(":", 1) for line in head[1:] if ":" in line)
        try:
            body, kind = self._page(headers.get("accept", "").strip())
        except Exception as error:  # noqa: BLE001 - the supervisor of scrapes: the daemon goes on, and the scraper is told
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}\n".encode())
        return _response(HTTPStatus.OK, body, kind)


def _response(status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body
