"""Connecting: what we ask of the host and what we accept from it; errors in our words."""

from __future__ import annotations

import asyncio
import getpass
import random
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import asyncssh

from sidestep.backends.ssh.hostkeys import HostKeys, Trust
from sidestep.fleet.errors import AuthenticationRefused, HostError, HostUnreachable
from sidestep.fleet.inventory import HostSpec

KEEPALIVE: Final = 5.0
KEEPALIVE_COUNT: Final = 2
LOGIN_TIMEOUT: Final = 10.0
_CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")
_PLAIN: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_CERTIFIED: Final = tuple(f"{name}-cert-v01@openssh.com" for name in _PLAIN)


class Witness(asyncssh.SSHClient):
    """Asked only about keys that are not in our list: remembers them, and always says no."""

    presented: asyncssh.SSHKey | None = None
    lost: Exception | None = None

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


async def dial(
    spec: HostSpec, keys: HostKeys, identity: str, connect_timeout: float
) -> tuple[asyncssh.SSHClientConnection, Witness]:
    """Connect and authenticate.

    Raises HostKeyRefused or AuthenticationRefused (not worth a retry), HostUnreachable, or
    HostError when the two have no algorithm in common.
    """
    trust = await asyncio.to_thread(keys.trust, spec.address, spec.port)
    credentials = await asyncio.to_thread(_credentials, spec.name, identity)
    options = _options(spec, trust, credentials, connect_timeout)
    witness = Witness()
    try:
        conn = await asyncssh.connect(spec.address, spec.port, client_factory=lambda: witness, **options)
    except asyncssh.HostKeyNotVerifiable as error:
        raise keys.explain(spec.name, spec.address, spec.port, witness.presented) from error
    except asyncssh.PermissionDenied as error:
        raise AuthenticationRefused(
            spec.name,
            "connect",
            f"user {options['username']} is refused with {identity or 'the agent and the default keys'}",
            hint="add the public key to ~/.ssh/authorized_keys of that user, or set another user or identity",
        ) from error
    except asyncssh.KeyExchangeFailed as error:
        raise HostError(
            spec.name, "connect", f"no algorithm in common: {error}", hint="update the host's OpenSSH"
        ) from error
    except (OSError, TimeoutError, asyncssh.Error) as error:
        where = f"{spec.address} port {spec.port}"
        raise HostUnreachable(spec.name, "connect", _why(error, where, connect_timeout), hint=_hint(error)) from error
    return conn, witness


def _why(error: BaseException, where: str, connect_timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer from {where} within {connect_timeout:g} s"
    return f"{where}: {error or type(error).__name__}"


def _hint(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "is sshd running on that port?"
    if isinstance(error, asyncssh.Error):
        return "if the host is up, it may be at its limit of unauthenticated connections (MaxStartups)"
    return ""


def _credentials(host: str, identity: str) -> tuple[Any, ...] | None:
    if not identity:
        return None
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


def _options(
    spec: HostSpec, trust: Trust, credentials: tuple[Any, ...] | None, connect_timeout: float
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": spec.user or getpass.getuser(),
        "config": None,
        # An explicit list: no file is read, and an empty one trusts nobody.
        "known_hosts": (
            list(trust.trusted),
            list(trust.authorities),
            list(trust.revoked if trust.authorities else ()),
        ),
        "x509_trusted_certs": None,
        "server_host_key_algs": _key_order(trust),
        "encryption_algs": list(_CIPHERS),
        "compression_algs": ["none"],
        "preferred_auth": "publickey",
        "agent_forwarding": False,
        "gss_host": None,
        "connect_timeout": connect_timeout,
        "login_timeout": LOGIN_TIMEOUT,
        "keepalive_interval": KEEPALIVE,
        "keepalive_count_max": KEEPALIVE_COUNT,
        # Spread, or a thousand connections made together renew their keys together.
        "rekey_seconds": random.uniform(2700, 4500),  # noqa: S311 - not a secret
    }
    if credentials is None:
        options["ignore_encrypted"] = True
    else:
        options["client_keys"], options["agent_path"] = list(credentials), None
    return options


def _key_order(trust: Trust) -> list[str]:
    """Algorithms of the keys we know first, so that the host shows one of those."""
    known = {"rsa-sha2-512" if k.get_algorithm() == "ssh-rsa" else k.get_algorithm() for k in trust.trusted}
    if "rsa-sha2-512" in known:
        known.add("rsa-sha2-256")
    plain = sorted(_PLAIN, key=lambda name: name not in known)
    return [*(_CERTIFIED if trust.authorities else ()), *plain]


@lru_cache(maxsize=64)
def _identity(path: str, _changed: int) -> tuple[Any, ...]:
    """The private key, with its certificate if there is one beside it."""
    key = asyncssh.read_private_key(path)
    certificate = Path(f"{path}-cert.pub")
    if certificate.exists():
        return ((key, asyncssh.read_certificate(certificate)),)
    return (key,)
