"""The calendar's file, and what becomes of the timers that hosts tell of."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot.calendar_store import EVENTS, CalendarError, CalendarStore, local_zone, open_calendar
from sidestep.autopilot.calendar_tasks import MOST, PER_HOST, TimerReader, timers_of
from sidestep.backends.sampler.schedule import ScheduledTask
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.occasions import Occasion, announced

NOW = 1_760_000_000.0
DAY = 86400.0


def event(name: str = "sale", **changes: object) -> Occasion:
    return announced(name, **{"begins": NOW + 3600, "lasts": 7200.0, **changes})  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> CalendarStore:
    return CalendarStore(tmp_path / "state" / "calendar.db", clock=lambda: NOW, zone=UTC)


def test_events_are_kept_by_number_and_come_back(store: CalendarStore) -> None:
    """S2.6, S4.4."""
    first, second = store.add(event(effect=1.5, apps=("shop",))), store.add(event("deploy", begins=NOW + 60))
    store.close()
    again = CalendarStore(store.path, clock=lambda: NOW, zone=UTC)
    assert again.list() == ((first, event(effect=1.5, apps=("shop",))), (second, event("deploy", begins=NOW + 60)))
    assert [number for number, _ in again.rows(NOW)] == [second, first]
    removed = again.remove(second)
    assert removed is not None and removed.name == "deploy"
    assert again.remove(second) is None
    assert again.add(event("deploy")) > second, "a number is never used again"


def test_the_file_is_private_and_its_changes_are_synced(store: CalendarStore) -> None:
    store.add(event())
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_an_event_that_was_added_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "calendar.db"
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from sidestep.autopilot.calendar_store import CalendarStore\n"
        "from sidestep.fleet.occasions import announced\n"
        "store = CalendarStore(Path(sys.argv[1]))\n"
        f"store.add(announced('sale', begins={NOW}, lasts=60.0, effect=2.0))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert [each.name for _, each in CalendarStore(path).list()] == ["sale"]


def test_what_the_oracle_is_told_are_events_that_are_not_over_and_timers(store: CalendarStore) -> None:
    store.add(event("over", begins=NOW - 7201))
    store.add(event("runs", begins=NOW - 7000))
    store.add(event("daily", begins=NOW - 10 * DAY, period=DAY, lasts=60.0))
    timer = Occasion(name=Label("backup"), kind="timer", hosts=(Label("h0"),), begins=NOW + 5, period=DAY)
    told = store.occasions(NOW, (timer,))
    assert {each.name: each.begins for each in told} == {"runs": NOW - 7000, "daily": NOW, "backup": NOW + 5}
    assert store.occasions(NOW) is told, "nothing changed, so nothing is told anew"
    assert {each.name: each.begins for each in store.occasions(NOW + 61)}["daily"] == NOW + DAY
    assert [number for number, each in store.rows(NOW) if each.kind == "timer"] == [0]


def test_other_threads_may_ask_while_events_come_and_go(store: CalendarStore) -> None:
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(lambda: [len(store.occasions(NOW, ())) for _ in range(300)]) for _ in range(2)]
        numbers = [store.add(event(f"e{i}")) for i in range(30)]
        for number in numbers:
            store.remove(number)
        assert all(max(each.result()) <= 30 for each in asked)
    assert store.occasions(NOW) == ()


def test_a_daily_event_stays_on_the_clock_of_the_controller(tmp_path: Path) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    summer = datetime(2026, 7, 1, 2, 30, tzinfo=berlin).timestamp()
    store = CalendarStore(tmp_path / "c.db", zone=berlin, clock=lambda: summer)
    store.add(announced("backup", begins=summer, period=DAY, lasts=600.0))
    winter = datetime(2026, 12, 1, 12, 0, tzinfo=berlin).timestamp()
    begins = store.occasions(winter)[0].begins
    assert datetime.fromtimestamp(begins, berlin).strftime("%m-%d %H:%M") == "12-02 02:30"


def test_bad_files_are_refused_with_the_remedy(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE mine (x)")
    (tmp_path / "garbage.db").write_bytes(b"no database " * 1000)
    newer = tmp_path / "newer.db"
    CalendarStore(newer).close()
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 99")
    (tmp_path / "link.db").symlink_to(other)
    for name in ("other.db", "garbage.db", "newer.db", "link.db"):
        with pytest.raises(CalendarError) as caught:
            CalendarStore(tmp_path / name)
        assert name in str(caught.value) and caught.value.hint
    damaged = tmp_path / "damaged.db"
    CalendarStore(damaged).close()
    with sqlite3.connect(damaged) as db:
        db.execute("INSERT INTO event (added, body) VALUES (0, x'ff')")
    with pytest.raises(CalendarError, match="event 1 cannot be read"):
        CalendarStore(damaged)
    said: list[str] = []
    assert open_calendar(damaged, said.append, clock=lambda: NOW) is None
    assert "no events are kept" in said[0] and "remedy" in said[0]


def test_bad_events_and_too_many_are_refused(store: CalendarStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="effect"):
        store.add(Occasion(name=Label("x"), kind="event", begins=NOW, lasts=60.0, effect=-1.0))
    monkeypatch.setattr("sidestep.autopilot.calendar_store.EVENTS", 3)
    for _ in range(3):
        store.add(event())
    with pytest.raises(CalendarError, match="3 events are kept already"):
        store.add(event())
    assert EVENTS == 1000


def test_events_that_were_over_long_ago_make_room(store: CalendarStore) -> None:
    old = store.add(event("old", begins=NOW - 500 * DAY))
    store.add(event("new"))
    assert old not in dict(store.list())


@pytest.mark.parametrize("name", ["", "Europe/Berlin", "No/Such", ":UTC", "../../etc/passwd"])
def test_the_zone_of_the_controller_is_always_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", name)
    assert datetime.fromtimestamp(0, local_zone()).year in {1969, 1970}
    assert os.environ["TZ"] == name


# -- timers of hosts


def task(name: str, ahead: float, period: float | None = DAY) -> ScheduledTask:
    return ScheduledTask(Label(name), NOW + ahead, period)


def test_timers_of_hosts_become_occasions_of_these_hosts() -> None:
    """S2.6: systemd timers and crontabs as the sampler reads them."""
    reader = TimerReader((Label("web1"), Label("db1")), 60.0)
    tasks = [(task("backup", 600), task("root.report", 60, None)), (task("backup", 300),)]
    found = reader.read(tasks, NOW)
    assert {(each.hosts[0], each.name, each.begins - NOW, each.period) for each in found} == {
        ("web1", "backup", 600.0, DAY),
        ("web1", "root.report", 60.0, None),
        ("db1", "backup", 300.0, DAY),
    }
    assert all(each.kind == "timer" for each in found)
    assert reader.read(list(tasks), NOW + 1) is found, "nothing is made anew while hosts say the same"
    tasks[1] = (task("backup", 300 + DAY),)
    assert reader.read(tasks, NOW + 400) != found


def test_entries_of_one_name_are_told_apart_by_their_time_of_the_day() -> None:
    """Two lines of a crontab that start the same program at night and at noon are two jobs."""
    found = timers_of(Label("h"), (task("root.sync", 3600), task("root.sync", 3600 + DAY / 2)), NOW, 60.0)
    assert len({each.name for each in found}) == 2
    assert all(each.name.startswith("root.sync ") for each in found)
    later = timers_of(Label("h"), (task("root.sync", 3600 + DAY), task("root.sync", 3600 + DAY / 2)), NOW + 4000, 60.0)
    assert {each.name for each in later} == {each.name for each in found}, "the same names after one has run"
    often = timers_of(Label("h"), (task("x", 60, 3600.0), task("x", 120, 3600.0)), NOW, 60.0)
    assert [each.name for each in often] == ["x", "x"]


@pytest.mark.parametrize(
    ("ahead", "period"),
    [(60.0, 299.0), (60.0, 0.0), (60.0, -5.0), (60.0, 1e15), (1e12, DAY), (-1e9, DAY), (float("nan"), DAY)],
)
def test_absurd_timers_are_left_out(ahead: float, period: float) -> None:
    assert timers_of(Label("h"), (task("x", ahead, period),), NOW, 60.0) == ()


def test_a_host_with_thousands_of_timers_takes_no_room_of_others() -> None:
    hosts = tuple(Label(f"h{i}") for i in range(300))
    greedy = tuple(task(f"t{i}", 60.0 + i) for i in range(1024))
    tasks = [greedy] * 299 + [(task("backup", 600),)]
    reader = TimerReader(hosts, 1.0)
    found = reader.read(tasks, NOW)
    assert len(found) == MOST
    assert sum(each.hosts[0] == "h299" for each in found) == 1
    assert max(sum(each.hosts[0] == host for each in found) for host in hosts[:5]) <= PER_HOST
    assert reader.left_out == 299 * 1024 + 1 - MOST
    with pytest.raises(ValueError, match="tasks of 1 hosts"):
        reader.read([()], NOW)


@given(st.lists(st.tuples(st.text(max_size=300), st.floats(), st.none() | st.floats()), max_size=20))
def test_whatever_a_host_says_becomes_harmless_names_and_finite_times(
    said: list[tuple[str, float, float | None]],
) -> None:
    tasks = tuple(ScheduledTask(Label(name), at, period) for name, at, period in said)
    for each in timers_of(Label("h"), tasks, NOW, 1.0):
        assert each.name.isprintable() and len(each.name) <= 80
        assert abs(each.begins - NOW) <= 400 * DAY
        assert each.period is None or 5 <= each.period <= 400 * DAY
