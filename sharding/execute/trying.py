"""A loop of which nothing was measured: its first turns run where it is, and tell whether the rest is worth shards.

The loop begins as it was written. A few times it is weighed what is left of it, by what the last turns took. Once
shards would pay, the turns stop, and the rest is run as shards; else what is left runs on as it was written, unwatched.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

#: CPU seconds between two weighings
_LOOK: Final = 0.02
#: weighings of one loop
_LOOKS: Final = 3
#: what can be cut where the first turns end; nobody sees that it is
_SLICED: Final = frozenset({range, list, tuple})

#: whether shards would pay for so many turns that are left, of so many CPU seconds each, with these values at hand
Pays = Callable[[float, int, dict[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Plain:
    """Turns that are to run where they are."""

    items: Iterable[Any]


@dataclass(frozen=True, slots=True)
class Rest:
    """Turns that may run as shards; ``live`` are the same, and sees what the loop changes on the way."""

    items: Any
    live: Iterator[Any]


@dataclass(slots=True)
class Begun:
    """``rest`` are turns to run here and now; after them, ``later`` is what may run as shards, or is ``Plain``."""

    rest: Iterable[Any]
    later: Any


def begun(iterable: Any, local: dict[str, Any], pays: Pays | None) -> Begun:
    """Begin a loop. Without ``pays``, all of it may run as shards."""
    if pays is None:
        return Begun((), iterable)
    if type(iterable) not in _SLICED or len(iterable) < 2:
        return Begun((), Plain(iterable))
    found = Begun((), Plain(()))
    found.rest = _turns(found, iterable, local, pays)
    return found


def _turns(found: Begun, items: Any, local: dict[str, Any], pays: Pays) -> Iterator[Any]:
    at, size, looks, count, live = 0, 1, 0, len(items), iter(items)
    while at < count and looks < _LOOKS:
        begun = time.thread_time()
        yield from itertools.islice(live, size)
        took = time.thread_time() - begun
        done = min(size, count - at)
        at += done
        if took < _LOOK:
            size *= 2
            continue
        looks += 1
        if at < count and pays(took / done, count - at, local):
            found.later = Rest(items[at:], live)
            return
    found.later = Plain(live)
