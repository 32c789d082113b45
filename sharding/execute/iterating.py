"""Iterables listed before their loops, and what goes on where one stood: nobody may see that it was listed."""

from __future__ import annotations

import gc
import itertools
import types
import warnings
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from sidestep.sharding.execute.walk import MUTABLE

#: an iterable that never ends must not be listed
_MOST_ITEMS: Final = 1 << 26
CONTAINERS: Final = frozenset({
    range, list, tuple, dict, set, frozenset, str, bytes, deque, np.ndarray, Counter, OrderedDict, type({}.keys()),
    type({}.values()), type({}.items()),
})  # fmt: skip
ITERATORS: Final = frozenset({
    enumerate, zip, map, filter, reversed, type(reversed([])), type(reversed(range(0))), type(reversed({})),
    type(reversed({}.items())), type(reversed({}.values())), itertools.chain, itertools.combinations,
    itertools.combinations_with_replacement, itertools.permutations, itertools.product, itertools.zip_longest,
    itertools.islice, itertools.accumulate, itertools.pairwise, itertools.starmap, itertools.compress,
    itertools.takewhile, itertools.dropwhile,
})  # fmt: skip
#: what goes over one container
_WALKERS: Final = frozenset({
    type(iter(())), type(iter([])), type(iter("")), type(iter("é")), type(iter(b"")), type(iter(bytearray())),
    type(iter(range(0))), type(iter(range(1 << 70))),
})  # fmt: skip


def listed(iterable: Any) -> tuple[list[Any], Iterator[Any] | None]:
    """The items; or, when listing fails, an iterator that yields what came before and goes on as the original."""
    found = list[Any]()
    source = iter(iterable)
    try:
        for item in source:
            found.append(item)
            if len(found) > _MOST_ITEMS:
                return found, itertools.chain(found, source)
    except Exception as error:  # noqa: BLE001 - raised again after the items before it
        return found, _failing(found, error)
    return found, None


def _failing(found: list[Any], error: Exception) -> Iterator[Any]:
    yield from found
    raise error


def again(iterator: Any) -> Any:
    """Another iterator that goes over the same things from the same place on; None when there is no way to make one.

    A loop that is run where it is after all must see what it writes itself, as it goes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _again(iterator)
    except Exception:  # noqa: BLE001 - of later versions of Python some cannot be copied
        return None


def _again(one: Any) -> Any:
    """Raises TypeError for an iterator that is made of something else than containers."""
    if type(one) is tuple:
        return tuple(map(_again, one))
    if not isinstance(one, Iterator):
        return one
    if type(one) not in ITERATORS and type(one) not in _WALKERS:
        raise TypeError(type(one).__name__)
    reduced: Any = one.__reduce__()
    make, given, *state = reduced
    made = make(*map(_again, given))
    if state and state[0] is not None:
        made.__setstate__(_again(state[0]))
    return made


def containers(iterable: Any) -> list[Any]:
    """The mutable containers that going over it reads; of a generator, also what else it sees."""
    found, todo, seen = list[Any](), [iterable], set[int]()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if type(one) in MUTABLE or type(one) is np.ndarray:
            found.append(one)
        elif isinstance(one, types.FunctionType):
            todo += one.__closure__ or ()
        elif not isinstance(one, type | types.ModuleType | types.CodeType | types.BuiltinFunctionType):
            todo += gc.get_referents(one)
    return found
