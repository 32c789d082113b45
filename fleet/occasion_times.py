"""Times as people write them: ``2026-11-27 09:00``, ``tomorrow 9:00``, ``+2h``, ``daily 02:30``.

Local times are looked up in a time zone. One that the clock skips is refused when it is
written out as a date, and is the first instant after the gap when it repeats; of one that
comes twice the first counts unless the offset is written.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import scrub
from sidestep.fleet.resources import parse_seconds

DAY: Final = 86400.0
WEEK: Final = 7 * DAY
HOUR: Final = 3600.0
EXAMPLES: Final = (
    'write "2026-11-27 09:00", "tomorrow 9:00", "friday 18:00", "+2h", "daily 02:30" or "weekly mon 09:00"'
)
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_DATE: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_OFFSET: Final = re.compile(r"([+-])(\d{2}):?(\d{2})")
_ISO: Final = re.compile(r"(\d{4}-\d{1,2}-\d{1,2})[Tt](\d{1,2}:\d{2}(?::\d{2})?)")
_GLUED: Final = re.compile(r"(\d{1,2}:\d{2}(?::\d{2})?)([Zz]|[+-]\d{2}:?\d{2})")
_EPOCH: Final = datetime(1970, 1, 1)
#: seconds ahead that make sense
_FAR: Final = 20 * 366 * DAY


def zone_named(name: str) -> tzinfo:
    """A time zone by its name, such as ``Europe/Berlin``. Raises UsageError for one that does not exist."""
    if name.upper() in {"UTC", "Z", "GMT"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"no time zone {scrub(name, 80)}", hint="write one such as Europe/Berlin or UTC") from None


def moment(wall: datetime, zone: tzinfo) -> float:
    """Unix seconds of a naive time on the clock of ``zone``.

    A time that the clock skips is the first instant after the gap; of one that comes twice the
    first counts.
    """
    found = wall.replace(tzinfo=zone, fold=0).timestamp()
    if datetime.fromtimestamp(found, zone).replace(tzinfo=None) == wall:
        return found
    # In a gap the two folds say what time it would be by the offset before and by the one after it.
    before = wall.replace(tzinfo=zone, fold=0).utcoffset() or timedelta(0)
    after = wall.replace(tzinfo=zone, fold=1).utcoffset() or timedelta(0)
    low, high = (wall - max(before, after)), (wall - min(before, after))
    first, last = ((each - _EPOCH).total_seconds() for each in (low, high))
    while last - first > 1:
        middle = (first + last) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == before:
            first = middle
        else:
            last = middle
    return last


def skipped(wall: datetime, zone: tzinfo) -> bool:
    """Whether the clock of ``zone`` never shows that time."""
    found = wall.replace(tzinfo=zone, fold=0).timestamp()
    return datetime.fromtimestamp(found, zone).replace(tzinfo=None) != wall


def shifted(first: float, seconds: float, zone: tzinfo) -> float:
    """What the clock of ``zone`` shows at ``first``, so many seconds of that clock later, in unix seconds."""
    local = datetime.fromtimestamp(first, zone).replace(tzinfo=None, fold=0)
    return moment(local + timedelta(seconds=seconds), zone)


def parse_when(text: str, now: float, zone: tzinfo) -> tuple[float, float | None]:
    """Unix time of the next beginning, and the period where the text says that it repeats.

    ``zone`` is where times are meant unless the text ends in a zone (``UTC``,
    ``Europe/Berlin``, ``+02:00``). A time of the day without a date is the next one. Raises
    UsageError for what is no time, with what could be written instead.
    """
    words = _GLUED.sub(r"\1 \2", _ISO.sub(r"\1 \2", text.strip())).split()
    if not words or len(text) > 200:
        raise _unclear(text)
    first = words[0].lower()
    if first in {"in", "now"} or first[0] in "+@":
        return _from_now(text, words, now), None
    repeats = {"daily": DAY, "weekly": WEEK, "hourly": HOUR}.get(first)
    if repeats is not None:
        words = words[1:]
    words, zone = _zone(words, zone)
    if repeats == HOUR:
        return _hourly(text, words, now), HOUR
    return _local(text, words, now, zone, repeats), repeats


def _unclear(text: str) -> UsageError:
    return UsageError(f"not a time: {scrub(text, 80)!r}", hint=EXAMPLES)


def _from_now(text: str, words: list[str], now: float) -> float:
    joined = "".join(words).lower()
    if joined == "now":
        return now
    try:
        if joined[0] == "@":
            return _sane(text, float(joined[1:]), now)
        ahead = parse_seconds(joined.removeprefix("in").removeprefix("+"))
    except ValueError:
        raise _unclear(text) from None
    return _sane(text, now + ahead, now)


def _sane(text: str, at: float, now: float) -> float:
    if not abs(at - now) <= _FAR:
        raise UsageError(f"{scrub(text, 80)!r} is more than 20 years away", hint=EXAMPLES)
    return at


def _zone(words: list[str], zone: tzinfo) -> tuple[list[str], tzinfo]:
    """The words without a time zone at their end, and the zone."""
    last = words[-1] if words else ""
    offset = _OFFSET.fullmatch(last)
    if offset is not None:
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        if ahead >= timedelta(hours=24):
            raise UsageError(f"no offset from UTC: {last}", hint="write one such as +02:00")
        return words[:-1], timezone(-ahead if offset[1] == "-" else ahead)
    if "/" in last or last.upper() in {"UTC", "Z", "GMT"}:
        return words[:-1], zone_named(last)
    return words, zone


def _hourly(text: str, words: list[str], now: float) -> float:
    minute = 0
    if words:
        found = re.fullmatch(r":?(\d{1,2})", words[0])
        if len(words) > 1 or found is None or int(found[1]) > 59:
            raise _unclear(text)
        minute = int(found[1])
    begin = now // HOUR * HOUR + minute * 60
    return begin if begin >= now else begin + HOUR


def _local(text: str, words: list[str], now: float, zone: tzinfo, repeats: float | None) -> float:
    """A time on the clock: a date or a day if there is one, and a time of the day."""
    clock = time(0, 0)
    if words and (found := _CLOCK.fullmatch(words[-1])):
        try:
            clock = time(int(found[1]), int(found[2]), int(found[3] or 0))
        except ValueError:
            raise UsageError(f"no time of the day: {words[-1]}", hint=EXAMPLES) from None
        words = words[:-1]
    elif repeats == DAY or not words:
        raise _unclear(text)
    if len(words) > 1:
        raise _unclear(text)
    today = datetime.fromtimestamp(now, zone).date()
    word = words[0].lower() if words else ""
    if found := _DATE.fullmatch(word):
        return _on_date(text, found, clock, zone, now, repeats)
    if word in {"today", "tomorrow"} and repeats is None:
        wall = datetime.combine(today + timedelta(days=word == "tomorrow"), clock)
        return _written(text, wall, zone)
    if repeats == WEEK and word not in (*_DAYS, *_LONG):
        raise _unclear(text)
    if word in (*_DAYS, *_LONG) and repeats != DAY:
        weekday = _DAYS.index(word[:3])
        days = [today + timedelta(days=n) for n in range(15) if (today + timedelta(days=n)).weekday() == weekday]
    elif not word:
        days = [today + timedelta(days=n) for n in range(3)]
    else:
        raise _unclear(text)
    return next(at for at in (moment(datetime.combine(day, clock), zone) for day in days) if at >= now)


def _on_date(text: str, found: re.Match[str], clock: time, zone: tzinfo, now: float, repeats: float | None) -> float:
    if repeats is not None:
        raise UsageError(
            f"{scrub(text, 80)!r}: both a date and a repetition",
            hint="give the date as --begins and 1d or 7d as --every",
        )
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        raise UsageError(f"no such date: {found[0]}", hint=EXAMPLES) from None
    return _sane(text, _written(text, datetime.combine(day, clock), zone), now)


def _written(text: str, wall: datetime, zone: tzinfo) -> float:
    try:
        if skipped(wall, zone):
            after = datetime.fromtimestamp(moment(wall, zone), zone)
            raise UsageError(
                f"{scrub(text, 80)!r}: the clock of {zone} skips {wall:%H:%M} on {wall:%Y-%m-%d}",
                hint=f"write {after:%H:%M}, or add UTC",
            )
        return moment(wall, zone)
    except (OverflowError, ValueError, OSError):
        raise _unclear(text) from None
