"""Host keys: one known_hosts file, parsed once, and the decision about a presented key.

The decision is ours and comes before the SSH library accepts anything: unknown, changed and
revoked keys are refused, and there is no way to ask for anything weaker.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import asyncssh

from sidestep.fleet.errors import ConfigError, HostKeyRefused
from sidestep.fleet.labels import scrub

SSH_PORT: Final = 22
_MARKERS: Final = ("@revoked", "@cert-authority")


@dataclass(frozen=True)
class KnownKey:
    """One line of the file: whose key it is, and what the line says about it."""

    hosts: str
    key: asyncssh.SSHKey
    line: int
    marker: str = ""

    def covers(self, name: str) -> bool:
        """Whether the line is about ``name`` (``host``, or ``[host]:port`` off port 22)."""
        if self.hosts.startswith("|1|"):
            return _hash_matches(self.hosts, name)
        found = False
        for pattern in self.hosts.split(","):
            negated = pattern.startswith("!")
            if _wildcard(pattern.lstrip("!").lower(), name):
                if negated:
                    return False
                found = True
        return found

    @property
    def simple(self) -> bool:
        """Whether the line names its hosts literally, so that it can be found by a look-up."""
        return not self.hosts.startswith("|") and not any(c in self.hosts for c in "*?!")


@dataclass(frozen=True)
class Trust:
    """What the file says about one host; the keys are already free of revoked ones."""

    trusted: tuple[asyncssh.SSHKey, ...]
    authorities: tuple[asyncssh.SSHKey, ...]
    revoked: tuple[asyncssh.SSHKey, ...]


@dataclass(frozen=True)
class HostKeys:
    """Everything a known_hosts file says. ``load`` is the only maker."""

    source: str
    _literal: dict[str, tuple[KnownKey, ...]]
    _patterns: tuple[KnownKey, ...]
    _found: dict[tuple[str, int], Trust] = field(default_factory=dict, compare=False)

    @classmethod
    def load(cls, path: str | Path) -> HostKeys:
        """Parse the file. A missing file knows no host. Raises ConfigError naming file and line."""
        source = Path(path).expanduser()
        try:
            text = source.read_text("utf-8", errors="surrogateescape")
        except FileNotFoundError:
            text = ""
        except OSError as error:
            raise ConfigError(str(source), 0, "", None, f"cannot be read: {error.strerror}") from error
        literal: dict[str, list[KnownKey]] = {}
        patterns: list[KnownKey] = []
        for number, line in enumerate(text.splitlines(), 1):
            known = _parse(str(source), number, line)
            if known is None:
                continue
            if not known.simple:
                patterns.append(known)
                continue
            for name in known.hosts.split(","):
                literal.setdefault(name.lower(), []).append(known)
        return cls(str(source), {name: tuple(keys) for name, keys in literal.items()}, tuple(patterns))

    def trust(self, address: str, port: int) -> Trust:
        """What is known about a host. Looked up once: a hashed file costs one HMAC a line and host."""
        known = self._found.get((address, port))
        if known is None:
            known = self._found[address, port] = self._look_up(address.lower(), port)
        return known

    def explain(self, host: str, address: str, port: int, presented: asyncssh.SSHKey | None) -> HostKeyRefused:
        """Why the presented key is not accepted, with fingerprints and the remedy.

        ``presented`` is None when the server showed none that could be read.
        """
        trust, name = self.trust(address, port), _name(address, port)
        shown = f"{_algorithm(presented)} {presented.get_fingerprint()}" if presented else "an unreadable key"
        expected = _fingerprints(trust.trusted)
        if presented is not None and presented in trust.revoked:
            message = f"host key of {name} is revoked: it presented {shown}, marked @revoked in {self.source}"
            hint = "do not connect: the key is known to be compromised; give the host a new key, then record that one"
        elif presented is None and trust.revoked:
            message = f"host key of {name} is revoked; revoked in {self.source}: {_fingerprints(trust.revoked)}"
            hint = "do not connect: give the host a new key, then record that one"
        elif trust.trusted:
            message = f"host key of {name} has changed: it presented {shown}, {self.source} expects {expected}"
            hint = (
                "someone may be listening in; if the host was reinstalled, compare the fingerprint on its own "
                f"console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then replace its line in {self.source}"
            )
        elif trust.authorities:
            message = (
                f"host key of {name} is not signed by a trusted authority: it presented {shown}, "
                f"{self.source} trusts the authorities {_fingerprints(trust.authorities)}"
            )
            hint = f"sign the host's key for the principal {address}, or add the key itself to {self.source}"
        else:
            message = f"host key of {name} is unknown: it presented {shown}, and {self.source} has no line for it"
            hint = (
                "compare the fingerprint with the one on the host's own console "
                f"(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then add the key to {self.source}"
            )
        return HostKeyRefused(host, "connect", message, hint=hint)

    def _look_up(self, address: str, port: int) -> Trust:
        exact = self._lines(_name(address, port))
        # Like OpenSSH: a host known without its port is known on every port.
        plain = self._lines(address) if port != SSH_PORT else exact
        chosen = exact if any(k.marker != "@revoked" for k in exact) else plain
        revoked = _unique(k.key for k in (*exact, *plain) if k.marker == "@revoked")
        return Trust(
            trusted=_unique(k.key for k in chosen if not k.marker and k.key not in revoked),
            authorities=_unique(k.key for k in chosen if k.marker == "@cert-authority" and k.key not in revoked),
            revoked=revoked,
        )

    def _lines(self, name: str) -> tuple[KnownKey, ...]:
        return (*self._literal.get(name, ()), *(k for k in self._patterns if k.covers(name)))


def _parse(source: str, number: int, line: str) -> KnownKey | None:
    """One line, or None for a comment or an empty one."""
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    marker = ""
    if words[0].startswith("@"):
        marker = words.pop(0)
        if marker not in _MARKERS:
            raise ConfigError(source, number, "marker", scrub(marker), f"is not one of {', '.join(_MARKERS)}")
    if len(words) < 3:
        raise ConfigError(
            source, number, "", None, "a line needs hosts, a key type and a key", hint="ssh-keyscan prints such lines"
        )
    if words[0].startswith("|") and not _hash_readable(words[0]):
        raise ConfigError(source, number, "hosts", scrub(words[0]), "is not a hashed host name that can be read")
    try:
        key = asyncssh.import_public_key(f"{words[1]} {words[2]}")
    except (asyncssh.KeyImportError, ValueError) as error:
        raise ConfigError(
            source, number, "key", scrub(words[1]), f"cannot be read as a public key: {error}", hint="remove the line"
        ) from error
    return KnownKey(words[0], key, number, marker)


def _hash_parts(hosts: str) -> tuple[bytes, bytes]:
    _, _, salt, digest = hosts.split("|")
    return b64decode(salt, validate=True), b64decode(digest, validate=True)


def _hash_readable(hosts: str) -> bool:
    try:
        return hosts.startswith("|1|") and all(len(part) == 20 for part in _hash_parts(hosts))
    except ValueError:
        return False


def _hash_matches(hosts: str, name: str) -> bool:
    # SHA-1 because that is the file's format; it hides names, it does not authenticate.
    salt, digest = _hash_parts(hosts)
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


def _wildcard(pattern: str, name: str) -> bool:
    # Only * and ? are special in known_hosts, and [ ] are part of "[host]:port".
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _name(address: str, port: int) -> str:
    return address if port == SSH_PORT else f"[{address}]:{port}"


def _unique(keys: Iterable[asyncssh.SSHKey]) -> tuple[asyncssh.SSHKey, ...]:
    return tuple(dict.fromkeys(keys))


def _algorithm(key: asyncssh.SSHKey) -> str:
    return str(key.get_algorithm())


def _fingerprints(keys: Iterable[asyncssh.SSHKey]) -> str:
    return ", ".join(f"{_algorithm(k)} {k.get_fingerprint()}" for k in keys)
