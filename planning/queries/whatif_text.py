"""What-if texts such as ``drain=h3,h4`` or ``load=app:kv:+50%``, read into changes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sidestep.fleet.config_ranges import expand
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import scrub
from sidestep.fleet.nearest import near
from sidestep.fleet.resources import DIMENSIONS, PLANNED
from sidestep.planning.queries.whatif import Add, Change, Drain, Follow, Grow, Lose, WhatIf

#: changes that one question may have, hosts that it may add, and times that demand may grow
MOST_CHANGES: Final = 50
MOST_HOSTS: Final = 10_000
MOST_GROWTH: Final = 100.0

_FORMS: Final = (
    "drain=h3,h4  lose=h1  lose=zone:a  load=+30%  load=app:kv:+50%  load=host:h1:cpu:+20%  add=2:like:h1  policy=NAME"
)
_PERCENT: Final = re.compile(r"([+-]?)(\d+(?:\.\d+)?)%")
_TIMES: Final = re.compile(r"x(\d+(?:\.\d+)?)")
_ADD: Final = re.compile(r"(\d{1,9})(?::like:(.+))?")
#: any comma that is not within a bracket of a range
_COMMA: Final = re.compile(r",(?![^\[]*\])")


def parse(texts: Iterable[str], policies: Mapping[str, Policy] | None = None) -> WhatIf:
    """All texts as one what-if, in their order. Raises UsageError naming the text and the remedy."""
    given = list(texts)
    if len(given) > MOST_CHANGES:
        raise UsageError(f"{len(given)} times --what-if; at most {MOST_CHANGES} are taken", hint="name fewer changes")
    return WhatIf(tuple(_parse(text.strip(), policies or {}) for text in given))


def _parse(text: str, policies: Mapping[str, Policy]) -> Change:
    verb, equals, value = text.partition("=")
    verb, value, shown = verb.strip(), value.strip(), str(scrub(text, 120))
    readers: dict[str, Callable[[str, str], Change]] = {
        "drain": lambda shown, value: Drain(shown, _hosts(shown, value)),
        "lose": lambda shown, value: Lose(shown, _hosts(shown, value)),
        "load": _load,
        "add": _add,
        "policy": lambda shown, value: Follow(shown, _policy(shown, value, policies)),
    }
    if not equals or verb not in readers:
        raise _unusable(shown, "not a change", f"write one of {_FORMS}")
    if not value:
        raise _unusable(shown, "nothing stands after the sign", f"write one of {_FORMS}")
    return readers[verb](shown, value)


def _unusable(text: str, why: str, hint: str) -> UsageError:
    return UsageError(f"--what-if {text}: {why}", hint=hint)


def _hosts(text: str, value: str) -> tuple[str, ...]:
    names: list[str] = []
    for part in _COMMA.split(value):
        if not part.strip():
            raise _unusable(text, "a name is missing", "write names with commas between them, such as h3,h4")
        try:
            names += expand(part.strip())
        except ValueError as error:
            raise _unusable(text, str(error), "such as web[01-03]") from error
    return tuple(names)


def _load(text: str, value: str) -> Change:
    *words, amount = value.split(":")
    factor = _factor(text, amount.strip())
    dimension = words.pop() if words and words[-1] in DIMENSIONS[:PLANNED] and len(words) != 2 else ""
    if not words:
        return Grow(text, factor, dimension=dimension)
    scope, *name = words
    if scope not in ("app", "host", "shard") or not name or not all(name):
        raise _unusable(text, f"{scrub(':'.join(words))} is not whose load it is", "app:NAME, host:NAME or shard:NAME")
    return Grow(text, factor, scope, ":".join(name), dimension)  # type: ignore[arg-type]


def _factor(text: str, amount: str) -> float:
    percent, times = _PERCENT.fullmatch(amount), _TIMES.fullmatch(amount)
    factor = math.nan
    if percent is not None and percent[1]:
        factor = 1.0 + float(percent[1] + percent[2]) / 100.0
    elif times is not None:
        factor = float(times[1])
    if not 0.0 <= factor <= MOST_GROWTH:
        raise _unusable(text, f"{scrub(amount) or 'nothing'} is not a change of load",
                        f"write it as +30%, -10% or x2, up to x{MOST_GROWTH:g}")  # fmt: skip
    return factor


def _add(text: str, value: str) -> Change:
    found = _ADD.fullmatch(value)
    if found is None or not found[2]:
        raise _unusable(text, "says not how many of which host", "such as add=2:like:h1")
    if not 0 < int(found[1]) <= MOST_HOSTS:
        raise _unusable(text, f"{found[1]} hosts cannot be added", f"1 to {MOST_HOSTS}")
    return Add(text, int(found[1]), found[2].strip())


def _policy(text: str, value: str, policies: Mapping[str, Policy]) -> Policy:
    if value not in policies:
        raise _unusable(text, f"no policy is {scrub(value)}", near(value, policies))
    return policies[value]
