"""Tables in files without a name: what the history holds need not stay in the daemon's memory.

A large table is a file of the state folder that has been removed already: the kernel keeps
what is used in its cache, writes it back when it likes, and frees it with the process. Its
space is reserved at once, since a full disk would end the daemon in the middle of a write.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from sidestep.fleet.history_tables import Kept

#: tables below it stay in memory
SMALL: Final = 4 << 20


class Tables:
    """Makes the tables of a history; ``trim`` takes what lies in files out of our memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: list[mmap.mmap] = []
        #: why a table that should lie in a file does not
        self.trouble = ""

    def allocate(self, shape: tuple[int, int], dtype: Any) -> Kept:
        """A table of that shape, whatever is in it; in memory where there is no room on the disk."""
        size = shape[0] * shape[1] * np.dtype(dtype).itemsize
        if size < SMALL:
            return np.empty(shape, dtype)
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                os.posix_fallocate(file.fileno(), 0, size)
                made = mmap.mmap(file.fileno(), size)
        except OSError as error:
            self.trouble = f"no room for {size >> 20} MiB in {self._folder}: {error.strerror}; it is kept in memory"
            return np.empty(shape, dtype)
        # Tables that a wider one replaced close themselves when nothing looks at them any more.
        self._maps = [each for each in self._maps if not _abandoned(each)]
        self._maps.append(made)
        return np.frombuffer(made, dtype).reshape(shape)

    def trim(self) -> None:
        """Let the kernel have the pages; what was written stays in the files."""
        for each in self._maps:
            each.madvise(mmap.MADV_DONTNEED)


def _abandoned(each: mmap.mmap) -> bool:
    """Close a map that no array looks into; False if one does."""
    try:
        each.close()
    except BufferError:
        return False
    return True
