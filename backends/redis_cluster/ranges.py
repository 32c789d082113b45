"""Hash slots and contiguous ranges of them: written, read, and of a key. Pure."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import scrub

#: of every cluster
SLOTS: Final = 16384


class Range(Struct, frozen=True, order=True):
    """Slots ``first`` to ``last``, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def ranges(slots: Iterable[int]) -> tuple[Range, ...]:
    """The fewest ranges that hold exactly these slots, in order."""
    found: list[Range] = []
    for slot in sorted(set(slots)):
        if found and slot == found[-1].last + 1:
            found[-1] = Range(found[-1].first, slot)
        else:
            found.append(Range(slot, slot))
    return tuple(found)


def written(slots: Iterable[int]) -> str:
    """Such as ``0-99,200``; "" for none."""
    return ",".join(map(str, ranges(slots)))


def read(text: str) -> tuple[int, ...]:
    """The slots of ``0-99,200``, in order, each once. Raises UsageError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        words = (first, last if dash else first)
        if not all(word.isascii() and word.isdigit() and len(word) <= 5 for word in words):
            raise UsageError(f"{scrub(part)!r} is no slot and no range of slots", hint="write --slots 0-99,200")
        low, high = map(int, words)
        if not low <= high < SLOTS:
            raise UsageError(f"{scrub(part)!r}: slots are 0 to {SLOTS - 1}, the lower one first")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def slot_of(key: bytes) -> int:
    """The slot of a key: CRC16 of its hash tag, if it has one, else of all of it."""
    begin = key.find(b"{")
    end = key.find(b"}", begin + 1)
    if begin >= 0 and end > begin + 1:
        key = key[begin + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


def one_range(text: str) -> Range:
    """A single range. Raises UsageError."""
    found: Sequence[Range] = ranges(read(text))
    if len(found) != 1:
        raise UsageError(f"{scrub(text)!r} is more than one range", hint="write one, such as 0-5460")
    return found[0]
