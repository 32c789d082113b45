"""The storage's half of a lock: it remembers the newest token and refuses older ones.

A lock alone cannot keep a paused process from writing late. Whatever is written under a lock
has to be checked where it is written, and the check has to be one act with the write.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidestep.locks.errors import Fenced, LockError

#: digits of a token, so that the file always has one length
_DIGITS = 20


class Fence:
    """Newest tokens by lock, in memory: for a storage that is one process. Safe for threads."""

    def __init__(self) -> None:
        self._guard = threading.RLock()
        self._seen: dict[str, int] = {}

    def admit(self, name: str, token: int) -> None:
        """Remember the token. Raises Fenced if a newer one of that lock was seen."""
        with self.admitted(name, token):
            pass

    @contextmanager
    def admitted(self, name: str, token: int) -> Iterator[None]:
        """The same, and nothing newer is admitted until the block ends: write inside it."""
        with self._guard:
            _compare(name, token, self._seen.get(name, 0))
            self._seen[name] = token
            yield


class FileFence:
    """The same in a folder on the shared storage itself: one small file a lock, synced before ``admit`` returns.

    For writers on one host, or on a file system whose ``flock`` reaches all hosts. Raises LockError
    for a damaged file: a fence that forgot is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def admit(self, name: str, token: int) -> None:
        """Remember the token for good. Raises Fenced if a newer one of that lock was seen."""
        with self.admitted(name, token):
            pass

    @contextmanager
    def admitted(self, name: str, token: int) -> Iterator[None]:
        """The same, and nothing newer is admitted until the block ends: write inside it."""
        path = self.folder / hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
        guard = os.open(path.with_suffix(".guard"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            seen = self._read(path)
            _compare(name, token, seen)
            if token > seen:
                self._write(path, token)
            yield
        finally:
            os.close(guard)

    def seen(self, name: str) -> int:
        """The newest token of that lock; 0 is none yet."""
        return self._read(self.folder / hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest())

    @staticmethod
    def _read(path: Path) -> int:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return 0
        if len(text) != _DIGITS + 1 or not text[:_DIGITS].isdigit():
            raise LockError(f"{path}: the fence is damaged: put back the newest token, {_DIGITS} digits and a newline")
        return int(text)

    def _write(self, path: Path, token: int) -> None:
        fresh = path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(handle, b"%0*d\n" % (_DIGITS, token))
            os.fsync(handle)
        finally:
            os.close(handle)
        fresh.replace(path)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _compare(name: str, token: int, seen: int) -> None:
    if token < 1:
        raise LockError(f"token {token} of lock {name!a}: tokens begin at 1")
    if token < seen:
        raise Fenced(f"token {token} of lock {name!a} is older than {seen}, which was seen here", seen)
