"""Change windows, quiet hours and freezes: ranges of local time in one time zone. Pure but for the zone's rules.

A moment is inside a range when the clock on the wall there shows a time inside it. So an hour
that a change of clocks leaves out opens nothing, and one that comes twice counts twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = 24 * 60
_WEEK: Final = 7 * _DAY
_WEEKLY: Final = re.compile(r"(?:(?P<days>[A-Za-z*][A-Za-z,*-]*)\s+)?(?P<from>\d{2}:\d{2})-(?P<to>\d{2}:\d{2})")
_FREEZE: Final = re.compile(
    r"(?P<a>\d{4}-\d{2}-\d{2})(?:T(?P<at>\d{2}:\d{2}))?\s*\.\.\s*(?P<b>\d{4}-\d{2}-\d{2})(?:T(?P<bt>\d{2}:\d{2}))?"
)
#: how far ahead the next opening is looked for, in minutes: a week, and a change of clocks
_AHEAD: Final = 8 * _DAY


class Weekly(Struct, frozen=True):
    """Minutes of the week, Monday 00:00 is 0, as half-open spans; one may go over the end of the week."""

    text: str
    spans: tuple[tuple[int, int], ...]

    def holds(self, minute: int) -> bool:
        """Whether that minute of the week is inside."""
        return any(start <= minute < end or start <= minute + _WEEK < end for start, end in self.spans)


class Freeze(Struct, frozen=True):
    """From one local time to another, the end left out."""

    text: str
    start: datetime
    end: datetime

    def holds(self, local: datetime) -> bool:
        """Whether that local time, without a zone, is inside."""
        return self.start <= local < self.end


@lru_cache(maxsize=256)
def weekly(text: str) -> Weekly:
    """``Mon-Fri 22:00-06:00``: days, and a time that may go over midnight into the next day.

    Days are names, ranges such as ``Fri-Mon``, several with commas, or ``*``, which may be left out.
    Raises ValueError.
    """
    found = _WEEKLY.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no range such as Mon-Fri 22:00-06:00")
    start, end = _minutes(found["from"]), _minutes(found["to"])
    if start >= _DAY:
        raise ValueError(f"{text!r} begins at {found['from']}; a day begins at 00:00")
    if start == end:
        raise ValueError(f"{text!r} is empty; a whole day is 00:00-24:00")
    length = end - start if end > start else end + _DAY - start
    return Weekly(
        text.strip(), tuple((d * _DAY + start, d * _DAY + start + length) for d in _days(found["days"] or "*"))
    )


@lru_cache(maxsize=256)
def freeze(text: str) -> Freeze:
    """``2026-12-20..2027-01-03``, both days included, or with times: ``2026-12-20T18:00..2027-01-03T06:00``.

    Raises ValueError.
    """
    found = _FREEZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no range such as 2026-12-20..2027-01-03")
    start = datetime.fromisoformat(found["a"]) + timedelta(minutes=_minutes(found["at"] or "00:00"))
    end = datetime.fromisoformat(found["b"]) + timedelta(minutes=_minutes(found["bt"] or "24:00"))
    if end <= start:
        raise ValueError(f"{text!r} ends before it begins")
    return Freeze(text.strip(), start, end)


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError) as error:  # what is not found is a KeyError, below
        raise ValueError(f"{name!r} is no time zone") from error
    except KeyError as error:
        raise ValueError(f"{name!r} is no time zone that this machine knows, such as Europe/Berlin") from error


def inside(ranges: Iterable[str], zone: str, now: float) -> str:
    """The first of these weekly ranges that ``now`` (unix time) is in, or "". Raises ValueError."""
    local = datetime.fromtimestamp(now, zone_of(zone))
    minute = local.weekday() * _DAY + local.hour * 60 + local.minute
    return next((text for text in ranges if weekly(text).holds(minute)), "")


def frozen(freezes: Iterable[str], zone: str, now: float) -> str:
    """The first of these freezes that ``now`` is in, or "". Raises ValueError."""
    local = datetime.fromtimestamp(now, zone_of(zone)).replace(tzinfo=None)
    return next((text for text in freezes if freeze(text).holds(local)), "")


def opens(ranges: Sequence[str], zone: str, now: float) -> float | None:
    """When one of these ranges is next open, to the minute: ``now`` if it is, None if never. Raises ValueError."""
    if not ranges:
        return None
    if inside(ranges, zone, now):
        return now
    first = (int(now) // 60 + 1) * 60
    return next((float(at) for at in range(first, first + _AHEAD * 60, 60) if inside(ranges, zone, at)), None)


def shown(at: float, zone: str) -> str:
    """A moment as people there write it."""
    return datetime.fromtimestamp(at, zone_of(zone)).strftime("%a %Y-%m-%d %H:%M %Z")


def _minutes(text: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if hours > 24 or minutes > 59 or (hours == 24 and minutes):
        raise ValueError(f"{text} is no time of the day")
    return hours * 60 + minutes


def _days(text: str) -> tuple[int, ...]:
    if text == "*":
        return tuple(range(7))
    found: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{text!r} has a day that is none; days are {', '.join(day.title() for day in DAYS)}")
        start, end = DAYS.index(first), DAYS.index(last or first)
        found |= {day % 7 for day in range(start, end + 1 if end >= start else end + 8)}
    return tuple(sorted(found))
