"""Host keys that a trusted channel has told us beforehand: fingerprints or known_hosts lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import asyncssh

from sidestep.backends.ssh.hostkeys import HostKeys, Trust, known_as
from sidestep.backends.ssh.hostkeys_file import KnownKey, parse
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.labels import scrub

_FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")
_LARGEST: Final = 64 << 20


def fingerprint(text: str) -> str:
    """A fingerprint as OpenSSH prints it. Raises ValueError."""
    if not _FINGERPRINT.fullmatch(text):
        raise ValueError("is no fingerprint such as SHA256:… (ssh-keygen -lf prints it)")
    return text.rstrip("=")


class Expected:
    """What hosts are expected to show, by name in the fleet file or by address."""

    def __init__(self, source: str, lines: list[KnownKey], prints: dict[str, set[str]]) -> None:
        self._keys, self._prints = HostKeys((source,), lines), prints

    @classmethod
    def load(cls, path: Path) -> Expected:
        """Read a file of ``HOST SHA256:…`` lines or known_hosts lines. Raises ConfigError naming the line."""
        lines: list[KnownKey] = []
        prints: dict[str, set[str]] = {}
        for number, line in enumerate(_text(path).split("\n"), 1):
            words = [word for word in re.split("[ \t]", line.rstrip("\r")) if word]
            if len(words) == 2 and not words[0].startswith(("#", "@")):
                try:
                    prints.setdefault(words[0].lower(), set()).add(fingerprint(words[1]))
                except ValueError as error:
                    raise ConfigError(str(path), number, "fingerprint", scrub(words[1]), str(error)) from error
            elif (known := parse(str(path), number, line)) is not None:
                lines.append(known)
        return cls(str(path), lines, prints)

    @classmethod
    def only(cls, name: str, wanted: str) -> Expected:
        """One fingerprint for one host."""
        return cls("--fingerprint", [], {name.lower(): {wanted}})

    def about(self, target: SshTarget) -> bool:
        """Whether anything is said about the host."""
        return bool(self._said(target) or any(t.trusted or t.revoked for t in self._trusts(target)))

    def has(self, target: SshTarget, key: asyncssh.SSHKey) -> bool:
        """Whether ``key`` is expected of the host; a key that a line revokes never is."""
        trusts = self._trusts(target)
        if any(key in trust.revoked for trust in trusts):
            return False
        return key.get_fingerprint() in self._said(target) or any(key in trust.trusted for trust in trusts)

    def _said(self, target: SshTarget) -> set[str]:
        address, port = known_as(target)
        names = (target.name.lower(), address.lower(), f"[{address}]:{port}".lower())
        return set().union(*(self._prints.get(name, set()) for name in names))

    def _trusts(self, target: SshTarget) -> tuple[Trust, ...]:
        return (self._keys.trust(*known_as(target)), self._keys.trust(target.name, 22))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(str(path), 0, "", None, f"cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise ConfigError(str(path), 0, "", None, f"is larger than {_LARGEST} bytes")
    return data.decode("utf-8", errors="surrogateescape")
