"""The write-ahead file of one hour of a recording.

It begins with ``MAGIC``; records follow as in the history's segments: length and CRC-32 of the body,
then the body. A body is a kind (``F`` a picture, ``E`` rows of the log), unix time, whether it is a
key, and the zlib-compressed rest. A record that was cut off is recognised and left out.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sidestep.autopilot.history_segments import hour_name, record, sync_folder

MAGIC: Final = b"SIDEREC1"
SUFFIX: Final = ".frames"
CLOSED: Final = ".closed.frames"
PICTURE: Final = b"F"
LOG: Final = b"E"
#: no segment is longer
MAX_SEGMENT: Final = 1 << 30
#: no record unpacks to more
_LARGEST: Final = 1 << 28
_HEAD: Final = struct.Struct("<II")
_BODY: Final = struct.Struct("<cd?")


class Record(NamedTuple):
    """One record; ``place`` and ``size`` are of its compressed part in the file."""

    kind: bytes
    time: float
    key: bool
    place: int
    size: int


class Segment:
    """Appends to the file of one hour; made by the first record. Raises OSError."""

    def __init__(self, folder: Path, hour: int) -> None:
        self.hour = hour
        self.path = folder / "open" / f"{hour_name(hour)}{SUFFIX}"
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        good = good_size(self.path) if self.path.exists() else 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self.path, flags, 0o600)
        try:
            os.ftruncate(self._file, good)
            self._size = good
            if not good:
                self._put(MAGIC)
            sync_folder(self.path.parent)
        except OSError:
            os.close(self._file)
            raise

    def add(self, kind: bytes, time: float, *, key: bool, data: bytes) -> None:
        """Append one record: in the system's hands when this returns, all of it or nothing. Raises OSError."""
        self._put(record(_BODY.pack(kind, time, key) + zlib.compress(data, 1)))

    def sync(self) -> None:
        """Have everything on the disk. Raises OSError."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _put(self, data: bytes) -> None:
        if self._size + len(data) > MAX_SEGMENT:
            raise OSError(f"{self.path} would be longer than {MAX_SEGMENT} bytes")
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)


def retire(path: Path) -> None:
    """Rename a segment that nobody writes any more, so that it is made into Parquet. Raises OSError."""
    at = 0
    while (target := path.with_name(f"{path.name[:13]}.{at}{CLOSED}")).exists():
        at += 1
    path.rename(target)
    sync_folder(path.parent)


def segments(folder: Path) -> list[Path]:
    """The segments of a recording's folder, oldest first."""
    return sorted((folder / "open").glob(f"*{SUFFIX}"))


def is_closed(path: Path) -> bool:
    """Whether the segment waits to be made into Parquet."""
    return path.name.endswith(CLOSED)


def records(path: Path) -> Iterator[Record]:
    """The whole records of a segment up to the first that was cut off or damaged. Raises OSError."""
    with path.open("rb") as file:
        size = min(os.fstat(file.fileno()).st_size, MAX_SEGMENT)
        if file.read(len(MAGIC)) != MAGIC:
            return
        while True:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            length, checksum = _HEAD.unpack(head)
            begin = file.tell()
            if not _BODY.size <= length <= size - begin:
                return
            body = file.read(length)
            if len(body) < length or zlib.crc32(body) != checksum:
                return
            kind, time, key = _BODY.unpack_from(body)
            yield Record(kind, time, key, begin + _BODY.size, length - _BODY.size)


def good_size(path: Path) -> int:
    """The bytes of a segment up to where it was cut off. Raises OSError."""
    end = 0
    for each in records(path):
        end = each.place + each.size
    if end:
        return end
    with path.open("rb") as file:
        return len(MAGIC) if file.read(len(MAGIC)) == MAGIC else 0


def data_of(path: Path, found: Record) -> bytes:
    """What a record says. Raises OSError, zlib.error, ValueError for what would unpack to too much."""
    with path.open("rb") as file:
        file.seek(found.place)
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(file.read(found.size), _LARGEST)
    if unpacking.unconsumed_tail:
        raise ValueError(f"a record of more than {_LARGEST} bytes")
    return data
