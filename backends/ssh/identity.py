"""As whom we log in: private keys and their certificates, and the agent. Each file is parsed once."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from pathlib import Path
from typing import Any

import asyncssh
from msgspec import Struct

from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.errors import AuthenticationRefused


class Credentials(Struct, frozen=True):
    """What one connection may log in with, best first, and how to call it in an error."""

    #: for asyncssh's ``client_keys``: keys, (key, certificate) pairs and the agent's key pairs; None: its defaults
    keys: tuple[Any, ...] | None
    said: str


class KeyRing:
    """Every private key, certificate and agent that the fleet's hosts are logged in to with.

    ``passphrase`` says where the passphrase of encrypted keys comes from ("file:PATH" or
    "command:LINE"); the passphrase itself is never in a command line, a log or an error.
    """

    def __init__(self, *, passphrase: str = "") -> None:
        self._passphrase = passphrase

    async def credentials(self, target: SshTarget) -> Credentials:
        """What to log in to ``target`` with. Raises AuthenticationRefused for a key that cannot be used."""
        if not target.identities:
            return Credentials(None, "the agent and the default keys")
        keys = await asyncio.to_thread(_credentials, target.name, target.identities[0])
        return Credentials(keys, target.identities[0])

    async def aclose(self) -> None:
        """Close the connections to agents."""


def _credentials(host: str, identity: str) -> tuple[Any, ...]:
    path = Path(identity).expanduser()
    try:
        return _identity(str(path), path.stat().st_mtime_ns)
    except OSError as error:
        raise AuthenticationRefused(host, "connect", f"identity {path} cannot be read: {error.strerror}") from error
    except asyncssh.KeyImportError as error:
        raise AuthenticationRefused(
            host,
            "connect",
            f"identity {path} cannot be used: {error}",
            hint="load an encrypted key into ssh-agent and leave the identity empty",
        ) from error


@lru_cache(maxsize=64)
def _identity(path: str, _changed: int) -> tuple[Any, ...]:
    """The private key, with its certificate if there is one beside it."""
    key = asyncssh.read_private_key(path)
    certificate = Path(f"{path}-cert.pub")
    if certificate.exists():
        return ((key, asyncssh.read_certificate(certificate)),)
    return (key,)
