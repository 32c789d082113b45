"""What of a large fleet stays for hours is taken out of the sight of Python's collector."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Final

#: names from which on it is worth it
MANY: Final = 2000


class Settling:
    """The names of twenty thousand shards outlive a thousand pictures, and the collector would look at each of
    them every few beats: more work than painting. They are frozen once, when they come."""

    def __init__(self) -> None:
        self._names: Sequence[object] = ()

    def look(self, names: Sequence[object]) -> bool:
        """Freeze what there is if these names are new and many; says whether it did."""
        if names is self._names:
            return False
        self._names = names
        if len(names) < MANY:
            return False
        gc.collect()
        gc.freeze()
        return True
