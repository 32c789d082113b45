"""A host that cannot even be dialled: what its configuration or its transport lacks, said on every attempt."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sidestep.backends.ssh.base import Channel, Completed, Feed, Receiver
from sidestep.fleet.errors import AuthenticationRefused, SidestepError


class Unresolved:
    """Stands where a host's transport would be, so that one wrong block leaves the rest of the fleet alone.

    ``connect`` raises AuthenticationRefused: like a refusal, it is not retried before
    somebody has changed something.
    """

    connected = False

    def __init__(self, host: str, error: SidestepError) -> None:
        self.host, self._error = host, error

    def _refusal(self) -> AuthenticationRefused:
        return AuthenticationRefused(self.host, "resolve", str(self._error.args[0]), hint=self._error.hint)

    async def connect(self) -> None:
        """Raise."""
        raise self._refusal()

    async def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        """Raise."""
        raise self._refusal()

    async def open(self, command: str) -> Channel:
        """Raise."""
        raise self._refusal()

    async def feed(self, command: str, receiver: Receiver) -> Feed:
        """Raise."""
        raise self._refusal()

    async def send(self, path: str, chunks: AsyncIterator[bytes], *, timeout: float = 60.0) -> str:
        """Raise."""
        raise self._refusal()

    def fetch(self, path: str, *, timeout: float = 60.0) -> AsyncIterator[bytes]:
        """Raise."""
        raise self._refusal()

    async def aclose(self) -> None:
        """Nothing to close."""
