"""One blocking connection over paramiko, for plugins that work in threads and as a second opinion.

The same target, host keys and identities as the default transport, and none of its code: where
both agree, neither is alone in being wrong. Two things paramiko cannot do are refused with
their reason: host keys that only an authority vouches for, and compression is never asked for.
"""

from __future__ import annotations

import getpass
import io
import os
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncssh
import paramiko
from msgspec.structs import replace
from paramiko.common import MSG_CHANNEL_REQUEST

from sidestep.backends.ssh.hostkeys import HostKeys, known_as
from sidestep.backends.ssh.identity import Credentials
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.errors import AuthenticationRefused, HostError, HostKeyRefused, HostUnreachable

LOGIN_TIMEOUT: Final = 10.0
OPEN_TIMEOUT: Final = 15.0
_PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.5)
_CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr", "aes128-ctr")
_SIGNALS: Final = {"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "ABRT": 6, "FPE": 8, "KILL": 9, "USR1": 10, "SEGV": 11,
                   "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15}  # fmt: skip
_CLASSES: Final[dict[str, type[paramiko.PKey]]] = {
    "ssh-ed25519": paramiko.Ed25519Key,
    "ssh-rsa": paramiko.RSAKey,
    "ecdsa-sha2-nistp256": paramiko.ECDSAKey,
    "ecdsa-sha2-nistp384": paramiko.ECDSAKey,
    "ecdsa-sha2-nistp521": paramiko.ECDSAKey,
}


class _Transport(paramiko.Transport):
    """paramiko's transport that also learns by which signal a command was killed."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        handlers: dict[int, Any] = dict(vars(paramiko.Transport)["_channel_handler_table"])
        ordinary = handlers[MSG_CHANNEL_REQUEST]

        def request(channel: Any, message: Any) -> None:
            if message.get_text() == "exit-signal":
                message.get_boolean()
                channel.signalled = True
                channel.exit_status = -_SIGNALS.get(message.get_text(), 1)
                channel.status_event.set()
                return
            message.rewind()
            # as the dispatcher left it: behind the channel's number
            message.get_int()
            ordinary(channel, message)

        self._channel_handler_table = handlers | {MSG_CHANNEL_REQUEST: request}


class ParamikoConnection:
    """A connection and its jump hosts; every method blocks, and any thread may call it."""

    def __init__(self, target: SshTarget, keys: HostKeys, credentials: Mapping[SshTarget, Credentials]) -> None:
        """``credentials`` are those of the target and of every jump host of it."""
        self.target, self._keys, self._all = target, keys.of(target), credentials
        self._known = keys
        self._credentials = credentials[target]
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._transport: _Transport | None = None
        self._before: ParamikoConnection | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._transport is not None and self._transport.is_active()

    def connect(self) -> None:
        """Connect and authenticate; a no-op when connected.

        Raises HostKeyRefused, AuthenticationRefused, HostUnreachable, or HostError when the
        two have no algorithm in common.
        """
        with self._lock:
            if self.connected:
                return
            transport = self._greet(self._socket())
            try:
                self._check_key(transport)
                self._log_in(transport)
            except BaseException:
                transport.close()
                raise
            transport.set_keepalive(int(max(1, self.target.keepalive)))
            self._transport = transport

    def open(self, command: str, window: int) -> paramiko.Channel:
        """Start a command in the login shell. Raises HostError or HostUnreachable."""
        transport = self._transport
        if transport is None or not transport.is_active():
            raise HostUnreachable(self.target.name, "open", "not connected")
        try:
            # paramiko keeps the reason of a refusal for the whole connection: one asks at a time.
            with self._opening:
                channel = _session(transport, window)
            channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            kind = HostError if transport.is_active() else HostUnreachable
            raise kind(self.target.name, "open", f"no channel: {error}", command=command) from error
        return channel

    def close(self) -> None:
        """Close the connection, everything on it, and its own way through jump hosts."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
        if self._before is not None:
            self._before.close()

    # -- inside

    def _socket(self) -> Any:
        target = self.target
        try:
            if target.jumps:
                return self._through()
            plain = socket.create_connection((target.address, target.port), target.connect_timeout)
            # paramiko's keepalives want no answer: the kernel is to notice that nobody acknowledges them.
            silence = int(target.keepalive * (target.keepalive_count + 1) * 1000)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silence)
            return plain
        except TimeoutError as error:
            why = f"no answer from {target.address} port {target.port} within {target.connect_timeout:g} s"
            raise HostUnreachable(target.name, "connect", why) from error
        except (OSError, paramiko.SSHException) as error:
            why = f"{target.address} port {target.port}: {error}"
            hint = "is sshd running on that port?" if isinstance(error, ConnectionRefusedError) else ""
            raise HostUnreachable(target.name, "connect", why, hint=hint) from error

    def _through(self) -> Any:
        """A channel through the last jump host, which is reached through those before it."""
        *earlier, last = self.target.jumps
        jump = replace(last, jumps=tuple(earlier))
        self._before = ParamikoConnection(jump, self._known, {**self._all, jump: self._all[last]})
        try:
            self._before.connect()
        except HostError as error:
            message = f"jump host {last.name}: {error.args[0]}"
            raise type(error)(self.target.name, "connect", message, hint=error.hint) from error
        assert self._before._transport is not None
        return self._before._transport.open_channel(
            "direct-tcpip", (self.target.address, self.target.port), ("127.0.0.1", 0),
            timeout=self.target.connect_timeout,
        )  # fmt: skip

    def _greet(self, sock: Any) -> _Transport:
        transport = _Transport(sock)
        transport.banner_timeout = transport.auth_timeout = LOGIN_TIMEOUT
        options = transport.get_security_options()
        options.ciphers = tuple(c for c in (self.target.ciphers or _CIPHERS) if c in options.ciphers)
        options.key_types = self._key_order(options.key_types)
        try:
            transport.start_client(timeout=LOGIN_TIMEOUT)
        except paramiko.ssh_exception.IncompatiblePeer as error:
            transport.close()
            raise HostError(
                self.target.name, "connect", f"no algorithm in common: {error}", hint="update the host's OpenSSH"
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            transport.close()
            where = f"{self.target.address} port {self.target.port}"
            raise HostUnreachable(self.target.name, "connect", f"{where}: {error or type(error).__name__}") from error
        return transport

    def _key_order(self, offered: Sequence[str]) -> tuple[str, ...]:
        known = {k.get_algorithm() for k in self._trust().trusted}
        if "ssh-rsa" in known:
            known |= {"rsa-sha2-512", "rsa-sha2-256"}
        return tuple(sorted(offered, key=lambda name: name not in known))

    def _trust(self) -> Any:
        return self._keys.trust(*known_as(self.target))

    def _check_key(self, transport: _Transport) -> None:
        presented = transport.get_remote_server_key()
        blob, trust = presented.asbytes(), self._trust()
        revoked = any(key.public_data == blob for key in trust.revoked)
        if not revoked and any(key.public_data == blob for key in trust.trusted):
            return
        if trust.authorities and not trust.trusted and not revoked:
            raise HostKeyRefused(
                self.target.name, "connect", "only an authority vouches for its key, which paramiko cannot verify",
                hint="use the default transport, or add the key itself to known_hosts",
            )  # fmt: skip
        shown = asyncssh.import_public_key(f"{presented.get_name()} {b64encode(blob).decode()}")
        raise self._keys.explain(self.target.name, *known_as(self.target), shown)

    def _log_in(self, transport: _Transport) -> None:
        user = self.target.user or getpass.getuser()
        for key in self._private_keys():
            try:
                if not transport.auth_publickey(user, key):
                    return
            except paramiko.AuthenticationException:
                continue
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise HostUnreachable(self.target.name, "connect", f"lost while logging in: {error}") from error
        raise AuthenticationRefused(
            self.target.name, "connect", f"user {user} is refused with {self._credentials.said}",
            hint="add the public key to ~/.ssh/authorized_keys of that user, or set another user or identity",
        )  # fmt: skip

    def _private_keys(self) -> list[paramiko.PKey]:
        """Keys of files, and those of the agent that the ring has chosen, in the ring's order."""
        found: list[paramiko.PKey] = []
        held: dict[bytes, paramiko.PKey] | None = None
        for entry in self._credentials.keys or ():
            key, certificate = entry if isinstance(entry, tuple) else (entry, None)
            if isinstance(key, asyncssh.SSHKey):
                text = key.export_private_key("openssh").decode()
                converted = _CLASSES[key.get_algorithm()].from_private_key(io.StringIO(text))
                if certificate is not None:
                    converted.load_certificate(certificate.export_certificate().decode())
                found.append(converted)
                continue
            held = self._agent_keys() if held is None else held
            if (agent_key := held.get(bytes(key.public_data))) is not None:
                found.append(agent_key)
        return found

    def _agent_keys(self) -> dict[bytes, paramiko.PKey]:
        if self.target.agent not in ("", os.environ.get("SSH_AUTH_SOCK", "")):
            raise AuthenticationRefused(
                self.target.name, "connect", f"paramiko asks only the agent of SSH_AUTH_SOCK, not {self.target.agent}",
                hint="use the default transport, or set SSH_AUTH_SOCK",
            )  # fmt: skip
        return {key.asbytes(): key for key in paramiko.Agent().get_keys()}


def _session(transport: _Transport, window: int) -> paramiko.Channel:
    """A session; a host counts one that we have closed until its command has ended, so ask again for a while."""
    for pause in _PAUSES:
        try:
            return transport.open_session(window_size=window, timeout=OPEN_TIMEOUT)
        except paramiko.ChannelException:
            time.sleep(pause)
    return transport.open_session(window_size=window, timeout=OPEN_TIMEOUT)


def end_input(channel: Any) -> None:
    """Send end-of-file, but never after the close of a command that ends just now.

    paramiko's own way sends it outside the channel's lock; behind a close it names a channel
    that the server no longer has, and servers end the whole connection for that.
    """
    channel.transport.clear_to_send.wait(OPEN_TIMEOUT)
    with channel.lock:
        message = channel._send_eof()
        if message is not None:
            channel.transport._send_user_message(message)
