"""What is known to come: timers of the hosts, and events that operators announced.

An ``Occasion`` is a value; ``announced`` makes a checked one, ``beginnings`` says when it
begins within a span, ``coming`` is the one that counts now. How people write times is in
``occasion_times``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import tzinfo
from typing import Final

from msgspec import Struct, structs

from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.occasion_times import DAY, shifted

#: what may be announced: nothing repeats faster, lasts longer, or is that much more or less demand
SHORTEST: Final = 60.0
LONGEST: Final = 366 * DAY
EFFECTS: Final = (0.0, 100.0)
#: names are shown in tables, and an event is about so many hosts and apps at most
NAME: Final = 80
NAMED: Final = 256


class Occasion(Struct, frozen=True, kw_only=True):
    """Something that happens at a known time and may change demand.

    ``kind`` is "timer" or "event"; no hosts or apps means all of them, and either may be a
    pattern such as ``web*``. ``begins`` is the unix time of the next or only beginning,
    ``period`` the seconds between beginnings (None: it happens once), ``lasts`` the seconds
    that it takes (0: not known), ``effect`` the operator's own factor on demand, such as 1.5
    (None: it is learned).
    """

    name: Label
    kind: str
    hosts: tuple[Label, ...] = ()
    apps: tuple[Label, ...] = ()
    begins: float
    period: float | None = None
    lasts: float = 0.0
    effect: float | None = None


def announced(
    name: str,
    *,
    begins: float,
    period: float | None = None,
    lasts: float = 0.0,
    hosts: tuple[str, ...] = (),
    apps: tuple[str, ...] = (),
    effect: float | None = None,
) -> Occasion:
    """An operator's event, checked. Raises UsageError that names what cannot be so, with the remedy."""
    label = scrub(name.strip(), NAME)
    if not label:
        raise UsageError("an event needs a name", hint='sidestep event add "sale" --at "tomorrow 9:00" --lasts 2h')
    if not math.isfinite(begins):
        raise UsageError(f"event {label}: begins at {begins}, which is no time", hint="write a time such as +2h")
    if not (math.isfinite(lasts) and 0 <= lasts <= LONGEST):
        raise UsageError(f"event {label}: lasts {lasts:g} s", hint="write between 0 and 366 days, such as 2h")
    if period is not None and not (SHORTEST <= period <= LONGEST):
        raise UsageError(f"event {label}: every {period:g} s", hint="write between 1m and 366d, such as 1d")
    if period is not None and lasts > period:
        raise UsageError(
            f"event {label}: lasts {lasts:g} s but begins every {period:g} s",
            hint="let it last no longer than the time between its beginnings",
        )
    if effect is not None and not (math.isfinite(effect) and EFFECTS[0] <= effect <= EFFECTS[1]):
        raise UsageError(
            f"event {label}: effect {effect:g}",
            hint="write the factor on demand between 0 and 100: 1.5 is half as much again, 0.5 is half",
        )
    if effect is not None and lasts <= 0:
        raise UsageError(f"event {label}: effect {effect:g} for an unknown time", hint="add --lasts, such as 2h")
    return Occasion(
        name=label,
        kind="event",
        hosts=_names(hosts, f"event {label}: hosts"),
        apps=_names(apps, f"event {label}: apps"),
        begins=begins,
        period=period,
        lasts=lasts,
        effect=effect,
    )


def _names(given: tuple[str, ...], what: str) -> tuple[Label, ...]:
    if len(given) > NAMED:
        raise UsageError(f"{what}: {len(given)} of them", hint=f"name at most {NAMED}, or use a pattern such as web*")
    names = tuple(dict.fromkeys(scrub(each.strip()) for each in given))
    if not all(names):
        raise UsageError(f"{what}: an empty name", hint="leave the option out to mean all")
    return names


def beginnings(occasion: Occasion, start: float, end: float, zone: tzinfo | None = None) -> Iterator[float]:
    """Its beginnings with ``start <= begin < end``, ascending, none before ``occasion.begins``.

    One that repeats every so many whole days keeps its time on the clock of ``zone`` when that
    is given: it is then sometimes 23 or 25 hours after the one before. A time that the clock
    skips becomes the first instant after the gap; of one that comes twice the first counts.
    """
    period = occasion.period
    if period is None:
        if start <= occasion.begins < end:
            yield occasion.begins
        return
    number = max(0, math.ceil((start - occasion.begins) / period) - 2)
    while True:
        begin = _nth(occasion.begins, period, number, zone)
        if begin >= end:
            return
        if begin >= start:
            yield begin
        number += 1


def _nth(first: float, period: float, number: int, zone: tzinfo | None) -> float:
    if zone is None or period % DAY or number == 0:
        return first + number * period
    return shifted(first, number * period, zone)


def coming(occasion: Occasion, now: float, zone: tzinfo | None = None) -> Occasion | None:
    """The same occasion as it counts at ``now``: it runs, or begins next; None when it is over for good."""
    if occasion.period is None:
        return occasion if now < occasion.begins + occasion.lasts or now <= occasion.begins else None
    since = now - occasion.lasts if occasion.lasts > 0 else now
    for begin in beginnings(occasion, since, now + 3 * occasion.period + 2 * DAY, zone):
        if now < begin + occasion.lasts or now <= begin:
            return structs.replace(occasion, begins=begin)
    return None
