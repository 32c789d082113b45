"""The key with which a host signs its capsules. One per host: a host that is taken over cannot sign for others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: what is signed begins with this, so that no other use of a key can be passed off as a capsule
_DOMAIN: Final = b"sidestep capsule 1\0"


class HostKey:
    """The private half; it stays on its host."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        #: 32 bytes, for others to check with
        self.public: bytes = key.public_key().public_bytes_raw()

    @classmethod
    def new(cls) -> Self:
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def kept(cls, path: Path) -> Self:
        """The key in a file that only its user may read; made if there is none. Raises OSError, ValueError."""
        try:
            return cls(Ed25519PrivateKey.from_private_bytes(path.read_bytes()))
        except FileNotFoundError:
            key = Ed25519PrivateKey.generate()
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(key.private_bytes_raw())
            return cls(key)

    def sign(self, raw: bytes) -> bytes:
        """The signature of a header's bytes."""
        return self._key.sign(_DOMAIN + raw)


def trusted(public: bytes, raw: bytes, signature: bytes) -> bool:
    """Whether the owner of a key signed these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _DOMAIN + raw)
    except (InvalidSignature, ValueError):
        return False
    return True
