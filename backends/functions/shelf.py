"""A worker's chunks: what comes while a block stands is in memory first, and on the disk a moment later.

Making a file takes longer than checking what is in it, and nobody reads the file before the block goes on: the seat
that is ready has been told the chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sidestep.backends.functions.capsules import Refused, Store


class Shelf(Store):
    """The chunks of one worker's process.

    Invariant: a chunk that was taken is found, in memory until its file is there.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._held: dict[bytes, bytes] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="chunks")
        #: names of chunks that this process has checked
        self._proven: set[bytes] = set()

    def __contains__(self, name: bytes) -> bool:
        return name in self._held or super().__contains__(name)

    def take(self, given: Mapping[bytes, bytes]) -> int:
        """Store records that others sent, once all are checked; bytes that were new. Raises Refused."""
        fresh = super().take(given)
        self._proven.update(given)
        return fresh

    def catch(self, given: Mapping[bytes, bytes]) -> None:
        """Take a few records that others sent, once all are checked; their files follow. Raises Refused."""
        for name, record in given.items():
            self._check(name, record)
        self._proven.update(given)
        self.hold(given)

    def hold(self, given: Mapping[bytes, bytes]) -> None:
        """Take a few records of a seat of ours; their files follow."""
        self._held.update(given)
        self._writer.submit(self._put_down, tuple(given))

    def settle(self) -> None:
        """Wait until everything is on the disk, where seats read. Raises Refused."""
        self._writer.submit(self._put_down, ()).result()
        if self._held:
            raise Refused(f"{len(self._held)} chunks could not be written")

    def prove(self, name: bytes) -> None:
        """See, once, that a chunk is here and what its name says. Raises Refused."""
        if name not in self._proven:
            super().prove(name)
            self._proven.add(name)

    def records(self, names: Sequence[bytes]) -> list[bytes]:
        """Chunks as packed records, in order. Raises Refused naming the first that is missing."""
        found = []
        for name in names:
            # In memory until its file is there, so that it is in one of both whenever it is looked for in this order.
            held = self._held.get(name)
            found.append(held if held is not None else super().records([name])[0])
        return found

    def _put_down(self, names: Sequence[bytes]) -> None:
        for name in names or tuple(self._held):
            record = self._held.get(name)
            if record is None:
                continue
            try:
                if not super().__contains__(name):
                    self._write(self._path(name), record)
            except OSError:
                # Tried again by whoever needs the file.
                continue
            self._held.pop(name, None)
