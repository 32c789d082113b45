"""Tells a service manager how the daemon is: the ``sd_notify`` protocol of systemd, over its unix datagram socket.

Without ``$NOTIFY_SOCKET`` nothing is sent and nothing fails. A manager that does not listen never
holds the daemon up: messages are sent without waiting, and one that cannot be sent is dropped.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

from sidestep.fleet.labels import scrub

SOCKET: Final = "NOTIFY_SOCKET"
WATCHDOG: Final = "WATCHDOG_USEC"
WATCHDOG_PID: Final = "WATCHDOG_PID"
#: characters of a status line
STATUS: Final = 200


class Notifier:
    """One service manager; ``watchdog`` is the seconds within which it wants a sign of life, 0 for none."""

    def __init__(self, address: str = "", *, watchdog: float = 0.0) -> None:
        # "@" stands for the NUL byte of Linux's abstract sockets
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog = watchdog if address else 0.0
        self._socket: socket.socket | None = None
        self._status = ""

    @classmethod
    def of(cls, environ: MutableMapping[str, str], *, pid: int | None = None) -> Notifier:
        """The manager that the environment names, which forgets it: no child is to speak for the daemon.

        Addresses other than paths and abstract names (``vsock:``) are not supported and count as none.
        """
        address = environ.pop(SOCKET, "")
        seconds, owner = environ.pop(WATCHDOG, ""), environ.pop(WATCHDOG_PID, "")
        if not address.startswith(("/", "@")):
            return cls()
        mine = not owner or owner == str(os.getpid() if pid is None else pid)
        return cls(address, watchdog=int(seconds) / 1e6 if mine and seconds.isdecimal() else 0.0)

    @property
    def listening(self) -> bool:
        """Whether there is a manager to tell."""
        return bool(self._address)

    def ready(self, status: str) -> bool:
        """The start, or a reload, is over."""
        return self._tell("READY=1", self._said(status))

    def reloading(self, status: str) -> bool:
        """A reload begins; ``ready`` ends it."""
        return self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", self._said(status))

    def stopping(self, status: str) -> bool:
        """The end begins."""
        return self._tell("STOPPING=1", self._said(status))

    def status(self, text: str) -> bool:
        """One line for people; nothing is sent while it stays the same."""
        return text != self._status and self._tell(self._said(text))

    def alive(self) -> bool:
        """The sign of life that the watchdog waits for."""
        return self._tell("WATCHDOG=1")

    def extend(self, seconds: float) -> bool:
        """The start goes on: wait for so long more, from now."""
        return self._tell(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def close(self) -> None:
        """Close the socket; closing twice is harmless."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _said(self, text: str) -> str:
        self._status = text
        # a line feed would begin another variable
        return f"STATUS={scrub(text, STATUS)}"

    def _tell(self, *lines: str) -> bool:
        """Send one datagram; False if there is nobody, or it did not get there."""
        if not self._address:
            return False
        with contextlib.suppress(OSError):
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto("\n".join(lines).encode(), self._address)
            return True
        return False
