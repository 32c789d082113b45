"""Digests of carried bytes, in the two kinds that any host can compute."""

from __future__ import annotations

import hashlib
from typing import Final

#: a shell fragment that prints the best digest tool of the host: OpenSSL uses the processor's SHA instructions
PICK_TOOL: Final = """\
if openssl dgst -sha256 -r </dev/null >/dev/null 2>&1; then echo openssl dgst -sha256 -r
elif command -v sha256sum >/dev/null 2>&1; then echo sha256sum
elif command -v shasum >/dev/null 2>&1; then echo shasum -a 256
else echo cksum; fi"""
TOOLS: Final = ("sha256sum", "shasum -a 256", "openssl dgst -sha256 -r", "cksum")


class Sha256:
    """SHA-256, as sha256sum prints it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""
        self._hash.update(data)

    def first_word(self) -> str:
        """64 hexadecimal digits."""
        return self._hash.hexdigest()


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1
        table.append(crc & 0xFFFFFFFF)
    return tuple(table)


_CRC: Final = _table()


class Cksum:
    """The CRC of POSIX ``cksum``: finds accidents, for hosts that have nothing better. Slow."""

    def __init__(self) -> None:
        self._crc = self._length = 0

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""
        self._length += len(data)
        self._crc = self._add(self._crc, data)

    def first_word(self) -> str:
        """A decimal number."""
        length = self._length.to_bytes((self._length.bit_length() + 7) // 8, "little")
        return str(self._add(self._crc, length) ^ 0xFFFFFFFF)

    @staticmethod
    def _add(crc: int, data: bytes) -> int:
        for byte in data:
            crc = ((crc << 8) & 0xFFFFFFFF) ^ _CRC[(crc >> 24) ^ byte]
        return crc
