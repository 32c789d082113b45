"""The witness of a connection: refuses keys that we do not know, remembers them and the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import asyncssh


class Way(Protocol):
    """The jump host that a connection goes through."""

    @property
    def name(self) -> str:
        """Whose it is."""
        ...

    @property
    def lost(self) -> str:
        """Why it ended; empty while it lasts."""
        ...

    def release(self) -> None:
        """It is no longer needed."""
        ...


class Witness(asyncssh.SSHClient):
    """Asked only about keys that are not in our list: remembers them, and always says no."""

    presented: asyncssh.SSHKey | None = None
    lost: Exception | None = None

    def __init__(self) -> None:
        self._ended = False
        self._callbacks: list[Callable[[], None]] = []

    def goes_through(self, way: Way) -> None:
        """Give ``way`` back when the connection ends, and say so if it ended because of it."""

        def ended() -> None:
            if way.lost and self.lost is not None:
                self.lost = ConnectionError(f"jump host {way.name} was lost: {way.lost}")
            way.release()

        self.when_lost(ended)

    def when_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once the connection has ended, at once if it has."""
        if self._ended:
            callback()
        else:
            self._callbacks.append(callback)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Refuse; ``presented`` goes into the explanation."""
        self.presented = key
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Refuse an authority that is not in our list."""
        self.presented = key
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep why, for the next caller."""
        self.lost = exc
        self._ended = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
