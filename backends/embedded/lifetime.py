"""How long a process of the demonstration lives: as long as whoever started it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable


async def _ignore(_line: bytes) -> None:
    """Nothing is taken on standard input."""


async def until_told(obey: Callable[[bytes], Awaitable[None]] = _ignore) -> None:
    """Return at the end of standard input, or on SIGTERM or SIGINT; hand every line before it to ``obey``.

    A thread reads, because standard input may be anything: a pipe, a terminal, /dev/null.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lines.put_nowait, None)
    threading.Thread(target=_read, args=(loop, lines), daemon=True).start()
    while (line := await lines.get()) is not None:
        await obey(line)


def _read(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[bytes | None]) -> None:
    pending = b""
    try:
        while data := os.read(0, 65536):
            *whole, pending = (pending + data).split(b"\n")
            for line in whole:
                loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, None)
    except RuntimeError:
        pass  # the loop has ended meanwhile
