"""What a value is made of: its mutable objects, in an order that is the same for every faithful copy."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidestep.sharding.universe.observed import ARRAY_KINDS

#: immutable, without references
ATOMS: Final = frozenset({int, float, str, bool, bytes, complex, type(None), range, slice})
DICTS: Final = frozenset({dict, Counter, OrderedDict, defaultdict})
SEQUENCES: Final = frozenset({list, deque})
SETS: Final = frozenset({set, bytearray})
MUTABLE: Final = DICTS | SEQUENCES | SETS


class Outside(TypeError):
    """A value is outside the universe of shards: it, or what it holds, cannot be shipped."""


@dataclass(slots=True)
class Survey:
    """The mutable objects below some values, each once, in order of discovery."""

    objects: list[Any] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    arrays: list[NDArray[Any]] = field(default_factory=list)

    def visit(self, value: Any) -> None:
        """Add what is below a value. Raises Outside."""
        todo = [value]
        while todo:
            one = todo.pop()
            kind = type(one)
            if kind in ATOMS:
                continue
            if kind is tuple or kind is frozenset:
                todo.extend(reversed(inner(one)))
                continue
            if kind is np.ndarray:
                self._array(one)
                continue
            if kind not in MUTABLE:
                self._other(one)
                continue
            if id(one) in self.numbers:
                continue
            self._add(one)
            if kind in DICTS:
                todo.extend(reversed(inner((*one.keys(), *one.values()))))
                if kind is defaultdict:
                    raise Outside("reading a defaultdict may change it")
            elif kind in SEQUENCES or kind is set:
                todo.extend(reversed(self._rows(inner(one))))

    def _rows(self, values: list[Any]) -> list[Any]:
        """Add the lists of atoms that values begin with, at once; what is left to visit."""
        numbers, objects = self.numbers, self.objects
        for at, one in enumerate(values):
            if type(one) is not list or not set(map(type, one)) <= ATOMS:
                return values[at:]
            if id(one) not in numbers:
                numbers[id(one)] = len(objects)
                objects.append(one)
        return []

    def _add(self, one: Any) -> None:
        self.numbers[id(one)] = len(self.objects)
        self.objects.append(one)

    def _array(self, one: NDArray[Any]) -> None:
        if one.dtype.kind not in ARRAY_KINDS or one.dtype.names:
            raise Outside(f"an array of {one.dtype}")
        if id(one) not in self.numbers:
            self._add(one)
            self.arrays.append(one)

    @staticmethod
    def _other(one: Any) -> None:
        plain = isinstance(one, np.generic) and one.dtype.kind in ARRAY_KINDS
        if not plain and not isinstance(one, np.dtype):
            raise Outside(f"a value of type {type(one).__name__}")


def inner(values: Any) -> list[Any]:
    """The values that are not atoms; one look per value at C speed when all are."""
    if set(map(type, values)) <= ATOMS:
        return []
    return [v for v in values if type(v) not in ATOMS]


def surveyed(*values: Any) -> Survey:
    """The survey of some values. Raises Outside."""
    survey = Survey()
    for value in values:
        survey.visit(value)
    return survey


def overlap(one: Survey, other: Survey) -> bool:
    """Whether two surveys have an object or memory in common."""
    if not one.numbers.keys().isdisjoint(other.numbers.keys()):
        return True
    return any(np.may_share_memory(a, b) for a in one.arrays for b in other.arrays)
