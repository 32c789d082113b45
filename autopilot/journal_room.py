"""Room on the journal's disk: a reserve that is let go when the disk is full, so that what runs can end in order.

A full disk must not keep a move that is under way from being written down. So the daemon
holds some room in a file of its own. The first write that fails, or too little free room,
makes ``trouble``: nothing new begins then. The reserve is given up only when a write failed,
and trouble ends only when it is held again, which keeps a disk at its limit from flapping.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from sidestep.autopilot.private_file import claim
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.resources import show_size

#: bytes that are held: the rows of about ten moves, with the write-ahead log that they make
RESERVE: Final = 8 << 20
#: free bytes below which nothing new begins
LOW: Final = RESERVE // 2


class NoRoom(SidestepError):
    """The reserve cannot be held."""


class Room:
    """Whether the journal can be written; ``trouble`` says why not, and is "" while it can."""

    def __init__(self, path: Path, *, size: int = RESERVE, low: int = LOW) -> None:
        self.path, self.size, self.low = path, size, low
        self.trouble = ""
        #: writes that failed so far
        self.failures = 0
        #: whether a reserve is wanted; a journal that is only looked at wants none
        self.kept = False

    def keep(self) -> None:
        """Hold the reserve from now on; too little room for it is trouble."""
        self.kept = True
        self.look()

    def failed(self, why: str) -> None:
        """A write failed for lack of room or a fault of the disk: let the reserve go."""
        self.trouble = why
        self.failures += 1
        if self.kept:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def look(self) -> bool:
        """Whether there is room, with the reserve held again. Says trouble, and ends none: a write has to prove it."""
        if not self.kept:
            return True
        why = self._hold() or self._free()
        if why:
            self.trouble = self.trouble or why
        return not why

    def _hold(self) -> str:
        """Take the reserve; why not, or nothing."""
        try:
            if self.path.exists() and self.path.stat().st_size == self.size:
                return ""
            claim(self.path, NoRoom)
            handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.posix_fallocate(handle, 0, self.size)
            finally:
                os.close(handle)
        except (OSError, SidestepError) as error:
            with contextlib.suppress(OSError):
                self.path.unlink()
            said = error.strerror if isinstance(error, OSError) else str(error.args[0])
            return f"no room for a reserve of {show_size(self.size)} in {self.path.parent}: {said}"
        return ""

    def _free(self) -> str:
        """Why there is too little room, or nothing."""
        try:
            status = os.statvfs(self.path.parent)
        except OSError as error:
            return f"{self.path.parent}: {error.strerror}"
        free = status.f_bavail * status.f_frsize
        return "" if free >= self.low else f"only {show_size(free)} free in {self.path.parent}"
