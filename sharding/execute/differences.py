"""What a shard wrote: its private copies compared with what they were, element by element at C speed."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Sequence
from itertools import compress, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidestep.sharding.execute.shipping import Freezer, Thawer
from sidestep.sharding.execute.walk import DICTS

_WORDS: Final = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
#: indices are shipped as a bit each when more than one element in this many changed
_DENSE: Final = 64

#: number of the object, kind of change, where, what
Change = tuple[int, str, Any, Any]


class Unmergeable(Exception):
    """A change that cannot be done again on the original in a way that is surely the same."""


def remembered(objects: Sequence[Any], written: Sequence[int]) -> dict[int, Any]:
    """Shallow copies of the objects that may be written, by number; elements stay the same objects."""
    return {k: _copied(objects[k]) for k in written}


def _copied(one: Any) -> Any:
    if isinstance(one, np.ndarray):
        return one.copy()
    if type(one) in DICTS:
        return dict(one)
    return bytes(one) if isinstance(one, bytearray) else set(one) if isinstance(one, set) else list(one)


def changes(objects: Sequence[Any], before: dict[int, Any], freeze: Freezer) -> list[Change]:
    """The differences of all remembered objects. Raises Unmergeable."""
    found = list[Change]()
    for k, old in before.items():
        change = _change(k, objects[k], old, freeze)
        if change is not None:
            found.append(change)
    return found


def _change(k: int, new: Any, old: Any, freeze: Freezer) -> Change | None:  # noqa: PLR0911
    if isinstance(new, np.ndarray):
        return _array_change(k, new, old)
    if type(new) in DICTS:
        return _dict_change(k, new, old, freeze)
    if isinstance(new, set):
        if new == old:
            return None
        added = new - old
        if len(added) != 1 or len(new) != len(old) + 1:
            raise Unmergeable("a set changed in a way that depends on its order")
        return k, "add", None, freeze.column(list(added))
    if isinstance(new, bytearray):
        return None if bytes(new) == old else (k, "bytes", None, bytes(new))
    items = list(new) if isinstance(new, deque) else new
    if len(items) != len(old):
        return k, "all", None, freeze.column(list(items))
    at = list(compress(range(len(old)), map(operator.is_not, items, old)))
    if not at:
        return None
    values = items[at[0] : at[-1] + 1] if len(at) == at[-1] - at[0] + 1 else list(map(items.__getitem__, at))
    return k, "items", _positions(np.array(at, np.int64), len(old)), freeze.column(values)


def _array_change(k: int, new: NDArray[Any], old: NDArray[Any]) -> Change | None:
    if not new.size or not new.dtype.itemsize:
        return None
    flat, was = np.ascontiguousarray(new).reshape(-1), np.ascontiguousarray(old).reshape(-1)
    word = _WORDS.get(new.dtype.itemsize)
    if word is not None:
        different = flat.view(word) != was.view(word)
    else:
        size = new.dtype.itemsize
        different = (flat.view(np.uint8).reshape(-1, size) != was.view(np.uint8).reshape(-1, size)).any(axis=1)
    at = np.flatnonzero(different)
    if not at.size:
        return None
    return k, "array", _positions(at, flat.size), flat[at]


def _positions(at: NDArray[np.int64], size: int) -> tuple[str, Any]:
    """Where: a range, a bit each, or numbers."""
    first, last = int(at[0]), int(at[-1])
    if last - first + 1 == len(at):
        return "range", (first, last + 1)
    if len(at) * _DENSE > last - first:
        bits = np.zeros(last - first + 1, np.bool_)
        bits[at - first] = True
        return "bits", (first, len(bits), np.packbits(bits))
    return "numbers", at


def positions(where: tuple[str, Any]) -> NDArray[np.int64]:
    """The numbers again."""
    kind, said = where
    if kind == "range":
        return np.arange(*said, dtype=np.int64)
    if kind == "bits":
        first, count, packed = said
        found: NDArray[np.int64] = np.flatnonzero(np.unpackbits(packed, count=count)) + first
        return found
    return np.asarray(said, np.int64)


def _dict_change(k: int, new: Any, old: dict[Any, Any], freeze: Freezer) -> Change | None:
    keys = list(new)
    if len(keys) < len(old) or any(map(operator.is_not, keys, old)):
        raise Unmergeable("keys of a dict were removed")
    values = list(new.values())
    at = list(compress(range(len(old)), map(operator.is_not, values, old.values())))
    changed = [*at, *range(len(old), len(keys))]
    if not changed:
        return None
    return k, "dict", freeze.column([keys[i] for i in changed]), freeze.column([values[i] for i in changed])


def conflicting(shards: Sequence[Sequence[Change]]) -> bool:
    """Whether two shards changed the same element (of thawed changes): never, when the analysis is right."""
    whole, seen = dict[int, int](), dict[int, list[NDArray[np.int64]]]()
    keys = set[tuple[int, Any]]()
    for changed in shards:
        for k, kind, where, _ in changed:
            whole[k] = whole.get(k, 0) + 1
            if kind in {"items", "array"}:
                seen.setdefault(k, []).append(positions(where))
            elif kind == "dict":
                mine = {(k, key) for key in where}
                if mine & keys:
                    return True
                keys |= mine
    for k, times in whole.items():
        parts = seen.get(k, [])
        if times > 1 and len(parts) not in {0, times}:
            return True
        if len(parts) > 1 and not _apart(parts):
            every = np.concatenate(parts)
            if len(np.unique(every)) != len(every):
                return True
    return any(
        times > 1 and any(c[0] == k and c[1] in {"all", "bytes"} for changed in shards for c in changed)
        for k, times in whole.items()
    )


def _apart(parts: Sequence[NDArray[np.int64]]) -> bool:
    """Whether each part rises and lies behind another one as a whole: then nothing is there twice, without a search."""
    ordered = sorted((one for one in parts if len(one)), key=lambda one: int(one[0]))
    rising = all(bool((one[1:] > one[:-1]).all()) for one in ordered)
    return rising and all(int(a[-1]) < int(b[0]) for a, b in pairwise(ordered))


def thawed_changes(changed: Sequence[Any], thaw: Thawer) -> list[Change]:
    """A shard's changes with the coordinator's own objects in them."""
    found = list[Change]()
    for k, kind, where, what in changed:
        if kind == "dict":
            found.append((k, kind, thaw.column(where), thaw.column(what)))
        elif kind in {"items", "all", "add"}:
            found.append((k, kind, where, thaw.column(what)))
        else:
            found.append((k, kind, where, what))
    return found


def apply(objects: Sequence[Any], changed: Sequence[Change]) -> None:
    """Do a shard's changes to the original objects."""
    for k, kind, where, what in changed:
        one = objects[k]
        match kind:
            case "array":
                at = positions(where)
                if one.flags.c_contiguous:
                    one.reshape(-1)[at] = what
                else:
                    one[np.unravel_index(at, one.shape)] = what
            case "items":
                _items(one, where, what)
            case "all":
                one.clear()
                one.extend(what)
            case "dict":
                for key, value in zip(where, what, strict=True):
                    one[key] = value
            case "add":
                one.add(what[0])
            case _:
                one[:] = what


def _items(one: Any, where: tuple[str, Any], values: list[Any]) -> None:
    if where[0] == "range" and isinstance(one, list):
        one[slice(*where[1])] = values
        return
    for i, value in zip(positions(where).tolist(), values, strict=True):
        one[i] = value
