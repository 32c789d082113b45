"""Times as people write them, and when an occasion begins."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.occasion_times import moment, parse_when, zone_named
from sidestep.fleet.occasions import Occasion, announced, beginnings, coming

BERLIN = ZoneInfo("Europe/Berlin")
#: Thursday
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=BERLIN).timestamp()


def shown(at: float) -> str:
    return datetime.fromtimestamp(at, BERLIN).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("text", "when", "period"),
    [
        ("2026-11-27 09:00", "2026-11-27 09:00:00", None),
        ("2026-11-27T09:00:30", "2026-11-27 09:00:30", None),
        ("2026-11-27", "2026-11-27 00:00:00", None),
        ("2026-11-27 09:00 UTC", "2026-11-27 10:00:00", None),
        ("2026-11-27T09:00Z", "2026-11-27 10:00:00", None),
        ("2026-11-27 09:00+03:00", "2026-11-27 07:00:00", None),
        ("2026-11-27 09:00 America/New_York", "2026-11-27 15:00:00", None),
        ("tomorrow 9:00", "2026-11-27 09:00:00", None),
        ("today 18:30", "2026-11-26 18:30:00", None),
        ("18:30", "2026-11-26 18:30:00", None),
        ("9:00", "2026-11-27 09:00:00", None),
        ("Friday 18:00", "2026-11-27 18:00:00", None),
        ("thu 09:00", "2026-12-03 09:00:00", None),
        ("+2h", "2026-11-26 14:00:00", None),
        ("in 90m", "2026-11-26 13:30:00", None),
        ("now", "2026-11-26 12:00:00", None),
        ("daily 02:30", "2026-11-27 02:30:00", 86400.0),
        ("daily 02:30 UTC", "2026-11-27 03:30:00", 86400.0),
        ("weekly mon 09:00", "2026-11-30 09:00:00", 604800.0),
        ("hourly :15", "2026-11-26 12:15:00", 3600.0),
        ("hourly", "2026-11-26 12:00:00", 3600.0),
    ],
)
def test_times_are_understood_as_people_write_them(text: str, when: str, period: float | None) -> None:
    """S2.6, S4.4."""
    begins, every = parse_when(text, NOW, BERLIN)
    assert (shown(begins), every) == (when, period)


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "2026-13-01 09:00", "2026-11-31", "25:00", "tomorrow 9:75", "daily", "daily tomorrow 9:00",
        "weekly", "weekly 09:00", "weekly tomorrow 9:00", "+2 parsecs", "@nan", "@1e300", "9999-12-31 23:00", "+1e400s",
        "2026-11-27 09:00 Mars/Olympus", "2026-11-27 09:00 ../../etc/passwd", "hourly :75", "daily 2026-11-27 09:00",
        "1 2 3 4", "2026-11-27 09:00+99:00", "x" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused_with_what_could_be_written(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_when(text, NOW, BERLIN)
    assert caught.value.hint
    assert len(str(caught.value)) < 600


@given(
    st.text(max_size=40) | st.from_regex(r"(daily|weekly|in|\+|@)? ?[0-9:+-]{1,12} ?[a-zA-Z/:0-9]{0,9}", fullmatch=True)
)
def test_no_text_does_anything_but_give_a_time_or_a_clear_error(text: str) -> None:
    try:
        begins, period = parse_when(text, NOW, BERLIN)
    except UsageError:
        return
    assert abs(begins - NOW) < 25 * 366 * 86400
    assert period in {None, 3600.0, 86400.0, 604800.0}


def test_a_time_that_the_clock_skips_is_refused_as_a_date_and_comes_after_the_gap_when_it_repeats() -> None:
    """Clocks in Berlin go from 02:00 to 03:00 on 2026-03-29."""
    with pytest.raises(UsageError, match="skips 02:30 on 2026-03-29") as caught:
        parse_when("2026-03-29 02:30", NOW, BERLIN)
    assert "03:00" in caught.value.hint
    eve = datetime(2026, 3, 28, 12, tzinfo=BERLIN).timestamp()
    begins, _ = parse_when("daily 02:30", eve, BERLIN)
    assert shown(begins) == "2026-03-29 03:00:00"


def test_a_time_that_comes_twice_is_the_first_unless_the_offset_is_written() -> None:
    """Clocks in Berlin go from 03:00 to 02:00 on 2026-10-25."""
    first = parse_when("2026-10-25 02:30", NOW, BERLIN)[0]
    assert datetime.fromtimestamp(first, UTC).strftime("%H:%M") == "00:30"
    second = parse_when("2026-10-25 02:30 +01:00", NOW, BERLIN)[0]
    assert second - first == 3600


def test_a_daily_time_stays_on_the_clock_when_the_clock_is_put_forward_and_back() -> None:
    """S2.6: a backup at 02:30 is at 02:30 in winter too; the skipped one is at 03:00."""
    daily = Occasion(
        name=Label("backup"),
        kind="event",
        begins=datetime(2026, 3, 27, 2, 30, tzinfo=BERLIN).timestamp(),
        period=86400.0,
    )
    end = datetime(2026, 4, 1, tzinfo=BERLIN).timestamp()
    assert [shown(at)[5:16] for at in beginnings(daily, daily.begins, end, BERLIN)] == [
        "03-27 02:30",
        "03-28 02:30",
        "03-29 03:00",
        "03-30 02:30",
        "03-31 02:30",
    ]
    autumn = datetime(2026, 10, 24, tzinfo=BERLIN).timestamp()
    found = list(beginnings(daily, autumn, autumn + 4 * 86400, BERLIN))
    assert [shown(at)[5:16] for at in found] == ["10-24 02:30", "10-25 02:30", "10-26 02:30", "10-27 02:30"]
    assert found[2] - found[1] == 25 * 3600


@given(
    first=st.integers(0, 2_000_000_000),
    period=st.sampled_from([3600.0, 86400.0, 604800.0, 5000.0]),
    ahead=st.integers(0, 100_000_000),
)
def test_beginnings_lie_in_the_span_ascend_and_are_near_the_grid(first: int, period: float, ahead: int) -> None:
    start = first + ahead
    occasion = Occasion(name=Label("x"), kind="event", begins=float(first), period=period)
    found = list(beginnings(occasion, start, start + 4 * period, BERLIN))
    assert all(start <= at < start + 4 * period for at in found)
    assert all(a < b for a, b in itertools.pairwise(found))
    assert 3 <= len(found) <= 5
    assert all(abs((at - first + period / 2) % period - period / 2) <= 3600 for at in found)


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2037, 1, 1)))
def test_every_wall_time_is_an_instant_at_or_after_it_and_never_an_hour_late(wall: datetime) -> None:
    wall = wall.replace(microsecond=0)
    back = datetime.fromtimestamp(moment(wall, BERLIN), BERLIN).replace(tzinfo=None)
    assert timedelta(0) <= back - wall <= timedelta(hours=1)


def test_an_event_counts_until_it_is_over() -> None:
    once = announced("sale", begins=NOW, lasts=7200.0, effect=1.5, apps=("shop",))
    assert coming(once, NOW - 5) is once
    assert coming(once, NOW + 7199) is once
    assert coming(once, NOW + 7200) is None
    daily = announced("sale", begins=NOW, lasts=7200.0, period=86400.0)
    running, following = coming(daily, NOW + 3 * 86400 + 7000), coming(daily, NOW + 3 * 86400 + 7201)
    assert running is not None and running.begins == NOW + 3 * 86400
    assert following is not None and following.begins == NOW + 4 * 86400


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "  "},
        {"begins": float("nan")},
        {"lasts": -1.0},
        {"lasts": float("inf")},
        {"period": 0.0},
        {"period": 30.0},
        {"period": 3600.0, "lasts": 7200.0},
        {"effect": -1.0, "lasts": 60.0},
        {"effect": float("nan"), "lasts": 60.0},
        {"effect": 1e9, "lasts": 60.0},
        {"effect": 1.5, "lasts": 0.0},
        {"hosts": ("",)},
        {"apps": tuple(f"app-{i}" for i in range(1000))},
    ],
)
def test_an_event_that_cannot_be_is_refused_with_the_remedy(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        announced(**{"name": "sale", "begins": NOW, **wrong})  # type: ignore[arg-type]
    assert caught.value.hint


def test_hostile_names_become_labels() -> None:
    event = announced("sale\x1b[2J" + "x" * 500, begins=NOW, hosts=("web\u202e1",))
    assert event.name.isprintable() and len(event.name) <= 80
    assert event.hosts[0].isprintable()
    with pytest.raises(UsageError):
        zone_named("../../../etc/passwd")
