"""Arrays as spans of memory: those that overlap share a buffer, so that views stay views of one memory."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidestep.sharding.codec.columns import ints
from sidestep.sharding.codec.limits import Damaged, Refused
from sidestep.sharding.codec.universe import DTYPE_KINDS

#: addresses keep their place within so many bytes, which is what vector units look at
ALIGN: Final = 64
_DTYPE: Final = re.compile(r"[<>|]?[biufcSUmM][0-9]{1,9}(\[[0-9]{0,9}[A-Za-zμ]{1,7}\])?")


class _Memory:
    """A span of another array's memory, as numpy asks for it."""

    def __init__(self, start: int, length: int, owner: object) -> None:
        self.owner = owner
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (length,), "data": (start, True)}


def bounds(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """The first and the last byte that an array reaches, from its own first element; (0, 0) if it has none."""
    if 0 in shape or not itemsize:
        return 0, 0
    reach = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
    return sum(x for x in reach if x < 0), sum(x for x in reach if x > 0) + itemsize


def _owned(one: NDArray[Any]) -> None:
    """Raise Refused for an array over memory that others may hold."""
    root: Any = one
    while type(root.base) is np.ndarray:
        root = root.base
    if root.base is not None and type(root.base) is not bytes:
        raise Refused("memory", f"an array over the memory of a {type(root.base).__qualname__}")


class Spans:
    """The spans of all arrays of one value."""

    def __init__(self) -> None:
        self._arrays: list[tuple[int, int, int, NDArray[Any]]] = []

    def add(self, arrays: list[NDArray[Any]]) -> None:
        """Take note of arrays, in the order of their numbers. Raises Refused."""
        for one in arrays:
            _owned(one)
            start = one.__array_interface__["data"][0]
            low, high = bounds(one.shape, one.strides, one.dtype.itemsize)
            self._arrays.append((start + low, start + high, start, one))

    def places(self) -> list[tuple[int, int]]:
        """Of each array its buffer (0: none) and the offset in it."""
        return self._laid_out()[0]

    def write(self, out: list[bytes]) -> tuple[NDArray[np.uint8], ...]:
        """Write the places, and of each buffer its alignment; give the buffers."""
        places, spans = self._laid_out()
        ints(out, [buffer for buffer, _ in places])
        ints(out, [offset for _, offset in places])
        ints(out, [low % ALIGN for low, _, _ in spans])
        return tuple(np.asarray(_Memory(low, high - low, held)) for low, high, held in spans)

    def _laid_out(self) -> tuple[list[tuple[int, int]], list[list[Any]]]:
        spans: list[list[Any]] = []
        where = [0] * len(self._arrays)
        for at in sorted(range(len(self._arrays)), key=lambda at: self._arrays[at][:2]):
            low, high, _, one = self._arrays[at]
            if low == high:
                continue
            if spans and low < spans[-1][1]:
                spans[-1][1] = max(high, spans[-1][1])
            else:
                spans.append([low, high, []])
            spans[-1][2].append(one)
            where[at] = len(spans)
        # Buffers in the order in which their arrays were met: a later capsule of one program has them alike.
        turns = {old: new for new, old in enumerate(dict.fromkeys(at for at in where if at), 1)}
        ordered = [spans[old - 1] for old in turns]
        places = [
            (turns[at], start - ordered[turns[at] - 1][0]) if at else (0, 0)
            for at, (_, _, start, _) in zip(where, self._arrays, strict=True)
        ]
        return places, ordered


def room(length: int, align: int) -> NDArray[np.uint8]:
    """Writable memory that begins at the same place within ``ALIGN`` bytes."""
    memory = np.empty(length + 2 * ALIGN, np.uint8)
    skip = (align - memory.__array_interface__["data"][0]) % ALIGN
    return memory[skip : skip + length]


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of a name. Raises Damaged for one outside the universe."""
    if not _DTYPE.fullmatch(name):
        raise Damaged(f"no dtype of the universe: {name[:40]!r}")
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError) as error:
        raise Damaged(f"no dtype: {name[:40]!r}") from error
    if dtype.kind not in DTYPE_KINDS or dtype.hasobject:
        raise Damaged(f"no dtype of the universe: {name[:40]!r}")
    return dtype


def view(
    memory: NDArray[np.uint8] | None, dtype: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...], start: int
) -> NDArray[Any]:
    """An array in a buffer. Raises Damaged if it would reach outside."""
    low, high = bounds(shape, strides, dtype.itemsize)
    size = 0 if memory is None else memory.nbytes
    if min(shape, default=0) < 0 or start + low < 0 or start + high > size or (memory is None and start):
        raise Damaged(f"an array of shape {shape} reaches outside its memory")
    try:
        if low == high:
            return np.ndarray(shape, dtype, np.empty(1, np.uint8), 0, strides)
        return np.ndarray(shape, dtype, memory, start, strides)
    except (TypeError, ValueError, MemoryError) as error:
        raise Damaged(f"no array: {error}") from error
