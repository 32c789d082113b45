"""A service manager: a real unix datagram socket, and what came to it."""

from __future__ import annotations

import socket
from pathlib import Path


class Manager:
    """Bound to a path, or to an abstract name that begins with "@"."""

    def __init__(self, address: Path | str) -> None:
        self.address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:] if self.address.startswith("@") else self.address)
        self._socket.setblocking(False)
        self.messages: list[dict[str, str]] = []

    def read(self) -> list[dict[str, str]]:
        """The messages since the last time."""
        fresh: list[dict[str, str]] = []
        while True:
            try:
                data = self._socket.recv(65536).decode()
            except BlockingIOError:
                break
            fresh.append(dict(line.split("=", 1) for line in data.split("\n")))
        self.messages += fresh
        return fresh

    def has(self, key: str, value: str = "") -> bool:
        """Whether any message so far said that."""
        self.read()
        return any(key in message and value in message[key] for message in self.messages)

    def count(self, key: str) -> int:
        """Messages so far with that variable."""
        self.read()
        return sum(key in message for message in self.messages)

    def close(self) -> None:
        self._socket.close()
