"""A parsed fleet kept in the cache folder, so that a daemon of a large fleet is back before its file is read anew.

Nothing in it is believed that is not compared: the bytes of every file that was read, what every include
pattern finds now, the named policies, the plugins' goals, and the code that reads all of it. The cache is a
private file of ours with its own digest in front; one that is damaged, foreign or of something else is as if
it were not there, and the files are parsed. It is never needed, and what cannot be written is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from sidestep import __version__
from sidestep.autopilot.config_file import MAX_BYTES, FleetFiles, load_files, matched, read_files
from sidestep.fleet import policies
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.extensions import installed
from sidestep.fleet.inventory import FleetSpec

#: bytes of all files together below which parsing costs less than looking
LEAST: Final = 128 << 10
#: a cache is not larger
MOST: Final = 256 << 20
_MAGIC: Final = b"sidestep fleet 1\n"
_DIGEST: Final = hashlib.sha256().digest_size
_CODE: Final = Path(policies.__file__).parent


class Stamp(Struct, frozen=True):
    """What one file was: as messages name it, where it is, and the SHA-256 of its bytes."""

    source: str
    path: str
    digest: bytes


class Parsed(Struct, frozen=True, kw_only=True):
    """A fleet, and everything that it was made from."""

    key: bytes
    files: tuple[Stamp, ...]
    #: the folder, pattern and finds of every include
    includes: tuple[tuple[str, str, tuple[str, ...]], ...]
    fleet: FleetSpec


def load_cached(path: Path, cache: Path) -> FleetSpec:
    """The fleet of that file, from the cache if nothing differs. Raises ConfigError as ``load_fleet`` does."""
    found = _recall(path, cache)
    if found is not None:
        return found
    files = read_files(path)
    fleet = load_files(files)
    if sum(len(data) for data in files.data) >= LEAST:
        _keep(files, fleet, cache)
    return fleet


def _recall(path: Path, cache: Path) -> FleetSpec | None:
    """The cached fleet if it is whole and of exactly what is there now."""
    try:
        data = _private(cache)
        head = len(_MAGIC) + _DIGEST
        if data is None or data[: len(_MAGIC)] != _MAGIC:
            return None
        body = memoryview(data)[head:]
        if hashlib.sha256(body).digest() != data[len(_MAGIC) : head]:
            return None
        parsed = msgspec.msgpack.decode(body, type=Parsed)
        same = (
            bool(parsed.files)
            and parsed.files[0].source == str(path)
            and parsed.key == _key()
            and all(_unchanged(file) for file in parsed.files)
            and all(matched(Path(folder), pattern) == found for folder, pattern, found in parsed.includes)
        )
    except (OSError, ValueError, RecursionError, ConfigError):
        return None
    return parsed.fleet if same else None


def _private(cache: Path) -> bytes | None:
    """The file's bytes; None unless it is a regular file of ours that nobody else may write or read."""
    handle = os.open(cache, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(handle, "rb") as file:  # noqa: PTH123 - a handle has no path
        status = os.fstat(handle)
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
        return file.read() if ours and status.st_size <= MOST else None


def _unchanged(stamp: Stamp) -> bool:
    """Whether that file is where it was, and says what it said."""
    path = Path(stamp.source)
    if str(path.resolve()) != stamp.path:
        return False
    with path.open("rb") as file:
        return hashlib.sha256(file.read(MAX_BYTES + 1)).digest() == stamp.digest


def _key() -> bytes:
    """What the same bytes are read by: this version, its code, the named policies and the plugins."""
    made = hashlib.sha256()
    code = sorted((*_CODE.glob("*.py"), Path(__file__)))
    for path in (*code, *policies.files().values()):
        status = path.stat()
        made.update(f"{path}:{status.st_mtime_ns}:{status.st_size}:{status.st_ino}\n".encode())
    for path in policies.files().values():
        made.update(hashlib.sha256(path.read_bytes()).digest())
    words = (__version__, sys.version, msgspec.__version__, *installed(), str(Path.home()), str(Path.cwd()))
    made.update("\n".join(words).encode())
    return made.digest()


def _keep(files: FleetFiles, fleet: FleetSpec, cache: Path) -> None:
    """Put the fleet there in one piece; a full disk or a folder of others is no reason not to start."""
    stamps = tuple(
        Stamp(document.source, str(path), hashlib.sha256(data).digest())
        for document, path, data in zip(files.documents, files.paths, files.data, strict=True)
    )
    with contextlib.suppress(OSError, ConfigError):
        includes = tuple((folder, pattern, matched(Path(folder), pattern)) for folder, pattern in files.patterns)
        body = msgspec.msgpack.encode(Parsed(key=_key(), files=stamps, includes=includes, fleet=fleet))
        cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{cache.name}.", dir=cache.parent)  # 0600
        try:
            with open(handle, "wb") as file:  # noqa: PTH123 - a handle has no path
                file.write(_MAGIC + hashlib.sha256(body).digest())
                file.write(body)
            Path(name).replace(cache)  # not synced: a torn one has another digest
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
