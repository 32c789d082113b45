"""Chunks on a host's disk: one file each, named by its hash, written once and never changed.

A chunk that many capsules share lies there once. What is damaged is found by reading it (``scrub``) and replaced by
whoever can give it again (``repair``); a damaged chunk is never handed out.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sidestep.sharding.capsules.chunks import BadChunk, Packer, records, unpacked


@dataclass(frozen=True, slots=True)
class Scrub:
    """What reading all chunks found: names of damaged ones, and of those that were replaced."""

    read: int
    bad: tuple[bytes, ...]
    repaired: tuple[bytes, ...]


class MemoryChunks:
    """Chunks in memory: of a capsule that goes on at once, or that was copied ahead."""

    def __init__(self) -> None:
        self._chunks: dict[bytes, bytes] = {}

    def put(self, name: bytes, chunk: bytes) -> None:
        """Keep a chunk."""
        self._chunks[name] = chunk

    def get(self, name: bytes) -> bytes:
        """A chunk. Raises KeyError."""
        return self._chunks[name]


class ChunkStore:
    """A folder of chunks, readable by its user only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._packer = Packer()

    def _path(self, name: bytes) -> Path:
        text = name.hex()
        return self._root / text[:2] / text[2:]

    def __contains__(self, name: bytes) -> bool:
        return self._path(name).exists()

    def put(self, name: bytes, chunk: bytes) -> None:
        """Keep a chunk; a no-op if it is there. Raises OSError."""
        path = self._path(name)
        if not path.exists():
            self._write(path, self._packer.record(name, chunk))

    def _write(self, path: Path, record: bytes) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._root)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(record)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def get(self, name: bytes) -> bytes:
        """A chunk. Raises BadChunk if it is damaged, KeyError if it is not there."""
        try:
            record = memoryview(self._path(name).read_bytes())
        except FileNotFoundError:
            raise KeyError(name) from None
        found = list(records(record))
        if len(found) != 1 or found[0][0] != name:
            raise BadChunk(f"chunk {name.hex()} is not what its name says")
        return unpacked(name, found[0][1], plain=found[0][2])

    def names(self) -> list[bytes]:
        """All that are kept."""
        return sorted(
            bytes.fromhex(one.parent.name + one.name) for one in self._root.glob("[0-9a-f][0-9a-f]/*") if one.is_file()
        )

    def scrub(self, repair: Callable[[bytes], bytes | None] = lambda name: None) -> Scrub:
        """Read everything; ask ``repair`` for each damaged chunk, and replace it if what it gives is right."""
        read, bad, repaired = 0, [], []
        for name in self.names():
            read += 1
            try:
                self.get(name)
            except (BadChunk, OSError):
                bad.append(name)
                self._path(name).unlink(missing_ok=True)
                given = repair(name)
                if given is None:
                    continue
                try:
                    self.put(name, unpacked(name, given, plain=True))
                except BadChunk:
                    continue
                repaired.append(name)
        return Scrub(read, tuple(bad), tuple(repaired))

    def keep_only(self, names: Iterable[bytes]) -> int:
        """Remove every chunk that no capsule names any more; how many."""
        wanted = set(names)
        gone = [name for name in self.names() if name not in wanted]
        for name in gone:
            self._path(name).unlink(missing_ok=True)
        return len(gone)
