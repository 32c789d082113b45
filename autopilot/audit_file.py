"""The file ``audit.log``: the audit log's lines, one after the other, only ever appended.

The journal has the same lines, written in the transactions of the acts. The file follows it;
each is the other's witness. What does not fit is never mended in place: such a file is moved
aside as evidence, and begun anew from the journal.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from sidestep.autopilot.audit import Head, digest_in
from sidestep.autopilot.journal_schema import JournalError
from sidestep.autopilot.private_file import claim

#: bytes at the end of the file that hold its last line for certain
_TAIL: Final = 1 << 16
NAME: Final = "audit.log"


class AuditFile:
    """Appends whole lines, synced; a line that could not be written whole is taken back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        #: what is wrong with writing, or ""
        self.trouble = ""

    def append(self, lines: Iterable[bytes]) -> bool:
        """Write lines and sync; False, and ``trouble``, if that cannot be."""
        data = b"".join(lines)
        try:
            claim(self.path, JournalError)
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (OSError, JournalError) as error:
            self.trouble = str(error)
            return False
        try:
            size = os.fstat(handle).st_size
            try:
                _write_all(handle, data)
                os.fdatasync(handle)
            except OSError as error:
                self.trouble = f"{self.path}: {error}"
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, size)
                return False
        finally:
            os.close(handle)
        self.trouble = ""
        return True

    def end(self) -> tuple[Head, bytes]:
        """The number and digest of the last whole line as it says itself, and what stands after it.

        Raises ValueError if the last line is none, OSError.
        """
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL))
                tail = file.read()
        except FileNotFoundError:
            return Head(), b""
        whole, newline, rest = tail.rpartition(b"\n")
        if not newline:
            if len(tail) < size:
                raise ValueError("the last line has no end")
            return Head(), rest
        line = whole.rpartition(b"\n")[2]
        number = line[65:].partition(b'{"n":')[2].partition(b",")[0]
        if not number.isdigit() or not digest_in(line):
            raise ValueError("the last line is no entry")
        return Head(int(number), digest_in(line)), rest

    def cut(self, rest: int) -> None:
        """Take away that many bytes at the end: a line that was not written whole. Raises OSError."""
        with self.path.open("r+b") as file:
            file.truncate(file.seek(0, os.SEEK_END) - rest)
            os.fsync(file.fileno())

    def set_aside(self, clock: Callable[[], float]) -> Path:
        """Move the file away, as evidence. Raises OSError."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(clock()))
        names = (self.path.with_name(f"{self.path.name}.damaged-{stamp}{k or ''}") for k in range(1000))
        target = next(name for name in names if not name.exists())
        self.path.rename(target)
        return target


def _write_all(handle: int, data: bytes) -> None:
    """Raises OSError when not everything could be written, as on a disk that is just full."""
    while data:
        data = data[os.write(handle, data) :]
