"""Windows and freezes: local time decides, also where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.fleet.windows import DAYS, freeze, frozen, inside, opens, shown, weekly, zone_of

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca")
zones = st.sampled_from(ZONES)
moments = st.integers(1_760_000_000, 1_830_000_000).map(float)
minutes = st.integers(0, 1439)
days = st.lists(st.sampled_from(DAYS), min_size=1, max_size=4, unique=True).map(",".join)


def hhmm(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


ranges = st.builds(lambda d, a, b: f"{d} {hhmm(a)}-{hhmm(b if b != a else (a + 1) % 1440)}", days, minutes, minutes)


def at(text: str, zone: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    window = ("Fri 22:00-06:00",)
    assert inside(window, "Europe/Berlin", at("2026-11-20T23:00", "Europe/Berlin"))
    assert inside(window, "Europe/Berlin", at("2026-11-21T05:59", "Europe/Berlin"))
    assert not inside(window, "Europe/Berlin", at("2026-11-21T06:00", "Europe/Berlin"))
    assert not inside(window, "Europe/Berlin", at("2026-11-20T05:00", "Europe/Berlin"))
    assert inside(("Sun 22:00-06:00",), "UTC", at("2026-11-23T01:00", "UTC")), "over the end of the week"


def test_days_are_names_ranges_and_lists() -> None:
    assert weekly("Fri-Mon 00:00-24:00").spans == weekly("sat,Sun,mon,fri 00:00-24:00").spans
    assert weekly("* 01:00-02:00").spans == weekly("01:00-02:00").spans == weekly("Mon-Sun 01:00-02:00").spans


def test_an_hour_that_is_left_out_opens_nothing_and_one_that_comes_twice_counts_twice() -> None:
    window, berlin = ("* 02:00-03:00",), "Europe/Berlin"
    begin, end = at("2026-03-29T00:00", berlin), at("2026-03-30T00:00", berlin)
    assert end - begin == 23 * 3600
    assert not any(inside(window, berlin, begin + m * 60) for m in range(23 * 60))
    begin = at("2026-10-25T00:00", berlin)
    assert sum(bool(inside(window, berlin, begin + m * 60)) for m in range(25 * 60)) == 120


def test_a_freeze_has_both_days_or_the_times_that_it_names() -> None:
    days_, zone = ("2026-12-20..2027-01-03",), "America/New_York"
    assert not frozen(days_, zone, at("2026-12-19T23:59", zone))
    assert frozen(days_, zone, at("2026-12-20T00:00", zone)) and frozen(days_, zone, at("2027-01-03T23:59", zone))
    assert not frozen(days_, zone, at("2027-01-04T00:00", zone))
    assert not freeze("2026-12-20T18:00..2026-12-21T06:00").holds(datetime(2026, 12, 21, 6))


@pytest.mark.parametrize(
    "text", ["", "Mon", "Mon 22-06", "Mon 25:00-26:00", "Mon 10:60-11:00", "Mun 10:00-11:00", "Mon 10:00-10:00",
             "Mon 24:00-01:00", "Mon- 01:00-02:00"],
)  # fmt: skip
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        weekly(text)


@pytest.mark.parametrize("text", ["2026-12-20", "2027-01-03..2026-12-20", "2026-13-01..2026-13-02"])
def test_what_is_no_freeze_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        freeze(text)
    with pytest.raises(ValueError, match="no time zone"):
        zone_of("Mars/Olympus")
    with pytest.raises(ValueError, match="no time zone"):
        zone_of("../etc/passwd")


@settings(deadline=None)
@given(ranges, zones, moments)
def test_only_the_clock_on_the_wall_decides(text: str, zone: str, now: float) -> None:
    """Whatever the zone does, the answer is that of the same local time where clocks never change."""
    local = datetime.fromtimestamp(now, ZoneInfo(zone)).replace(tzinfo=UTC)
    assert inside((text,), zone, now) == inside((text,), "UTC", local.timestamp())


@settings(deadline=None)
@given(ranges, zones, moments)
def test_a_range_and_the_rest_of_its_days_are_one_or_the_other(text: str, zone: str, now: float) -> None:
    which, _, times = text.partition(" ")
    first, _, last = times.partition("-")
    other = [f"{which} {last}-{first}"] if first < last else []
    both = bool(inside((text,), zone, now)) + bool(inside(other, zone, now))
    assert both <= 1


@settings(deadline=None, max_examples=30)
@given(ranges, zones, moments)
def test_it_is_shut_until_it_opens(text: str, zone: str, now: float) -> None:
    when = opens((text,), zone, now)
    if when is None:  # only what begins in an hour that is left out can be shut for so long
        assert not inside((text,), zone, now)
        return
    assert when >= now and inside((text,), zone, when)
    if when > now:
        assert not inside((text,), zone, now)
        assert not inside((text,), zone, when - 60)
    assert timedelta(seconds=when - now) <= timedelta(days=8, hours=2)
    assert shown(when, zone)
