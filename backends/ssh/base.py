"""What a transport is: run, stream and carry bytes to one host, over one connection.

Implementations raise HostUnreachable, HostKeyRefused or AuthenticationRefused when they
connect, HostUnreachable when the connection is lost, and never accept an unknown,
changed or revoked host key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from msgspec import Struct

from sidestep.fleet.errors import HostError


class Completed(Struct, frozen=True):
    """A command that ended: its exit status (negative for a signal) and what it wrote."""

    status: int
    stdout: bytes
    stderr: bytes


@runtime_checkable
class Channel(Protocol):
    """A running remote command with its three streams, as bytes."""

    async def readline(self, limit: int = 262144) -> bytes:
        """One line with its newline; b"" at the end. Raises ValueError for a line over ``limit``."""
        ...

    async def read(self, n: int) -> bytes:
        """Up to ``n`` bytes; b"" at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Write to standard input, waiting while the window is full."""
        ...

    async def finish_input(self) -> None:
        """Send end-of-file."""
        ...

    async def wait(self) -> Completed:
        """Wait for the end; ``stdout`` holds what was not read."""
        ...

    async def aclose(self) -> None:
        """Close the channel; the remote command sees end-of-file."""
        ...


@runtime_checkable
class Receiver(Protocol):
    """Takes what a stream says straight from where it arrives: must be quick and must not raise."""

    def data(self, data: bytes) -> None:
        """Bytes of standard output, in order, cut anywhere."""
        ...

    def end(self, error: HostError | None, stderr: bytes) -> None:
        """Called once, last: how it ended; None when the command ended by itself."""
        ...


@runtime_checkable
class Feed(Protocol):
    """A running remote command whose output goes to a Receiver."""

    def write(self, data: bytes) -> None:
        """Write a little to standard input (a lease, a payload below 1 MiB); silently lost once it ended."""
        ...

    async def aclose(self) -> None:
        """Close the channel; the remote command sees end-of-file. The Receiver is told."""
        ...


class Carried(Protocol):
    """A socket on a host whose connections come to a socket here."""

    async def wait_closed(self) -> None:
        """Return once it is carried no longer."""
        ...

    def close(self) -> None:
        """Take it away."""
        ...


@runtime_checkable
class CarriesSockets(Protocol):
    """A transport that can do that; not every one can."""

    async def carry_socket(self, path: str, local: str) -> Carried:
        """Listen at ``path`` on the host, for its user alone, and connect whoever comes to the socket ``local``.

        ``path`` is a link; anything else that is there stays, and is an error. Raises HostError.
        """
        ...


@runtime_checkable
class Transport(Protocol):
    """One host, one connection, several channels (at most eight sessions at a time)."""

    host: str

    async def connect(self) -> None:
        """Connect and authenticate; a no-op when connected. Raises the HostErrors above."""
        ...

    async def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        """Run a command in the login shell to its end. Raises HostError on timeout."""
        ...

    async def open(self, command: str) -> Channel:
        """Start a command and return its streams."""
        ...

    async def feed(self, command: str, receiver: Receiver) -> Feed:
        """Start a command in the login shell; its output is pushed to ``receiver``.

        For streams that never end, such as samples: no task and no buffer a host.
        """
        ...

    async def send(self, path: str, chunks: AsyncIterator[bytes], *, timeout: float = 60.0) -> str:
        """Write ``chunks`` to ``path`` (created 0600, replaced atomically); returns their SHA-256."""
        ...

    def fetch(self, path: str, *, timeout: float = 60.0) -> AsyncIterator[bytes]:
        """The bytes of ``path`` in chunks. Raises HostError if it cannot be read to the end."""
        ...

    async def aclose(self) -> None:
        """Close the connection and everything on it."""
        ...
