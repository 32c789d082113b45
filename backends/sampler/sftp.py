"""Samples a host that lets nobody run anything: its files read over SFTP, records made here."""

from __future__ import annotations

from typing import Final, NoReturn

from sidestep.backends.ssh.base import Receiver, Transport
from sidestep.fleet.errors import HostError

#: what OpenSSH says when a key's forced command is internal-sftp
_ONLY_FILES: Final = b"This service allows sftp connections only."


async def only_files(transport: Transport) -> bool:
    """Whether the host refuses to run commands, but offers its files."""
    done = await transport.run("exit 0", timeout=15.0)
    return done.status != 0 and _ONLY_FILES in done.stdout + done.stderr


async def follow_files(transport: Transport, fleet: str, interval: float, taken: Receiver) -> NoReturn:
    """Read and record until the connection is lost. Raises HostError, HostUnreachable."""
    raise HostError(transport.host, "sample", "this transport cannot read files over SFTP")
