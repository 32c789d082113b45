"""What bounds the codec, and the words in which it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: bytes in memory
Data: TypeAlias = bytes | bytearray | memoryview


class Refused(TypeError):
    """A value that is outside the universe, or that would not come back as it was.

    ``code`` is stable and public: ``type``, ``dtype``, ``memory``, ``iterator``, ``set-order``, ``key``, ``size``,
    ``attributes``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Damaged(ValueError):
    """Bytes that no encoder of ours made, or that are larger than they may be. Nothing was built from them."""


class Sets(Enum):
    """How sets come back.

    ``EXACT``: with the table that they had, so that they iterate, pop and grow in the same order; a set for which that
    cannot be promised is refused with ``set-order``. Text among elements needs a PYTHONHASHSEED that is the same
    everywhere. ``HERE``: the same for copies that stay in this process and its forks, where it is. ``CONTENTS``: with
    the same elements, in any order; for values of which nothing ever asks the order.
    """

    EXACT = "exact"
    HERE = "here"
    CONTENTS = "contents"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one value, for both directions: of ``memory`` (bytes that decoding may take), and of ``objects``."""

    memory: int = 8 << 30
    objects: int = 1 << 28


LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as a stream, and the memory of its arrays beside it.

    Invariant: ``buffers`` are flat arrays of uint8. After ``encode`` they are *views of the living arrays* (nothing was
    copied): copy them, or send them, before the value changes. After ``unpack`` they are views of the packed bytes.
    """

    stream: bytes | memoryview
    buffers: tuple[NDArray[np.uint8], ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all parts together."""
        return len(self.stream) + sum(one.nbytes for one in self.buffers)

    def frozen(self) -> Encoded:
        """The same, with a private copy of each buffer."""
        return Encoded(self.stream, tuple(one.copy() for one in self.buffers))
