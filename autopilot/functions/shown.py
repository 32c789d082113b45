"""What runs, left in a file beside the daemon's socket by whoever runs it, for the daemon to show.

One file a process, replaced as a whole once a second and gone with the process. A daemon that is not there costs
nothing but the file; a file that is broken, stale or somebody else's is not shown.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from sidestep.fleet.functionruns import FunctionRun

#: seconds after which nobody believes a file any more; bytes that one may have
STALE: Final = 10.0
_MOST: Final = 1 << 20


def folder_beside(socket: Path) -> Path:
    """Where the files are: beside the daemon's socket."""
    return socket.with_suffix(".functions")


def leave(folder: Path, run: FunctionRun) -> None:
    """Write a process's file as a whole, for its own user only. Nothing depends on it: what fails is not shown."""
    path = folder / f"{run.pid}.json"
    part = path.with_suffix(".part")
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(run))
        part.replace(path)


def withdraw(folder: Path, pid: int) -> None:
    """Take a process's file away, and the folder with the last one."""
    with contextlib.suppress(OSError):
        (folder / f"{pid}.json").unlink()
        folder.rmdir()


def shown(folder: Path, now: float, alive: Callable[[int], bool] | None = None) -> tuple[FunctionRun, ...]:
    """What the files say that are fresh, whole and this user's own; those of processes that ended are cleared away."""
    alive = alive or _alive
    found = list[FunctionRun]()
    with contextlib.suppress(OSError):
        for path in sorted(folder.glob("*.json")):
            run = _read(path)
            if run is None or path.stem != str(run.pid):
                continue
            if not alive(run.pid):
                withdraw(folder, run.pid)
            elif abs(now - run.time) <= STALE:
                found.append(run)
    return tuple(found)


def _read(path: Path) -> FunctionRun | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_size > _MOST:
                return None
            return msgspec.json.decode(file.read(_MOST), type=FunctionRun)
    except (OSError, msgspec.DecodeError):
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
