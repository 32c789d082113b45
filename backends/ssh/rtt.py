"""The round trip to a peer as the kernel knows it from the packets of a connection: nothing is sent."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Any, Final

#: where struct tcp_info has the smoothed round trip, and (since Linux 4.6) the least of the last minutes; microseconds
_SMOOTHED: Final = 68
_LEAST: Final = 148
_UNKNOWN: Final = 0xFFFFFFFF


def round_trip(connection: Any) -> float | None:
    """Seconds to the other end of an asyncssh connection's own socket; None through a tunnel or if not known.

    The least of the last minutes where the kernel has it: the smoothed one holds the time that
    a peer waits before it acknowledges.
    """
    sock = connection.get_extra_info("socket")
    number = sock.fileno() if sock is not None else -1
    if number < 0:
        return None
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as twin:
        if twin.family in (socket.AF_INET, socket.AF_INET6):
            return _from(twin.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LEAST + 4))
    return None


def _from(info: bytes) -> float | None:
    """Seconds from the bytes of a struct tcp_info, of which old kernels give fewer."""
    for place in (_LEAST, _SMOOTHED):
        if len(info) >= place + 4:
            (value,) = struct.unpack_from("=I", info, place)
            if 0 < value < _UNKNOWN:
                return float(value) / 1e6
    return None
