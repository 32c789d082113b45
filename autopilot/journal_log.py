"""The log: append-only rows of what happened, each bound to the one before it by a hash."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from sidestep.autopilot.journal_store import JournalError, Store
from sidestep.fleet.events import Event, Kind
from sidestep.fleet.labels import scrub

#: errors carry the tail of a host's log
TEXT: Final = 2000


class BrokenLog(JournalError):
    """A row of the log was changed, removed or added by somebody else; ``seq`` is the first one."""

    def __init__(self, seq: int, message: str) -> None:
        super().__init__(f"log row {seq}: {message}", hint="keep a copy of the journal: it is evidence")
        self.seq = seq


class About(Struct, frozen=True, kw_only=True):
    """What a row is about: a plan by its digest and, as far as there are, an action, its move, a step, the state."""

    digest: str
    action: int = 0
    shard: str = ""
    source: str = ""
    destination: str = ""
    step: str = ""
    state: str = ""


class EventLog(Store):
    """What happened, when and why."""

    #: whether rows were written since the last sync
    _unsynced = False

    def record(self, kind: Kind, text: str, *, actor: str = "", plan: int = 0, about: About | None = None) -> Event:
        """Append one row, durable when this returns. Raises JournalError."""
        with self._transaction() as db:
            last, before = db.execute("SELECT seq, hash FROM chain").fetchone()
            event = Event(
                seq=last + 1,
                time=self._clock(),
                kind=kind,
                text=scrub(text, TEXT),
                actor=scrub(actor),
                plan=plan,
            )
            chained = _chained(before, event, about)
            db.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)", (*msgspec.structs.astuple(event), chained))
            if about is not None:
                values = (event.seq, *msgspec.structs.astuple(about))
                db.execute("INSERT INTO event_about VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            db.execute("UPDATE chain SET seq = ?, hash = ?", (event.seq, chained))
        return event

    def observe(self, kind: Kind, text: str, *, actor: str = "", plan: int = 0) -> Event:
        """Append one row of what was only seen: it is synced with the next act or ``sync``, not by itself.

        A thousand hosts that go away at once are not to cost a thousand syncs. A power loss may take
        such rows of the last second, never one that an act follows. Raises JournalError.
        """
        if self._db.in_transaction:
            return self.record(kind, text, actor=actor, plan=plan)
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._unsynced = True
        try:
            return self.record(kind, text, actor=actor, plan=plan)
        finally:
            self._db.execute("PRAGMA synchronous = FULL")

    def sync(self) -> bool:
        """Make durable what was only seen so far; False if there is nothing. Raises JournalError."""
        if not self._unsynced:
            return False
        self._write_something()  # a write-ahead log is synced as a whole
        self._unsynced = False
        return True

    def events(self, since: int = 0, limit: int = 500) -> tuple[Event, ...]:
        """The first ``limit`` rows after row ``since``, oldest first; below 0, among so many of the newest."""
        if since < 0:
            since = max(0, self._rows("SELECT seq FROM chain")[0]["seq"] + since)
        rows = self._rows("SELECT * FROM event WHERE seq > ? ORDER BY seq LIMIT ?", since, limit)
        return tuple(_event(row) for row in rows)

    def about(self, seq: int) -> dict[str, str]:
        """What of a move row ``seq`` is about, by name: shard, source, destination, step, state; what there is."""
        rows = self._rows("SELECT shard, source, destination, step, state FROM event_about WHERE seq = ?", seq)
        return {key: row[key] for row in rows for key in row.keys() if row[key]}  # noqa: SIM118 - a row iterates values

    def verify_chain(self) -> None:
        """Check every row against the one before it. Raises BrokenLog naming the first broken row."""
        verify_events(self._db, self.path)


def verify_events(db: sqlite3.Connection, path: Path) -> None:
    """Check every row of the log in ``db`` against the one before it. Raises BrokenLog naming the first broken row."""
    seq, before = 0, ""
    try:
        for row in db.execute("SELECT * FROM event LEFT JOIN event_about USING (seq) ORDER BY seq"):
            if row["seq"] != seq + 1:
                raise BrokenLog(seq + 1, "is missing")
            seq += 1
            if row["hash"] != _chained(before, _event(row), _about(row)):
                raise BrokenLog(seq, "is not what was written")
            before = row["hash"]
        end = db.execute("SELECT seq, hash FROM chain").fetchone()
    except sqlite3.Error as error:
        raise JournalError(f"{path}: {error}") from error
    if end["seq"] > seq:
        raise BrokenLog(seq + 1, f"is missing, with all up to row {end['seq']}")
    if (end["seq"], end["hash"]) != (seq, before):
        raise BrokenLog(end["seq"] + 1, "was not written by this journal")


def _event(row: sqlite3.Row) -> Event:
    try:
        return msgspec.convert({key: row[key] for key in Event.__struct_fields__}, Event)
    except msgspec.ValidationError as error:
        raise BrokenLog(row["seq"], f"cannot be read: {error}") from error


def _about(row: sqlite3.Row) -> About | None:
    if row["digest"] is None:
        return None
    try:
        return msgspec.convert({key: row[key] for key in About.__struct_fields__}, About)
    except msgspec.ValidationError as error:
        raise BrokenLog(row["seq"], f"cannot be read: {error}") from error


def _chained(before: str, event: Event, about: About | None) -> str:
    canonical = msgspec.json.encode(msgspec.structs.astuple(event))
    if about is not None:
        canonical += msgspec.json.encode(msgspec.structs.astuple(about))
    return hashlib.sha256(before.encode() + canonical).hexdigest()
