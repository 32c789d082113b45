"""Connecting: what we ask of the host and what we accept from it; errors in our words."""

from __future__ import annotations

import asyncio
import getpass
import random
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import asyncssh

from sidestep.backends.ssh.algorithms import CERTIFIED, CIPHERS, HOST_KEYS
from sidestep.backends.ssh.hostkeys import HostKeys, Trust, known_as
from sidestep.backends.ssh.identity import Credentials, KeyRing
from sidestep.backends.ssh.target import SshTarget
from sidestep.backends.ssh.tunnels import Lease, Tunnels
from sidestep.backends.ssh.witness import Witness
from sidestep.fleet.errors import AuthenticationRefused, HostError, HostUnreachable

__all__ = ["Witness", "dial", "handshake", "shown_key"]

LOGIN_TIMEOUT: Final = 10.0
_FAMILIES: Final = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}


async def dial(
    target: SshTarget, keys: HostKeys, ring: KeyRing, tunnels: Tunnels
) -> tuple[asyncssh.SSHClientConnection, Witness]:
    """Connect and authenticate, through the target's jump hosts if it has any.

    Raises HostKeyRefused or AuthenticationRefused (not worth a retry), HostUnreachable, or
    HostError when the two have no algorithm in common. A jump host's failure is raised as
    the host's, of the same kind, and names the jump host.
    """
    lease = await tunnels.lease(target.jumps, partial(handshake, keys=keys, ring=ring), host=target.name)
    try:
        conn, witness = await handshake(target, lease, keys=keys, ring=ring)
    except BaseException:
        if lease is not None:
            lease.release()
        raise
    if lease is not None:
        witness.goes_through(lease)
    return conn, witness


async def handshake(
    target: SshTarget, lease: Lease | None, *, keys: HostKeys, ring: KeyRing
) -> tuple[asyncssh.SSHClientConnection, Witness]:
    """Connect to one host, straight or through the jump host that is leased."""
    keys, trust = await keys.judge(target)
    credentials = await ring.credentials(target)
    options = _options(target, trust, credentials)
    witness = Witness()
    if lease is not None:
        options["tunnel"] = lease.conn
    try:
        conn = await asyncssh.connect(target.address, target.port, client_factory=lambda: witness, **options)
    except asyncssh.HostKeyNotVerifiable as error:
        raise keys.explain(target.name, *known_as(target), witness.presented, str(error)) from error
    except asyncssh.PermissionDenied as error:
        raise AuthenticationRefused(
            target.name,
            "connect",
            f"user {options['username']} is refused with {credentials.said}",
            hint="add the public key to ~/.ssh/authorized_keys of that user, or set another user or identity",
        ) from error
    except asyncssh.KeyExchangeFailed as error:
        raise HostError(
            target.name, "connect", f"no algorithm in common: {error}", hint="update the host's OpenSSH"
        ) from error
    except (OSError, TimeoutError, asyncssh.Error) as error:
        raise _unreachable(target, lease, error) from error
    return conn, witness


async def shown_key(
    target: SshTarget, algorithms: Sequence[str], keys: HostKeys, ring: KeyRing, tunnels: Tunnels
) -> asyncssh.SSHKey | None:
    """The host key that ``target`` shows and proves to hold, without logging in; None if it has none of that kind.

    Jump hosts are verified and logged in to as ever. Raises HostError. The key is not to be
    trusted for being shown.
    """
    lease = await tunnels.lease(target.jumps, partial(handshake, keys=keys, ring=ring), host=target.name)
    options: dict[str, Any] = {"tunnel": lease.conn} if lease is not None else {}
    try:
        async with asyncio.timeout(target.connect_timeout):
            return await asyncssh.get_server_host_key(
                target.address,
                target.port,
                family=_FAMILIES[target.family],
                server_host_key_algs=list(algorithms),
                kex_algs=list(target.kex) or (),
                config=None,
                **options,
            )
    except asyncssh.KeyExchangeFailed:
        return None
    except (OSError, TimeoutError, asyncssh.Error) as error:
        raise _unreachable(target, lease, error) from error
    finally:
        if lease is not None:
            lease.release()


def _unreachable(target: SshTarget, lease: Lease | None, error: Exception) -> HostUnreachable:
    where = f"{target.address} port {target.port}"
    if lease is not None:
        where += f" through jump host {lease.name}" + (f", which was lost ({lease.lost})" if lease.lost else "")
    return HostUnreachable(target.name, "connect", _why(error, where, target.connect_timeout), hint=_hint(error))


def _why(error: BaseException, where: str, connect_timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer from {where} within {connect_timeout:g} s"
    return f"{where}: {error or type(error).__name__}"


def _hint(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "is sshd running on that port?"
    if isinstance(error, asyncssh.ChannelOpenError):
        forbidden = error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
        return "let the jump host's sshd forward there: AllowTcpForwarding, PermitOpen" if forbidden else ""
    if isinstance(error, asyncssh.Error):
        return "if the host is up, it may be at its limit of unauthenticated connections (MaxStartups)"
    return ""


def _options(target: SshTarget, trust: Trust, credentials: Credentials) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": target.user or getpass.getuser(),
        "config": None,
        # An explicit list: no file is read, and an empty one trusts nobody.
        "known_hosts": (
            list(trust.trusted),
            list(trust.authorities),
            list(trust.revoked if trust.authorities else ()),
        ),
        "x509_trusted_certs": None,
        "host_key_alias": target.host_key_alias or None,
        "family": _FAMILIES[target.family],
        "server_host_key_algs": _key_order(target, trust),
        "encryption_algs": list(target.ciphers or CIPHERS),
        "kex_algs": list(target.kex) or (),
        "mac_algs": list(target.macs) or (),
        "compression_algs": ["none"],
        "preferred_auth": "publickey",
        # The agent's keys are among these: it is asked over one connection for the whole fleet.
        "client_keys": list(credentials.keys or ()) or None,
        "agent_path": None,
        "agent_forwarding": False,
        "gss_host": None,
        "connect_timeout": target.connect_timeout,
        "login_timeout": LOGIN_TIMEOUT,
        "keepalive_interval": target.keepalive,
        "keepalive_count_max": target.keepalive_count,
        # Spread, or a thousand connections made together renew their keys together.
        "rekey_seconds": random.uniform(2700, 4500),  # noqa: S311 - not a secret
    }
    return options


def _key_order(target: SshTarget, trust: Trust) -> list[str]:
    """Algorithms of the keys we know first, so that the host shows one of those."""
    known = {"rsa-sha2-512" if k.get_algorithm() == "ssh-rsa" else k.get_algorithm() for k in trust.trusted}
    if "rsa-sha2-512" in known:
        known.add("rsa-sha2-256")
    allowed = target.host_key_algorithms or (*CERTIFIED, *HOST_KEYS)
    certified = [name for name in allowed if "-cert-" in name]
    plain = sorted((name for name in allowed if "-cert-" not in name), key=lambda name: name not in known)
    return [*(certified if trust.authorities else ()), *plain]
