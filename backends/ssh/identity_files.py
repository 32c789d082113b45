"""Private key files and their certificates: parsed once, decrypted once, never shown.

The passphrase of encrypted keys comes by reference: ``file:PATH`` (only its owner may read
it) or ``command:LINE`` (whose output it is). It is held in memory only, and is in no
argument, log line or error.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import asyncssh
from msgspec import Struct

from sidestep.backends.secret import LONGEST, fetched, open_to_others
from sidestep.fleet.errors import ConfigError


class KeyFile(Struct, frozen=True, eq=False):
    """What a private key file holds, or why it cannot be used."""

    path: str
    key: asyncssh.SSHKey | None = None
    #: the public half, where it is known though the private one is not readable
    public: asyncssh.SSHKey | None = None
    certificates: tuple[Certificate, ...] = ()
    problem: str = ""
    hint: str = ""


class Certificate(Struct, frozen=True, eq=False):
    """A user certificate and the file it is in."""

    path: str
    certificate: asyncssh.SSHCertificate

    @property
    def key(self) -> bytes:
        """The public key that it certifies, encoded."""
        return bytes(self.certificate.key.public_data)

    def problem(self) -> str:
        """Why it does not count now; empty if it does."""
        try:
            self.certificate.validate(asyncssh.public_key.CERT_TYPE_USER, None)  # type: ignore[attr-defined, no-untyped-call, unused-ignore]
        except ValueError as error:
            return f"certificate {self.path} is not used: {str(error).lower()}"
        return ""


class Passphrase:
    """Where the passphrase comes from; fetched when the first encrypted key needs it, and once."""

    def __init__(self, reference: str, folder: Path) -> None:
        kind, _, rest = reference.partition(":")
        self._reference, self._folder, self._value = reference, folder, b""
        self.given = bool(reference)
        if reference and (kind not in ("file", "command") or not rest):
            # Not shown: somebody may have written the passphrase itself.
            raise ConfigError("", 0, "ssh.passphrase", None, "must be file:PATH or command:LINE, never the secret")

    def get(self) -> bytes:
        """The passphrase. Blocks; raises ValueError saying why there is none."""
        if not self._value:
            value = fetched(self._reference, "passphrase", self._folder).rstrip(b"\r\n")
            if not value:
                raise ValueError("the passphrase is empty")
            self._value = value
        return self._value

    def forget(self) -> None:
        """Fetch it again when it is needed next."""
        self._value = b""


class KeyFiles:
    """The files, each parsed again only when it has changed. Thread safe; every method may block."""

    def __init__(self, passphrase: Passphrase) -> None:
        self._passphrase = passphrase
        self._lock = threading.Lock()
        self._parsed: dict[str, tuple[tuple[int, ...], KeyFile]] = {}
        self._certificates: dict[str, tuple[tuple[int, ...], Certificate]] = {}

    def fresh(self, paths: Iterable[str], certificates: Iterable[str]) -> bool:
        """Whether reading these would parse nothing, and so not block."""
        return all(p in self._parsed and self._parsed[p][0] == _stamps(p) for p in paths) and all(
            p in self._certificates and self._certificates[p][0] == _stamp(p) for p in certificates
        )

    def read(self, path: str) -> KeyFile:
        """What the file at ``path`` holds, with the certificate beside it."""
        with self._lock:
            stamp = _stamps(path)
            kept = self._parsed.get(path)
            if kept is None or kept[0] != stamp:
                kept = self._parsed[path] = (stamp, self._parse(path))
            return kept[1]

    def certificate(self, path: str) -> Certificate:
        """The certificate in a file. Raises ValueError saying what is wrong."""
        with self._lock:
            stamp = _stamp(path)
            kept = self._certificates.get(path)
            if kept is None or kept[0] != stamp:
                kept = self._certificates[path] = (stamp, _certificate(path))
            return kept[1]

    def forget(self) -> None:
        """Read everything again when it is needed next."""
        with self._lock:
            self._passphrase.forget()
            self._parsed.clear()
            self._certificates.clear()

    def _parse(self, path: str) -> KeyFile:
        beside = f"{path}-cert.pub"
        try:
            certificates = (_certificate(beside),) if Path(beside).exists() else ()
        except ValueError as error:
            return KeyFile(path, problem=str(error), hint=f"make the certificate anew, or remove {beside}")
        public = _public(f"{path}.pub")
        try:
            with Path(path).open("rb") as file:
                found, data = os.fstat(file.fileno()), file.read(LONGEST)
            public = public or _imported(data)
            return KeyFile(path, self._private(path, found, data), public, certificates)
        except OSError as error:
            return KeyFile(path, None, public, certificates, f"identity {path} cannot be read: {error.strerror}")
        except _Unusable as error:
            return KeyFile(path, None, public, certificates, f"identity {path} {error}", error.hint)

    def _private(self, path: str, found: os.stat_result, data: bytes) -> asyncssh.SSHKey:
        """The private key. Raises _Unusable."""
        if b"PRIVATE KEY-----" not in data and _imported(data) is not None:
            raise _Unusable("holds only the public key", "load the private one: ssh-add")
        if found.st_uid == os.getuid() and open_to_others(found):
            raise _Unusable("may be read by others", f"chmod 600 {path}")
        try:
            return asyncssh.import_private_key(data)
        except asyncssh.KeyImportError as error:
            if not str(error).startswith("Passphrase"):
                raise _Unusable(f"cannot be used: {error}", "use an OpenSSH or PEM private key") from error
        if not self._passphrase.given:
            remedy = f'write passphrase = "file:PATH" or "command:LINE" under [ssh], or load the key: ssh-add {path}'
            raise _Unusable("is encrypted, and no passphrase is configured", remedy)
        try:
            return asyncssh.import_private_key(data, self._passphrase.get())
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise _Unusable("is encrypted with another passphrase", "correct passphrase under [ssh]") from error
        except ValueError as error:
            raise _Unusable(f"is encrypted, and {error}", "correct passphrase under [ssh]") from error


class _Unusable(Exception):
    """Why a private key cannot be used, and the remedy."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.hint = hint


def _certificate(path: str) -> Certificate:
    try:
        return Certificate(path, asyncssh.read_certificate(path))
    except OSError as error:
        raise ValueError(f"certificate {path} cannot be read: {error.strerror}") from error
    except (asyncssh.KeyImportError, ValueError) as error:
        raise ValueError(f"certificate {path} cannot be used: {error}") from error


def _public(path: str) -> asyncssh.SSHKey | None:
    try:
        return asyncssh.read_public_key(path)
    except (OSError, ValueError):
        return None


def _imported(data: bytes) -> asyncssh.SSHKey | None:
    try:
        return asyncssh.import_public_key(data)
    except ValueError:
        return None


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def _stamps(path: str) -> tuple[int, ...]:
    """Changes when a key file, its public half or its certificate does."""
    return tuple(s for p in (path, f"{path}.pub", f"{path}-cert.pub") for s in (*_stamp(p), -1))
