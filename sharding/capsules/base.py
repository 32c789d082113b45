"""The state of a block that went ahead, put together before the block comes; what comes later replaces what differs.

So that of a large state the changed chunks alone are touched while the block stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.capsules import CHUNK, CapsuleHeader
from sidestep.sharding.capsules.opening import Chunks, bounded, chunk_of
from sidestep.sharding.codec import LIMITS, Encoded, Limits
from sidestep.sharding.codec.arrays import ALIGN, room
from sidestep.sharding.codec.decoding import alignments

#: bytes, and share of its size, by which a part may grow where it is
_SLACK: Final = 64 << 10
_GROWTH: Final = 16


class Base:
    """The parts of the newest capsule of one block.

    Invariant: a chunk beside which there is a name was checked against it, and has the length of its place.
    """

    def __init__(self) -> None:
        self._parts: list[_Part] = []

    def follow(self, header: CapsuleHeader, store: Chunks, *, limits: Limits = LIMITS) -> Encoded:
        """The state of a capsule, in this memory: it holds until the next is followed. Raises Rejected."""
        bounded(header, limits)
        names, at = header.names(), 0
        self._parts = [*self._parts, *(_Part() for _ in header.parts[len(self._parts) :])][: len(header.parts)]
        for part, size in zip(self._parts, header.parts, strict=True):
            count = -(-size // CHUNK)
            part.follow(size, names[at : at + count], store)
            at += count
        stream, *buffers = (part.memory[: part.size] for part in self._parts)
        return Encoded(stream.data, tuple(buffers))

    def settle(self, state: Encoded) -> None:
        """Move parts in which arrays could not stay, for where they lie. Raises codec.Damaged."""
        for part, align in zip(self._parts[1:], alignments(state), strict=False):
            part.move(align)

    def give_away(self) -> None:
        """Whoever decoded the last state keeps its memory."""
        self._parts.clear()


class _Part:
    """One part in memory that it may grow in."""

    def __init__(self) -> None:
        self.memory: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.size = 0
        self._names: list[bytes] = []

    def follow(self, size: int, wanted: Sequence[bytes], store: Chunks) -> None:
        """Take over what differs. Raises Rejected."""
        if self.memory.nbytes < size:
            grown = np.empty(size + size // _GROWTH + _SLACK, np.uint8)
            grown[: self.size] = self.memory[: self.size]
            self.memory = grown
        names = [*self._names, *(b"" for _ in wanted[len(self._names) :])][: len(wanted)]
        if size != self.size:
            # The last chunk may be shorter than others, so that neither the former last one nor this one is known.
            for last in (len(self._names) - 1, len(wanted) - 1):
                if 0 <= last < len(names):
                    names[last] = b""
        self._names, self.size = names, size
        for number, name in enumerate(wanted):
            if names[number] != name:
                start = number * CHUNK
                names[number] = b""
                chunk = chunk_of(name, min(CHUNK, size - start), store)
                self.memory[start : start + len(chunk)] = np.frombuffer(chunk, np.uint8)
                names[number] = name

    def move(self, align: int) -> None:
        """Have the memory begin at another place modulo 64, if it does not begin there."""
        if self.memory.__array_interface__["data"][0] % ALIGN != align:
            moved = room(self.memory.nbytes, align)
            moved[: self.size] = self.memory[: self.size]
            self.memory = moved
