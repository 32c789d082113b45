"""The file of what occasions were seen to do to demand: written by the daemon, read by the worker alone.

What is in it is the worker's (``forecasting.calendar.memory``), which checks it; a file that
is damaged or gone costs a few nights of learning and nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sidestep.fleet.errors import SidestepError

#: more than any calendar keeps
MOST: Final = 64 << 20


def read_learned(path: Path) -> bytes:
    """What was kept; empty if there is nothing that can be read."""
    try:
        with path.open("rb") as file:
            return file.read(MOST)
    except OSError:
        return b""


def keep_learned(path: Path, learned: bytes) -> None:
    """Keep it in place of what was: a new private file, synced and renamed. Raises SidestepError."""
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(learned)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise SidestepError(f"{path}: cannot be written: {error.strerror}", hint="make room on the disk") from error
