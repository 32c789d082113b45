"""What somebody may have meant by a name that nobody has: the remedy of many errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

#: names that an error lists when none is near
_SHOWN: Final = 12
#: how alike names are that are called near, so that h9 is near h1
_NEAR: Final = 0.5


def near(name: str, known: Iterable[str]) -> str:
    """A remedy for a name that is not known: the nearest ones, or some of those that are."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, 3, _NEAR)
    close = close or [each for each in names if name.casefold() in each.casefold()]
    if close:
        return f"did you mean {' or '.join(close[:3])}?"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"known are: {', '.join(names[:_SHOWN])}{more}" if names else "there are none"
