"""known_hosts files as OpenSSH writes them: lines, their hosts, and their keys."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import asyncssh
from msgspec import Struct

from sidestep.backends.ssh.algorithms import POSSIBLE
from sidestep.backends.ssh.sshconfig_words import in_patterns
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.labels import scrub

#: most characters of a file: a quarter of a million hosts
LARGEST: Final = 64 << 20
REVOKED: Final = "@revoked"
AUTHORITY: Final = "@cert-authority"
_MARKERS: Final = (REVOKED, AUTHORITY)
_INNER: Final = bytes(x ^ 0x36 for x in range(256))
_OUTER: Final = bytes(x ^ 0x5C for x in range(256))


class KnownKey(Struct, frozen=True, eq=False):
    """One line: whose key it is, and what the line says about it."""

    hosts: str
    key: asyncssh.SSHKey
    file: str
    line: int
    marker: str = ""

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"

    @property
    def hashed(self) -> bool:
        """Whether the name is hidden; such a line is about exactly one name."""
        return self.hosts.startswith("|")

    @property
    def literal(self) -> bool:
        """Whether the line names its hosts, so that it can be found by a look-up."""
        return not self.hashed and not any(c in self.hosts for c in "*?!")

    def covers(self, name: str) -> bool:
        """Whether a line with patterns is about ``name`` (``host``, or ``[host]:port`` off port 22)."""
        return in_patterns(tuple(self.hosts.lower().split(",")), name)


class Hidden:
    """The hidden name of a hashed line, ready to be compared with many names.

    The hash is HMAC-SHA1 because that is the file's format; it hides names, it does not
    authenticate. Its two keyed states are made once a line, which halves the cost of a comparison.
    """

    __slots__ = ("_digest", "_inner", "_outer", "known")

    def __init__(self, known: KnownKey) -> None:
        salt, self._digest = _hash_parts(known.hosts)
        block = salt.ljust(64, b"\0")
        self._inner: Any = hashlib.sha1(block.translate(_INNER))  # noqa: S324
        self._outer: Any = hashlib.sha1(block.translate(_OUTER))  # noqa: S324
        self.known = known

    def covers(self, name: bytes) -> bool:
        """Whether the line is about ``name``."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(name)
        outer.update(inner.digest())
        return bool(outer.digest() == self._digest)


def read(path: Path) -> Iterator[KnownKey]:
    """The lines of a file; none if there is no such file. Raises ConfigError naming file and line.

    Keys of a type that we cannot use are passed over: they could not be presented to us either.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1).decode("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(str(path), 0, "", None, f"cannot be read: {error.strerror}") from error
    if len(text) > LARGEST:
        raise ConfigError(str(path), 0, "", None, f"is larger than {LARGEST >> 20} MiB")
    for number, line in enumerate(text.split("\n"), 1):
        known = parse(str(path), number, line)
        if known is not None:
            yield known


def parse(source: str, number: int, line: str) -> KnownKey | None:
    """One line, or None for a comment, an empty line, or a key of a type that we cannot use."""
    # Lines end and words are parted as in OpenSSH and nowhere else: a comment, such as the banner of a host
    # that ssh-keyscan noted, must not become a line of its own by some other character.
    words = [word for word in re.split("[ \t]", line.rstrip("\r")) if word]
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
        if _foreign(words[1], words[2]):
            return None
        raise ConfigError(
            source, number, "key", scrub(words[1]), f"cannot be read as a public key: {error}", hint="remove the line"
        ) from error
    return KnownKey(words[0], key, source, number, marker)


def _foreign(kind: str, data: str) -> bool:
    """Whether a key is well formed, but of a type that asyncssh does not know."""
    if kind.isdigit():  # a key of SSH protocol 1
        return data.isdigit()
    try:
        blob, name = b64decode(data, validate=True), kind.encode(errors="surrogateescape")
    except ValueError:
        return False
    return kind not in POSSIBLE["hostkeyalgorithms"] and blob.startswith(len(name).to_bytes(4) + name)


def _hash_parts(hosts: str) -> tuple[bytes, bytes]:
    _, _, salt, digest = hosts.split("|")
    return b64decode(salt, validate=True), b64decode(digest, validate=True)


def _hash_readable(hosts: str) -> bool:
    try:
        return hosts.startswith("|1|") and all(len(part) == 20 for part in _hash_parts(hosts))
    except ValueError:
        return False
