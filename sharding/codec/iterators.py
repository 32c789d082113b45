"""Built-in iterators as what they run over and how far they are; nothing is taken from them."""

from __future__ import annotations

import gc
from typing import Any

from sidestep.sharding.codec.limits import Refused
from sidestep.sharding.codec.universe import DICT_ITERATORS, ITERABLE, MAPPINGS

_DICTS = tuple(MAPPINGS.values())


def forward_parts(one: Any) -> tuple[object, int | None]:
    """What an iterator over a sequence runs over, and its position (None: at the start, or exhausted)."""
    _, (over,), *state = one.__reduce__()
    if type(over) not in ITERABLE:
        raise Refused("iterator", f"an iterator over {type(over).__qualname__} is outside the universe")
    return over, state[0] if state else None


def enumerate_parts(one: Any) -> tuple[object, int]:
    """The iterator that is counted, and the next number."""
    _, (inner, count) = one.__reduce__()
    return inner, count


def zip_parts(one: Any) -> tuple[tuple[object, ...], bool]:
    """The iterators, and whether they must be of one length."""
    _, inner, *state = one.__reduce__()
    return inner, bool(state and state[0])


def dict_iterator(one: Any) -> tuple[int, object, int]:
    """Code, dict, and how many of its entries were passed. Raises Refused if the dict was changed on the way."""
    kind = DICT_ITERATORS.index(type(one))
    over = next((x for x in gc.get_referents(one) if isinstance(x, dict)), None)
    left = one.__length_hint__()
    if over is None or not left:
        # Exhausted, or changed: then asking it for more raises, which a new one would not.
        _rest(one)
        return kind, {}, 0
    if type(over) not in _DICTS:
        raise Refused("iterator", f"an iterator over {type(over).__qualname__} is outside the universe")
    rest = _rest(one)
    again = _started(kind, over)
    for _ in range(len(over) - left):
        next(again)
    if len(rest) != left or not all(_alike(a, b) for a, b in zip(rest, again, strict=True)):
        raise Refused("iterator", "a dict that was changed while it is iterated")
    return kind, over, len(over) - left


def _rest(one: Any) -> list[Any]:
    try:
        rest: list[Any] = list(one.__reduce__()[1][0])
    except RuntimeError as error:
        raise Refused("iterator", f"an iterator that cannot go on: {error}") from None
    return rest


def _alike(one: Any, other: Any) -> bool:
    if type(one) is tuple and type(other) is tuple and len(one) == len(other) == 2:
        return one is other or (one[0] is other[0] and one[1] is other[1])
    return one is other


def _started(kind: int, over: Any) -> Any:
    view = (over.keys, over.values, over.items)[kind % 3]()
    return iter(view) if kind < 3 else reversed(view)


def resumed_dict(kind: int, over: Any, done: int) -> Any:
    """Such an iterator anew."""
    again = _started(kind, over)
    for _ in range(done):
        next(again)
    return again


def set_iterator(one: Any) -> tuple[object, int]:
    """The set, and how many of its elements were passed. Raises Refused if it was changed on the way."""
    over = next((x for x in gc.get_referents(one) if isinstance(x, set | frozenset)), None)
    left = one.__length_hint__()
    if over is None or not left:
        _rest(one)
        return frozenset(), 0
    rest = _rest(one)
    if len(rest) != left or not all(map(_alike, rest, list(over)[len(over) - left :])):
        raise Refused("iterator", "a set that was changed while it is iterated")
    return over, len(over) - left


def resumed_set(over: Any, done: int) -> Any:
    """Such an iterator anew."""
    again = iter(over)
    for _ in range(done):
        next(again)
    return again
