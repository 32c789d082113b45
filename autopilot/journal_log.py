"""The audit log: append-only rows, each bound to the one before it by a hash."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Final

import msgspec

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


class EventLog(Store):
    """Who did what, when and why."""

    def record(self, kind: Kind, text: str, *, actor: str = "", plan: int = 0) -> Event:
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
            chained = _chained(before, event)
            db.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)", (*msgspec.structs.astuple(event), chained))
            db.execute("UPDATE chain SET seq = ?, hash = ?", (event.seq, chained))
        return event

    def events(self, since: int = 0, limit: int = 500) -> tuple[Event, ...]:
        """The first ``limit`` rows after row ``since``, oldest first; below 0, among so many of the newest."""
        if since < 0:
            since = max(0, self._rows("SELECT seq FROM chain")[0]["seq"] + since)
        rows = self._rows("SELECT * FROM event WHERE seq > ? ORDER BY seq LIMIT ?", since, limit)
        return tuple(_event(row) for row in rows)

    def verify_chain(self) -> None:
        """Check every row against the one before it. Raises BrokenLog naming the first broken row."""
        seq, before = 0, ""
        try:
            for row in self._db.execute("SELECT * FROM event ORDER BY seq"):
                if row["seq"] != seq + 1:
                    raise BrokenLog(seq + 1, "is missing")
                seq += 1
                if row["hash"] != _chained(before, _event(row)):
                    raise BrokenLog(seq, "is not what was written")
                before = row["hash"]
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from error
        end = self._rows("SELECT seq, hash FROM chain")[0]
        if end["seq"] > seq:
            raise BrokenLog(seq + 1, f"is missing, with all up to row {end['seq']}")
        if (end["seq"], end["hash"]) != (seq, before):
            raise BrokenLog(end["seq"] + 1, "was not written by this journal")


def _event(row: sqlite3.Row) -> Event:
    try:
        return msgspec.convert({key: row[key] for key in Event.__struct_fields__}, Event)
    except msgspec.ValidationError as error:
        raise BrokenLog(row["seq"], f"cannot be read: {error}") from error


def _chained(before: str, event: Event) -> str:
    canonical = msgspec.json.encode(msgspec.structs.astuple(event))
    return hashlib.sha256(before.encode() + canonical).hexdigest()
