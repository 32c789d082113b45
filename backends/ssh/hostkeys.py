"""Host keys: known_hosts files, parsed once, and the decision about a presented key.

The decision is ours and comes before the SSH library accepts anything: unknown, changed and
revoked keys are refused, and there is no way to ask for anything weaker. Addresses are not
checked beside names (CheckHostIP): a key belongs to the name that the fleet file gives.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncssh

from sidestep.backends.ssh.hostkeys_file import AUTHORITY, REVOKED, Hidden, KnownKey, read
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.errors import HostKeyRefused

SSH_PORT: Final = 22


@dataclass(frozen=True)
class Trust:
    """What the files say about one host; the keys are already free of revoked ones."""

    trusted: tuple[asyncssh.SSHKey, ...]
    authorities: tuple[asyncssh.SSHKey, ...]
    revoked: tuple[asyncssh.SSHKey, ...]
    #: the lines that these were found in
    lines: tuple[KnownKey, ...] = ()


class HostKeys:
    """Everything that known_hosts files say. ``load`` is the only maker.

    Thread safe. A name is looked up once; a hashed line is compared with names until it is
    found to be about one, and then it is found by name like any other.
    """

    def __init__(self, files: tuple[str, ...], lines: Iterable[KnownKey]) -> None:
        self.files = files
        self.source = ", ".join(files)
        self._lock = threading.Lock()
        self._take(lines)

    def _take(self, lines: Iterable[KnownKey]) -> None:
        self._literal: dict[str, list[KnownKey]] = {}
        self._patterns: list[KnownKey] = []
        self._hidden: list[Hidden] = []
        self._found: dict[tuple[str, int], Trust] = {}
        self._others: dict[tuple[str, ...], HostKeys] = {}
        for known in lines:
            if known.hashed:
                self._hidden.append(Hidden(known))
            elif known.literal:
                for name in known.hosts.split(","):
                    self._literal.setdefault(name.lower(), []).append(known)
            else:
                self._patterns.append(known)

    @classmethod
    def load(cls, *paths: str | Path) -> HostKeys:
        """Parse the files; a missing one knows no host. Raises ConfigError naming file and line."""
        files = [Path(path).expanduser() for path in paths]
        return cls(tuple(str(file) for file in files), (known for file in files for known in read(file)))

    def reload(self) -> None:
        """Read the files again, for everybody who holds this: what is revoked now is refused at the next handshake.

        Raises ConfigError, and then knows what it knew before.
        """
        lines = [known for file in self.files for known in read(Path(file))]
        with self._lock:
            self._take(lines)

    def of(self, target: SshTarget) -> HostKeys:
        """The host keys that count for ``target``: of the files that ssh_config names for it, or these.

        Reads files the first time. Raises ConfigError.
        """
        if not target.known_hosts or target.known_hosts == self.files:
            return self
        with self._lock:
            other = self._others.get(target.known_hosts)
            if other is None:
                other = self._others[target.known_hosts] = HostKeys.load(*target.known_hosts)
            return other

    async def judge(self, target: SshTarget) -> tuple[HostKeys, Trust]:
        """What is known about ``target``, and by whom; looked up in a thread the first time."""
        keys = self if target.known_hosts in ((), self.files) else self._others.get(target.known_hosts)
        found = keys._found.get(known_as(target)) if keys is not None else None
        if keys is not None and found is not None:
            return keys, found
        return await asyncio.to_thread(self._judge, target)

    def trust(self, address: str, port: int) -> Trust:
        """What is known about a host. May compare the name with every hashed line: call it in a thread."""
        found = self._found.get((address, port))
        if found is None:
            with self._lock:
                found = self._found[address, port] = self._look_up(address.lower(), port)
        return found

    def explain(
        self, host: str, address: str, port: int, presented: asyncssh.SSHKey | None, reason: str = ""
    ) -> HostKeyRefused:
        """Why the presented key is not accepted, with fingerprints and the remedy.

        ``presented`` is None when the server showed none that could be read; ``reason`` is
        then what the SSH library says.
        """
        trust, name = self.trust(address, port), host_name(address, port)
        shown = f"{algorithm(presented)} {presented.get_fingerprint()}" if presented else "an unreadable key"
        if presented is not None and presented in trust.revoked:
            places = _places(trust, REVOKED, presented)
            message = f"host key of {name} is revoked: it presented {shown}, marked @revoked in {places}"
            hint = "do not connect: the key is known to be compromised; give the host a new key, then record that one"
        elif presented is None and trust.revoked:
            message = f"host key of {name} is revoked; revoked in {self.source}: {fingerprints(trust.revoked)}"
            hint = "do not connect: give the host a new key, then record that one"
        elif trust.trusted:
            message = (
                f"host key of {name} has changed: it presented {shown}, {_places(trust, '')} "
                f"expects {fingerprints(trust.trusted)}"
            )
            hint = (
                "someone may be listening in; if the host was reinstalled, compare the fingerprint on its own "
                f"console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then remove {_places(trust, '')} "
                f"and run sidestep trust {host}"
            )
        elif trust.authorities:
            what = f"it presented {shown}" if presented or not reason else reason
            message = (
                f"host key of {name} is not signed by a trusted authority: {what}, "
                f"{self.source} trusts the authorities {fingerprints(trust.authorities)}"
            )
            hint = f"sign the host's key for the principal {address}, or add the key itself to {self.source}"
        else:
            message = f"host key of {name} is unknown: it presented {shown}, and {self.source} has no line for it"
            hint = (
                "compare the fingerprint with the one on the host's own console "
                f"(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then run sidestep trust {host}"
            )
        return HostKeyRefused(host, "connect", message, hint=hint)

    def _judge(self, target: SshTarget) -> tuple[HostKeys, Trust]:
        keys = self.of(target)
        return keys, keys.trust(*known_as(target))

    def _look_up(self, address: str, port: int) -> Trust:
        exact = self._lines(host_name(address, port))
        # Like OpenSSH: a host known without its port is known on every port.
        plain = self._lines(address) if port != SSH_PORT else exact
        chosen = exact if any(k.marker != REVOKED for k in exact) else plain
        revoked = _unique(k.key for k in (*exact, *plain) if k.marker == REVOKED)
        return Trust(
            trusted=_unique(k.key for k in chosen if not k.marker and k.key not in revoked),
            authorities=_unique(k.key for k in chosen if k.marker == AUTHORITY and k.key not in revoked),
            revoked=revoked,
            lines=tuple(dict.fromkeys((*chosen, *(k for k in (*exact, *plain) if k.marker == REVOKED)))),
        )

    def _lines(self, name: str) -> tuple[KnownKey, ...]:
        hidden, encoded = self._hidden, name.encode()
        claimed = [at for at, line in enumerate(hidden) if line.covers(encoded)]
        for at in reversed(claimed):
            self._literal.setdefault(name, []).append(hidden.pop(at).known)
        return (*self._literal.get(name, ()), *(k for k in self._patterns if k.covers(name)))


def known_as(target: SshTarget) -> tuple[str, int]:
    """Name and port under which known_hosts knows a host; an alias stands for both."""
    return (target.host_key_alias, SSH_PORT) if target.host_key_alias else (target.address, target.port)


def algorithm(key: asyncssh.SSHKey) -> str:
    """The key's algorithm as known_hosts names it."""
    return str(key.get_algorithm())


def fingerprints(keys: Iterable[asyncssh.SSHKey]) -> str:
    """Algorithms and SHA-256 fingerprints."""
    return ", ".join(f"{algorithm(k)} {k.get_fingerprint()}" for k in keys)


def _places(trust: Trust, marker: str, key: asyncssh.SSHKey | None = None) -> str:
    found = [k.place for k in trust.lines if k.marker == marker and (key is None or k.key == key)]
    return ", ".join(found)


def host_name(address: str, port: int) -> str:
    """How known_hosts writes a host."""
    return address if port == SSH_PORT else f"[{address}]:{port}"


def _unique(keys: Iterable[asyncssh.SSHKey]) -> tuple[asyncssh.SSHKey, ...]:
    return tuple(dict.fromkeys(keys))
