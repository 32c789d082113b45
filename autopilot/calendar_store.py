"""The calendar's file: events that operators announced, and beside them the timers that hosts told of.

One SQLite file in the fleet's state folder, 0600, write-ahead log, every change synced before
it counts. Who added or removed an event is written to the journal's audit log by the caller.
Timers are not stored: hosts tell them anew.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from sidestep.autopilot.private_file import claim
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.occasions import Occasion, announced, coming

#: "SSca" in the header of the file says that it is ours
APPLICATION: Final = 0x53536361
SCHEMA: Final = 1
#: events that may be kept
EVENTS: Final = 1000
#: seconds that one which is over is kept
KEPT: Final = 400 * 86400.0
_TABLES: Final = """
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    added REAL NOT NULL,
    body BLOB NOT NULL
);
"""
_LOCALTIME: Final = Path("/etc/localtime")


class CalendarError(SidestepError):
    """The calendar's file cannot be opened, read or written; nothing was changed by the call that raised it."""


def local_zone() -> tzinfo:
    """The time zone of the controller: ``$TZ``, else the system's, else UTC."""
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with _LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file, key="local")
    except (OSError, ValueError, KeyError):
        return UTC


class CalendarStore:
    """Events by number, and the timers of now.

    The file is for one thread; ``occasions`` and ``rows`` read memory only and may be called from
    any. Daily and weekly events keep their time on the clock of ``zone``. Raises CalendarError for
    a file that is not a calendar, that a newer version wrote, or that cannot be written.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, zone: tzinfo | None = None) -> None:
        self.path, self._clock, self.zone = path, clock, zone or local_zone()
        self._timers: tuple[Occasion, ...] = ()
        self._told: tuple[Occasion, ...] = ()
        self._events: dict[int, Occasion] = {}
        claim(path, CalendarError)
        try:
            self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None)
        except sqlite3.Error as error:
            raise CalendarError(f"{path}: {error}", hint="name another state folder, or make it writable") from error
        try:
            self._prepare()
            self._events = self._read()
        except (sqlite3.Error, CalendarError) as error:
            self._db.close()
            if isinstance(error, CalendarError):
                raise
            raise CalendarError(
                f"{path}: cannot be used as a calendar: {error}",
                hint="is the disk full, or is this another program's file? Move it away to begin a new calendar",
            ) from error

    def _prepare(self) -> None:
        application, version = (
            int(self._db.execute(f"PRAGMA {p}").fetchone()[0]) for p in ("application_id", "user_version")
        )
        used = bool(self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        if application != APPLICATION and (used or application or version):
            raise CalendarError(f"{self.path}: this is a database of another program", hint="move it away")
        if version > SCHEMA:
            raise CalendarError(
                f"{self.path}: written by a newer sidestep (schema {version}, this one knows {SCHEMA})",
                hint="run the newer version, or move the file away",
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if not used:
            self._db.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};"
                f"{_TABLES} COMMIT;"
            )
        self._write("DELETE FROM event WHERE added < 0")  # a file that can only be read is found now

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._db.close()

    # -- events

    def add(self, occasion: Occasion) -> int:
        """Keep an event; its number, which is never used again. Durable when this returns.

        Raises UsageError for one that cannot be, CalendarError when there are too many.
        """
        checked = announced(
            occasion.name,
            begins=occasion.begins,
            period=occasion.period,
            lasts=occasion.lasts,
            hosts=occasion.hosts,
            apps=occasion.apps,
            effect=occasion.effect,
        )
        self._prune()
        if len(self._events) >= EVENTS:
            raise CalendarError(f"{EVENTS} events are kept already", hint="remove one: sidestep event remove NUMBER")
        body = msgspec.msgpack.encode(checked)
        number = int(self._write("INSERT INTO event (added, body) VALUES (?, ?)", self._clock(), body).lastrowid or 0)
        self._events = {**self._events, number: checked}
        return number

    def remove(self, number: int) -> Occasion | None:
        """Forget an event; what it was, None if there was none. Durable when this returns."""
        found = self._events.get(number)
        if found is not None:
            self._write("DELETE FROM event WHERE id = ?", number)
            self._events = {key: each for key, each in self._events.items() if key != number}
        return found

    def list(self) -> tuple[tuple[int, Occasion], ...]:
        """Every event with its number as it was announced, those that are over too."""
        return tuple(sorted(self._events.items()))

    def rows(self, now: float) -> tuple[tuple[int, Occasion], ...]:
        """Events that are not over with their numbers, and timers with number 0, soonest first."""
        events = [(number, coming(each, now, self.zone)) for number, each in self._events.items()]
        found = [(number, each) for number, each in events if each is not None]
        found += [(0, timer) for timer in self._timers]
        return tuple(sorted(found, key=lambda row: (row[1].begins, row[1].name, row[0])))

    # -- what the oracle is told

    def occasions(self, now: float, timers: tuple[Occasion, ...] | None = None) -> tuple[Occasion, ...]:
        """Events that run or come, each as it counts at ``now``, then timers; the same tuple while nothing changed.

        ``timers`` are those of the hosts now, in place of those before; None keeps them.
        """
        if timers is not None:
            self._timers = timers
        events = (coming(each, now, self.zone) for each in self._events.values())
        told = tuple(each for each in events if each is not None) + self._timers
        if told != self._told:
            self._told = told
        return self._told

    # -- the file

    def _read(self) -> dict[int, Occasion]:
        found: dict[int, Occasion] = {}
        for number, body in self._db.execute("SELECT id, body FROM event ORDER BY id").fetchall():
            try:
                found[int(number)] = msgspec.msgpack.decode(body, type=Occasion)
            except (msgspec.MsgspecError, TypeError) as error:
                raise CalendarError(
                    f"{self.path}: event {number} cannot be read: {error}",
                    hint="move the file away to begin a new calendar",
                ) from error
        return found

    def _prune(self) -> None:
        """Forget what was over long ago."""
        before = self._clock() - KEPT
        for number, event in tuple(self._events.items()):
            if event.period is None and event.begins + event.lasts < before:
                self.remove(number)

    def _write(self, statement: str, *values: Any) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise CalendarError(
                f"{self.path}: {error}", hint="make room on the disk, and let one daemon only use this file"
            ) from error


def open_calendar(path: Path, report: Callable[[str], None], *, clock: Callable[[], float]) -> CalendarStore | None:
    """The calendar of a daemon; one that cannot be opened is said, and the daemon goes on without announced events."""
    try:
        return CalendarStore(path, clock=clock)
    except CalendarError as error:
        report(f"no events are kept: {error}")
        return None
