"""What an engine process is told on its standard input, and the key that a host signs its capsules with."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct


class Setup(Struct, frozen=True, kw_only=True):
    """One engine process: ``role`` is scheduler or worker. ``key`` and ``signing`` are secrets."""

    role: str
    name: str
    address: str
    scheduler: str
    authority: str
    certificate: str
    key: str
    threads: int
    folder: str
    signing: bytes


def new_signing_key() -> bytes:
    """A new Ed25519 key, raw."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )


def public_of(signing: bytes) -> bytes:
    """The public half, raw."""
    return Ed25519PrivateKey.from_private_bytes(signing).public_key().public_bytes_raw()
