"""Results as values that the codec knows: objects that the coordinator has are named by number, not copied."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidestep.sharding.execute.walk import ATOMS, DICTS, MUTABLE, Outside, Survey, inner

#: marks of a frozen value; everything else is a value as it is
_REF, _VIEW, _AGAIN, _NEW, _TUPLE, _VALUE = range(6)
_KINDS: Final[dict[str, type]] = {"list": list, "dict": dict, "deque": deque}


def _pointer(a: NDArray[Any]) -> int:
    return int(a.__array_interface__["data"][0])


def _owner(a: NDArray[Any]) -> NDArray[Any]:
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a


class Freezer:
    """Turns values of a shard into trees in which live-ins (and views of them) are references."""

    def __init__(self, survey: Survey) -> None:
        self.numbers = survey.numbers
        self._owners = dict[int, tuple[int, NDArray[Any]]]()
        for a in survey.arrays:
            self._owners.setdefault(id(_owner(a)), (survey.numbers[id(a)], a))
        self._made = dict[int, tuple[int, Any]]()

    def column(self, values: list[Any]) -> tuple[bool, list[Any]]:
        """Many values; False and the values themselves when all are atoms."""
        if set(map(type, values)) <= ATOMS:
            return False, values
        return True, [self(v) for v in values]

    def __call__(self, value: Any) -> tuple[Any, ...]:  # noqa: PLR0911
        """One value as a tree."""
        kind = type(value)
        if kind in ATOMS:
            return _VALUE, value
        number = self.numbers.get(id(value)) if kind in MUTABLE or kind is np.ndarray else None
        if number is not None:
            return _REF, number
        if kind is np.ndarray:
            known = self._owners.get(id(_owner(value)))
            if known is None:
                return _VALUE, value
            k, base = known
            return _VIEW, k, _pointer(value) - _pointer(base), value.dtype.str, value.shape, value.strides
        if kind is tuple:
            return (_VALUE, value) if set(map(type, value)) <= ATOMS else (_TUPLE, [self(v) for v in value])
        if kind.__name__ in _KINDS and kind in (list, dict, deque):
            return self._container(value)
        plain = isinstance(value, np.generic | set | frozenset | bytearray)
        if not plain and not (kind in DICTS and not inner((*value.keys(), *value.values()))):
            raise Outside(f"a result of type {kind.__name__}")
        return _VALUE, value

    def _container(self, value: Any) -> tuple[Any, ...]:
        made = self._made.get(id(value))
        if made is not None:
            return _AGAIN, made[0]
        number = len(self._made)
        self._made[id(value)] = number, value
        kind = type(value).__name__
        if kind == "dict":
            keys, values = self.column(list(value)), self.column(list(value.values()))
            return _NEW, number, kind, keys, values
        extra = value.maxlen if kind == "deque" else None
        return _NEW, number, kind, self.column(list(value)), extra


class Thawer:
    """Turns trees back, with the coordinator's own objects in place of references."""

    def __init__(self, objects: list[Any]) -> None:
        self.objects = objects
        self._made = dict[int, Any]()

    def column(self, frozen: tuple[bool, list[Any]]) -> list[Any]:
        """Many values."""
        trees, values = frozen
        return [self(v) for v in values] if trees else values

    def __call__(self, tree: tuple[Any, ...]) -> Any:
        """One value."""
        mark, *rest = tree
        if mark == _VALUE:
            return rest[0]
        if mark == _REF:
            return self.objects[rest[0]]
        if mark == _VIEW:
            return self._view(*rest)
        if mark == _TUPLE:
            return tuple(self(v) for v in rest[0])
        if mark == _AGAIN:
            return self._made[rest[0]]
        number, kind, first, second = rest
        if kind == "dict":
            made: Any = {}
            self._made[number] = made
            made.update(zip(self.column(first), self.column(second), strict=True))
        else:
            made = deque(maxlen=second) if kind == "deque" else []
            self._made[number] = made
            made.extend(self.column(first))
        return made

    def _view(self, k: int, offset: int, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> NDArray[Any]:
        base = self.objects[k]
        owner = _owner(base)
        memory = owner.ravel(order="K").view(np.uint8)
        if not np.shares_memory(memory, owner):
            raise ValueError("a view of memory that is not contiguous")
        made: NDArray[Any] = np.ndarray(shape, dtype, memory, _pointer(base) - _pointer(owner) + offset, strides)
        return made
