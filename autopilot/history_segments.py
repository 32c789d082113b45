"""Segments: the write-ahead file of one hour of minutes, and the rules of the history folder.

A segment is our own compact file, written by the daemon without any library. It begins
with ``MAGIC``. Records follow: length and CRC-32 of the body as little-endian u32, then the
body. A body is ``N`` (names of series, numbered on from those before in the file) or ``M``
(one minute: mean, maximum and number of samples of series). Every minute is on the disk
before the next one is written, so whatever ends the daemon, at most the open minute is
lost, and a record that was cut off is recognised.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from sidestep.fleet.history import Block

MINUTE: Final = 60.0
HOUR: Final = 3600
MAGIC: Final = b"SIDEHIS1"
#: no segment is longer: an hour of half a million series
MAX_SEGMENT: Final = 1 << 29
_HEAD: Final = struct.Struct("<II")
_NAMES: Final = struct.Struct("<cII")
_TIME: Final = struct.Struct("<cqfIB")
_LENGTH: Final = struct.Struct("<H")
#: bytes of one series in a minute: mean, maximum, samples, and its number unless they are all in order
_EACH: Final = 4 + 4 + 2


@dataclass(frozen=True)
class Segment:
    """What a file holds: minutes of ``names``; ``good`` bytes could be read of ``size``."""

    names: tuple[str, ...]
    block: Block
    good: int
    size: int
    #: records whose checksum was wrong, with good ones after them
    damaged: int = 0


def hour_name(hour: int) -> str:
    """``2026-11-21T07`` for hours since 1970, UTC; what files are called after."""
    return datetime.fromtimestamp(hour * HOUR, UTC).strftime("%Y-%m-%dT%H")


def hour_of(name: str) -> int:
    """The hour of a segment's file name. Raises ValueError."""
    return int(datetime.strptime(name[:13], "%Y-%m-%dT%H").replace(tzinfo=UTC).timestamp()) // HOUR


def segments(folder: Path) -> list[Path]:
    """The segments of a history folder, oldest first; what is called otherwise is none."""
    found = []
    for path in (folder / "open").glob("*.segment"):
        try:
            hour_of(path.name)
        except ValueError:
            continue
        found.append(path)
    return sorted(found)


class Writer:
    """Appends minutes to the segment of one hour; the file is made by the first of them."""

    def __init__(self, folder: Path, hour: int) -> None:
        """Raises OSError. A torn tail that a dead daemon left is cut off; ``cut`` has its bytes."""
        self.hour = hour
        self.path = folder / "open" / f"{hour_name(hour)}.segment"
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._numbers: dict[str, int] = {}
        self._latest: tuple[tuple[str, ...], bytes | None] = (), None
        self.cut = 0
        if self.path.exists():
            there = read_segment(self.path)
            self.cut = there.size - there.good
            self._numbers = {name: number for number, name in enumerate(there.names)}
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self.path, flags, 0o600)
        try:
            if self.cut or os.fstat(self._file).st_size < len(MAGIC):
                os.ftruncate(self._file, there.good if self.cut else 0)
            self._size = os.fstat(self._file).st_size
            if not self._size:
                self._put(MAGIC)
            sync_folder(self.path.parent)
        except OSError:
            os.close(self._file)
            raise

    def add(self, time: float, names: tuple[str, ...], block: Block) -> None:
        """Append one minute, on the disk when this returns. Raises OSError, also for a segment that is full."""
        known, latest = len(self._numbers), self._latest
        body = self._new_names(names) + record(_minute(time, block, self._numbers_of(names)))
        try:
            self._put(body)
        except OSError:
            # Names that are not in the file are new again: what refers to them could not be read.
            self._latest = latest
            while len(self._numbers) > known:
                self._numbers.popitem()
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def retire(self) -> Path:
        """Close, and give the file the name under which it is made into Parquet."""
        self.close()
        return retire(self.path)

    def _put(self, data: bytes) -> None:
        """All of it or nothing, as far as the system lets us: a short write is taken back."""
        if self._size + len(data) > MAX_SEGMENT:
            raise OSError(f"{self.path} would be longer than {MAX_SEGMENT} bytes")
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def _new_names(self, names: tuple[str, ...]) -> bytes:
        if names is self._latest[0]:
            return b""
        first = len(self._numbers)
        new = [name for name in names if name not in self._numbers]
        if not new:
            return b""
        texts = [name.encode() for name in new]
        self._numbers.update({name: first + at for at, name in enumerate(new)})
        parts = b"".join(_LENGTH.pack(len(text)) + text for text in texts)
        return record(_NAMES.pack(b"N", first, len(new)) + parts)

    def _numbers_of(self, names: tuple[str, ...]) -> bytes | None:
        """The numbers of these names, None for all in order."""
        if names is not self._latest[0]:
            numbers = np.fromiter((self._numbers[name] for name in names), "<u4", len(names))
            straight = np.array_equal(numbers, np.arange(len(names)))
            self._latest = names, None if straight else numbers.tobytes()
        return self._latest[1]


def record(body: bytes) -> bytes:
    """A body with its length and checksum before it."""
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _minute(time: float, block: Block, numbers: bytes | None) -> bytes:
    count = block.mean.shape[1]
    head = _TIME.pack(b"M", round(time * 1000), block.interval, count, numbers is not None)
    columns = (block.mean[0].astype("<f4"), block.high[0].astype("<f4"), block.count[0].astype("<u2"))
    return head + (numbers or b"") + b"".join(column.tobytes() for column in columns)


def retire(path: Path) -> Path:
    """Rename a segment that nobody writes any more; several of one hour get numbers. Raises OSError."""
    folder = path.parent
    at = 0
    while (target := folder / f"{path.name[:13]}.{at}.closed.segment").exists():
        at += 1
    path.rename(target)
    sync_folder(folder)
    return target


def is_closed(path: Path) -> bool:
    """Whether the segment is complete and waits to be made into Parquet."""
    return path.name.endswith(".closed.segment")


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_segment(path: Path) -> Segment:
    """What can be read of a segment, whatever its tail is. Raises OSError.

    A minute that stands twice (the daemon was restarted in it) is what was written last.
    """
    with path.open("rb") as file:
        data = file.read(MAX_SEGMENT + 1)
    names: list[str] = []
    minutes: list[tuple[float, int, int, int]] = []
    interval, good, damaged, doubtful = 1.0, 0, 0, 0
    if data[: len(MAGIC)] == MAGIC:
        good = at = len(MAGIC)
        while at + _HEAD.size <= len(data):
            length, checksum = _HEAD.unpack_from(data, at)
            begin = at + _HEAD.size
            if not 0 < length <= len(data) - begin:
                break
            at = begin + length
            if zlib.crc32(memoryview(data)[begin:at]) != checksum:
                doubtful += 1
                continue
            try:
                found = _names(data, begin, at, len(names))
                if found is None:
                    minute, interval = _place(data, begin, at, len(names))
                    minutes.append(minute)
                else:
                    names += found
            except (ValueError, struct.error, UnicodeDecodeError):
                damaged += 1
            # A bad record that good ones follow was damaged later; at the end it was cut off.
            good, damaged, doubtful = at, damaged + doubtful, 0
    return Segment(tuple(names), _table(data, minutes, len(names), interval), good, len(data), damaged)


def _names(data: bytes, at: int, end: int, known: int) -> list[str] | None:
    """The names of a record, None if it is a minute. Raises ValueError, struct.error."""
    if data[at : at + 1] != b"N":
        return None
    _, first, count = _NAMES.unpack_from(data, at)
    if first != known or count > end - at:
        raise ValueError("names do not follow those before")
    at += _NAMES.size
    found = []
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        found.append(data[at : at + length].decode())
        at += length
    if at != end:
        raise ValueError("names are longer than their record")
    return found


def _place(data: bytes, at: int, end: int, known: int) -> tuple[tuple[float, int, int, int], float]:
    """Time, number of series, offset of their numbers (0: in order) and of their values; and the interval."""
    kind, time, interval, count, numbered = _TIME.unpack_from(data, at)
    at += _TIME.size
    if kind != b"M" or count > known or end - at != count * (_EACH + (4 if numbered else 0)):
        raise ValueError("not a minute")
    if numbered and count and int(np.frombuffer(data, "<u4", count, at).max()) >= known:
        raise ValueError("a number without a name")
    return (time / 1000, count, at if numbered else 0, at + 4 * count if numbered else at), float(interval)


def _table(data: bytes, minutes: list[tuple[float, int, int, int]], width: int, interval: float) -> Block:
    times = np.unique(np.array([minute[0] for minute in minutes], dtype=np.float64))
    shape = (len(times), width)
    mean, high = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    number = np.zeros(shape, np.uint16)
    for time, count, ids, values in minutes:
        row = int(np.searchsorted(times, time))
        columns = np.frombuffer(data, "<u4", count, ids).astype(np.intp) if ids else np.arange(count)
        seen = np.frombuffer(data, "<u2", count, values + 8 * count)
        given = seen > 0
        columns = columns[given]
        mean[row, columns] = np.frombuffer(data, "<f4", count, values)[given]
        high[row, columns] = np.frombuffer(data, "<f4", count, values + 4 * count)[given]
        number[row, columns] = seen[given]
    return Block(MINUTE, interval, times, mean, high, number)
