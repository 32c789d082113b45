"""A folder of an agent's own: private, and gone with it; what killed agents left goes with the next one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LOCK: Final = "held"


class OwnFolder:
    """Makes the folder; locked as long as its maker lives."""

    @staticmethod
    @contextlib.contextmanager
    def make(base: Path | None = None) -> Iterator[Path]:
        """A new folder, 0700, below ``$XDG_CACHE_HOME/sidestep/functions``; removed at the end."""
        above = base or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "sidestep", "functions")
        above.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(above):
            sweep(above)
            folder = Path(tempfile.mkdtemp(prefix="", dir=above))
            lock = (folder / _LOCK).open("wb")
            fcntl.flock(lock, fcntl.LOCK_EX)
        with lock:
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _alone(above: Path) -> Iterator[None]:
    """No other maker sweeps meanwhile: a folder that is not locked yet looks like one whose maker is dead."""
    handle = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sweep(above: Path) -> None:
    """Remove the folders whose makers are dead."""
    for folder in above.iterdir():
        with contextlib.suppress(OSError), (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
