"""The log of a durable counter: what was counted, on disk before it was acknowledged.

Standard library only; ``counter.py`` loads it from beside itself when it is told ``--durable``.
"""

import errno
import os
import zlib
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def sync_folder(folder: Path) -> None:
    """What was made or renamed in a folder is there after a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Log:
    """What was counted, in a file: lines ``id key token crc``, in order, appended a round at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log"
        self.file = self.open(self.path)
        data = self.read()
        self.size = self.good(data)
        os.ftruncate(self.file, self.size)  # a round that was cut off: nobody was told of it
        os.fsync(self.file)  # what a dead process wrote may not be on disk yet
        sync_folder(folder)
        self.keys = self.named(data[: self.size])
        self.round: list[bytes] = []

    @staticmethod
    def open(path: Path) -> int:
        """A log to read and write, made if it is not there."""
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    @staticmethod
    def line(request: str, key: str, token: str) -> bytes:
        """One entry."""
        text = f"{request} {key} {token}".encode()
        return b"%s %08x\n" % (text, zlib.crc32(text))

    @staticmethod
    def good(data: bytes) -> int:
        """How many of the bytes are whole entries, up to the first that is none."""
        size = 0
        for line in data.split(b"\n")[:-1]:
            text, _, check = line.rpartition(b" ")
            if text.count(b" ") != 2 or check != b"%08x" % zlib.crc32(text):
                break
            size += len(line) + 1
        return size

    def read(self) -> bytes:
        """The whole file."""
        data = bytearray()
        while part := os.pread(self.file, 1 << 20, len(data)):
            data += part
        return bytes(data)

    @staticmethod
    def named(data: bytes) -> "list[str]":
        """The keys of these entries, one an entry."""
        return [line.split()[1].decode() for line in data.splitlines()]

    def part(self, wanted: "Callable[[str], bool]") -> bytes:
        """The entries of keys that are wanted, in their order."""
        lines = self.read().splitlines(keepends=True)
        return b"".join(line for line in lines if wanted(line.split()[1].decode()))

    def commit(self) -> bool:
        """Put the round on disk; False if there is no room for it, and nothing of it is kept.

        Any other trouble is an OSError, which ends the process: nobody knows then what is on disk.
        """
        data, self.round = b"".join(self.round), []
        if not data:
            return True
        try:
            put(self.file, data, self.size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            os.ftruncate(self.file, self.size)
            os.fsync(self.file)
            return False
        os.fsync(self.file)
        self.size += len(data)
        return True

    def replace(self, data: bytes) -> None:
        """Have these entries instead, all of them or, with an OSError, none."""
        beside = self.path.with_name("log.new")
        new = self.open(beside)
        try:
            os.ftruncate(new, 0)
            put(new, data, 0)
            os.fsync(new)
            beside.rename(self.path)
        except OSError:
            os.close(new)
            beside.unlink()
            raise
        sync_folder(self.path.parent)
        os.close(self.file)
        self.file, self.size, self.keys = new, len(data), self.named(data)


def put(file: int, data: bytes, at: int) -> None:
    """Write all of the bytes there. Raises OSError."""
    while data:
        written = os.pwrite(file, data, at)
        data, at = data[written:], at + written
