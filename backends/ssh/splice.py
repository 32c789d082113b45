"""Joining two hosts that both listen: bytes go from socket to socket, and are never looked at here.

What passes is TLS between the two hosts, so nobody has to decrypt and encrypt it on the way. With
``splice`` it does not even leave the kernel: a relay of this kind costs little more than the
two hosts' own work.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Final

#: bytes under way in the kernel between two sockets; more than an unprivileged user may have is not needed
ROOM: Final = 1 << 20
#: F_SETPIPE_SZ, which not every Python names
_SET_SIZE: Final = 1031


def possible() -> bool:
    """Whether this system can."""
    return hasattr(os, "splice")


@asynccontextmanager
async def joined(ends: list[tuple[str, int]], patience: float) -> AsyncGenerator[None, None]:
    """Connect to both addresses and pass on what each says, for as long as the block lasts.

    Raises OSError when one cannot be reached within ``patience`` seconds. That one hung up is not
    told here: the other sees it.
    """
    with ExitStack() as stack:
        reaching = [asyncio.to_thread(socket.create_connection, end, patience) for end in ends]
        reached = await asyncio.gather(*reaching, return_exceptions=True)
        sockets = [stack.enter_context(one) for one in reached if isinstance(one, socket.socket)]
        for one in reached:
            if isinstance(one, BaseException):
                raise one
        for one in sockets:
            one.settimeout(None)
        threads = ThreadPoolExecutor(len(sockets), "splice")
        try:
            passing = [
                asyncio.wrap_future(threads.submit(_pass_on, source, sink))
                for source, sink in (sockets, reversed(sockets))
            ]
            yield
        finally:
            for one in sockets:
                _hang_up(one)
            await asyncio.shield(asyncio.gather(*passing, return_exceptions=True))
            threads.shutdown()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Until the source has no more: then the sink is told so. Any error ends both."""
    inlet, outlet = -1, -1
    try:
        outlet, inlet = os.pipe()
        with suppress(OSError):
            fcntl.fcntl(inlet, _SET_SIZE, ROOM)
        while count := os.splice(source.fileno(), inlet, ROOM):
            while count:
                count -= os.splice(outlet, sink.fileno(), count)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        _hang_up(source)
        _hang_up(sink)
    finally:
        for one in (inlet, outlet):
            if one >= 0:
                os.close(one)


def _hang_up(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
