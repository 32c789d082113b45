"""Backups of a daemon's state folder: one file, consistent while the daemon writes, with a digest of everything in it.

A backup is a tar file. Its first member is the manifest, which names every other member with
its size and SHA-256; the manifest's own digest is what to keep elsewhere. Databases are copied
by SQLite as of one moment each.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

from sidestep import __version__
from sidestep.autopilot.audit import split
from sidestep.autopilot.audit_file import NAME as AUDIT
from sidestep.autopilot.journal_read import JournalReader
from sidestep.autopilot.journal_schema import keep_copy
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import scrub

FORMAT: Final = "sidestep.backup/1"
MANIFEST: Final = "manifest.json"
JOURNAL: Final = "journal.db"
#: bytes that a manifest may have, and files in a backup
_MOST_MANIFEST: Final = 16 << 20
_MOST_FILES: Final = 100_000
_SQLITE: Final = b"SQLite format 3\0"
#: what is not state: locks, companions of databases, reserves, what is half written, and what a restore put aside
_LEFT_OUT: Final = re.compile(r"(.*(\.lock|-wal|-shm|-journal|\.reserve|\.tmp|\.sock)|lock|\..*|replaced-.*)")
_NAME: Final = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+:-]*(/[A-Za-z0-9_+-][A-Za-z0-9._+:-]*){0,7}")


class BackupError(SidestepError):
    """The backup cannot be made, or is not what was made."""


class Member(Struct, frozen=True):
    """One file of the backup; ``name`` is its path in the state folder."""

    name: str
    bytes: int
    sha256: str


class Manifest(Struct, frozen=True, kw_only=True):
    """What is in a backup. ``audit`` is the end of the audit log, as ``sidestep audit head`` prints it."""

    format: str
    created: float
    sidestep: str
    state: str
    generation: int
    events: int
    audit: str
    files: tuple[Member, ...]

    def encode(self) -> bytes:
        """As it is in the backup."""
        return msgspec.json.encode(self)

    def digest(self) -> str:
        """What to keep elsewhere."""
        return hashlib.sha256(self.encode()).hexdigest()


def backup(state: Path, target: Path, *, history: bool = False) -> Manifest:
    """Write a backup of the state folder into a new private file; a daemon may run.

    The recorded past is left out unless ``history``. Raises UsageError for a file that is there
    already, JournalError, BackupError and OSError; nothing is left of a backup that failed.
    """
    if target.exists():
        raise UsageError(f"{target} exists", hint="move it away, or name another file")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.absolute().parent) as made:
        folder = Path(made)
        facts = _journal(state, folder)
        files = [Member(JOURNAL, *_measure(folder / JOURNAL)), *_others(state, folder, facts["entries"], history)]
        manifest = Manifest(
            format=FORMAT,
            created=float(int(time.time())),
            sidestep=__version__,
            state=scrub(state.name),
            generation=int(facts["generation"]),
            events=int(facts["events"]),
            audit=f"{facts['entries']}:{facts['digest']}",
            files=tuple(files),
        )
        _pack(manifest, folder, folder / "backup.tar")
        try:
            os.link(folder / "backup.tar", target)  # never in the place of another file
        except FileExistsError:
            raise UsageError(f"{target} exists", hint="move it away, or name another file") from None
        _sync(target.absolute().parent)
    return manifest


@contextmanager
def opened(file: Path, expected: str = "") -> Iterator[tuple[Manifest, tarfile.TarFile]]:
    """A backup, with its manifest checked. ``expected`` is the manifest's digest, if it is known.

    Raises BackupError and UsageError for a file that is no backup, OSError.
    """
    try:
        with tarfile.open(file, "r:") as tar:
            manifest = _manifest(tar, file)
            if expected and not (len(expected) >= 12 and manifest.digest().startswith(expected.lower())):
                raise BackupError(f"{file}: its digest is {manifest.digest()}, not {expected}; nothing was restored")
            yield manifest, tar
    except tarfile.TarError as error:
        raise UsageError(f"{file}: not a backup of ours: {error}") from error


def unpack(manifest: Manifest, tar: tarfile.TarFile, folder: Path) -> None:
    """Write every member into the folder, compared with the manifest. Raises BackupError at the first difference."""
    for wanted in manifest.files:
        info = tar.next()
        if info is None or info.name != wanted.name or not info.isreg() or info.size != wanted.bytes:
            found = "the end" if info is None else scrub(f"{info.name}, {info.size} bytes")
            raise BackupError(f"{wanted.name}: {wanted.bytes} bytes expected, {found} found; the backup is damaged")
        target, source = folder / wanted.name, tar.extractfile(info)
        assert source is not None
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as out:  # noqa: PTH123 - a descriptor
            digest = _copy(source, out)
            out.flush()
            os.fsync(out.fileno())
        if digest != wanted.sha256:
            said = f"its digest is {digest[:12]}, the manifest's {wanted.sha256[:12]}"
            raise BackupError(
                f"{wanted.name} is not what was backed up: {said}", hint="take another backup; nothing was restored"
            )
    if tar.next() is not None:
        raise BackupError("there is more in the backup than its manifest says; nothing was restored")


def _journal(state: Path, folder: Path) -> dict[str, int | str]:
    """Copy the journal, and say what the copy holds."""
    with JournalReader(state / JOURNAL) as reader:
        keep_copy(reader.db, folder / JOURNAL)
    with closing(sqlite3.connect(folder / JOURNAL)) as db:
        query = (
            "SELECT (SELECT generation FROM placement), (SELECT seq FROM chain), (SELECT n FROM audit_head),"
            " (SELECT digest FROM audit_head)"
        )
        return dict(zip(("generation", "events", "entries", "digest"), db.execute(query).fetchone(), strict=True))


def _others(state: Path, folder: Path, entries: int | str, history: bool) -> Iterator[Member]:
    """Copy every other file of the state."""
    count = 0
    for path in sorted(state.rglob("*")):
        parts = path.relative_to(state).parts
        name = "/".join(parts)
        if name == JOURNAL or any(_LEFT_OUT.fullmatch(part) for part in parts) or name.startswith(f"{JOURNAL}."):
            continue
        if (parts[0] == "history" and not history) or path.is_symlink() or not path.is_file():
            continue
        count += 1
        if not _NAME.fullmatch(name) or count > _MOST_FILES:
            raise BackupError(f"{path}: a file of that name is not ours; move it away")
        target = folder / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _copy_file(path, target, int(entries) if name == AUDIT else None)
        except FileNotFoundError:
            continue  # it was replaced or removed just now, as what is only kept for a while is
        yield Member(name, *_measure(target))


def _copy_file(path: Path, target: Path, entries: int | None) -> None:
    with path.open("rb") as source:
        first = source.read(len(_SQLITE))
        source.seek(0)
        if first != _SQLITE:
            with target.open("xb") as out:
                if entries is not None:  # no entry that the copy of the journal has not
                    out.write(b"".join(split(source.read())[:entries]))
                else:
                    shutil.copyfileobj(source, out)
            return
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA query_only = ON")
        keep_copy(db, target)


def _pack(manifest: Manifest, folder: Path, target: Path) -> None:
    """The tar file, private and synced; the same content gives the same bytes."""
    handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "w+b") as out:  # noqa: PTH123 - a descriptor
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            body = manifest.encode()
            tar.addfile(_info(MANIFEST, len(body), manifest.created), io.BytesIO(body))
            for member in manifest.files:
                with (folder / member.name).open("rb") as source:
                    tar.addfile(_info(member.name, member.bytes, manifest.created), source)
        out.flush()
        os.fsync(out.fileno())


def _info(name: str, size: int, time: float) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, int(time), 0o600
    return info


def _manifest(tar: tarfile.TarFile, file: Path) -> Manifest:
    info = tar.next()
    if info is None or info.name != MANIFEST or not info.isreg() or info.size > _MOST_MANIFEST:
        raise UsageError(f"{file}: not a backup of ours: no manifest")
    source = tar.extractfile(info)
    assert source is not None
    body = source.read()
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: its manifest cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise UsageError(f"{file}: of format {scrub(manifest.format)}, this sidestep reads {FORMAT}")
    names = [member.name for member in manifest.files]
    if body != manifest.encode() or JOURNAL not in names or len(set(names)) != len(names):
        raise UsageError(f"{file}: its manifest was not written by sidestep")
    if strange := next((n for n in names if not _NAME.fullmatch(n) or _LEFT_OUT.fullmatch(n.split("/")[0])), ""):
        raise UsageError(f"{file}: {scrub(strange)} is no file of a state folder")
    return manifest


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, digest


def _copy(source: IO[bytes], out: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := source.read(1 << 20):
        digest.update(block)
        out.write(block)
    return digest.hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
