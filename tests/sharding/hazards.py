"""Programs in which a careless analysis goes wrong: each must leave what its loops leave one after the other."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple


class Hazard(NamedTuple):
    """A program with a function ``f``, its arguments, and a verdict that one of its loops must get."""

    text: str
    arguments: Callable[[], tuple[Any, ...]]
    verdict: str = ""


HAZARDS: dict[str, Hazard] = {}


def hazard(name: str, text: str, arguments: Callable[[], tuple[Any, ...]], verdict: str = "") -> None:
    """Add one."""
    HAZARDS[name] = Hazard(textwrap.dedent(text).lstrip("\n"), arguments, verdict)


def every() -> dict[str, Hazard]:
    """All of them."""
    import hazards_1
    import hazards_2
    import hazards_3
    import hazards_4
    import hazards_5
    import hazards_6
    import hazards_7

    assert all((hazards_1, hazards_2, hazards_3, hazards_4, hazards_5, hazards_6, hazards_7))
    return HAZARDS
