"""One daemon a fleet: a lock on a file that ends with the process that holds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from sidestep.fleet.errors import SidestepError, UsageError


class DaemonRunning(SidestepError):
    """Another daemon holds the lock."""


class InstanceLock:
    """An exclusive lock; the kernel releases it whatever ends the process, so it is never stale."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock and write our process id into the file. Raises DaemonRunning."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise DaemonRunning(
                f"a daemon already runs (process {owner} holds {self._path})",
                hint=f"use it, or end it first: kill {owner}",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; the file stays, since removing it would let two processes lock two files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def private_folder(folder: Path) -> None:
    """Make the folder 0700 if it is missing. Raises UsageError if it is somebody else's or open to others."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise UsageError(
            f"{folder} must be a folder of yours that is closed to others", hint=f"chmod 700 {folder}, or name another"
        )


def remove_socket(path: Path) -> None:
    """Remove a socket that nobody serves (the lock is held). Raises UsageError for another kind of file."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise UsageError(f"{path} exists and is not a socket", hint="move it away, or name another --socket")
        path.unlink()
