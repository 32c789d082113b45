"""Files that are ours alone: how every store of the state directory claims the one that it opens."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sidestep.fleet.errors import SidestepError

HINT = "name another state folder (XDG_STATE_HOME), or put its permissions right"


def claim(path: Path, error: type[SidestepError]) -> None:
    """Make the file, private, or check that it is a private file of ours. Raises ``error`` with a remedy.

    A link is not followed, and what is no regular file is refused: others may have put it there.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as fault:
        raise error(f"{path}: cannot be opened for writing: {fault.strerror}", hint=HINT) from fault
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise error(f"{path}: not a file of ours", hint=HINT)
        if status.st_mode & 0o077:
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)
