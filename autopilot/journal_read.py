"""The journal for readers: what happened, filtered, while the daemon goes on writing.

Nothing here can change the file. A reader sees the state of one moment, and never keeps the
daemon from writing.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from sidestep.autopilot.journal_schema import APPLICATION, SCHEMA, JournalError, pragma
from sidestep.fleet.errors import UsageError
from sidestep.fleet.resources import parse_seconds

#: rows that are read at a time
CHUNK: Final = 2000
#: shortest digest prefix that names a plan
PREFIX: Final = 6
_QUERY: Final = """
SELECT seq, time, kind, text, actor, plan, coalesce(digest, '') AS digest, coalesce(action, 0) AS action,
    coalesce(shard, '') AS shard, coalesce(source, '') AS source, coalesce(destination, '') AS destination,
    coalesce(step, '') AS step, coalesce(state, '') AS state
FROM event LEFT JOIN event_about USING (seq)
"""
#: rows of its actions, rows of whole plans that have such actions, and rows about no plan that may name it
_OF_SHARD: Final = """(shard = ? OR shard = '' AND digest IN (SELECT digest FROM action WHERE shard = ?)
    OR digest IS NULL AND instr(text, ?))"""
_OF_HOST: Final = """(source = ? OR destination = ?
    OR shard = '' AND digest IN (SELECT digest FROM event_about WHERE source = ? OR destination = ?)
    OR digest IS NULL AND instr(text, ?))"""


class JournalRow(Struct, frozen=True):
    """One thing that happened. ``digest`` and what follows say what it is about, if it is about a plan."""

    seq: int
    time: float
    kind: str
    text: str
    actor: str
    plan: int
    digest: str
    action: int
    shard: str
    source: str
    destination: str
    step: str
    state: str


class Wanted(Struct, frozen=True, kw_only=True):
    """Which rows; what is "" or None is not asked for. Times are unix seconds, ``until`` not included."""

    plan: str = ""
    shard: str = ""
    host: str = ""
    state: str = ""
    kind: str = ""
    actor: str = ""
    since: float | None = None
    until: float | None = None


class JournalReader:
    """An open journal that is only read. Raises JournalError for a file that is none, or of another version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise JournalError(f"no journal at {path}", hint="name the daemon's state folder: --state DIR")
        self.db = _open(path)
        self.db.row_factory = sqlite3.Row
        try:
            version, application = pragma(self.db, "user_version"), pragma(self.db, "application_id")
        except sqlite3.Error as error:
            self.db.close()
            raise JournalError(f"{path}: cannot be read: {error}") from error
        if application != APPLICATION or version != SCHEMA:
            self.db.close()
            whose = f"of schema {version}, this sidestep reads {SCHEMA}" if application == APPLICATION else "no journal"
            raise JournalError(f"{path}: {whose}", hint="a daemon of this version brings an older one up to date")

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, wanted: Wanted, *, after: int = 0, newest: int | None = None) -> Iterator[JournalRow]:
        """Rows after number ``after``, oldest first; with ``newest`` that many of the last ones at most.

        Raises UsageError for a plan that is none, JournalError.
        """
        where, values = self._where(wanted)
        try:
            if newest is not None:
                found = self.db.execute(f"{_QUERY} WHERE {where} AND seq > ? ORDER BY seq DESC", (*values, after))
                some: list[JournalRow] = []
                for row in _matching(found, wanted):
                    some.append(row)
                    if len(some) == newest:
                        break
                yield from reversed(some)
                return
            while True:  # in chunks: an open statement would keep the write-ahead log from being cut
                query = f"{_QUERY} WHERE {where} AND seq > ? ORDER BY seq LIMIT {CHUNK}"
                chunk = self.db.execute(query, (*values, after)).fetchall()
                yield from _matching(chunk, wanted)
                if len(chunk) < CHUNK:
                    return
                after = int(chunk[-1]["seq"])
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from error

    def end(self) -> int:
        """The number of the newest row."""
        try:
            return int(self.db.execute("SELECT seq FROM chain").fetchone()[0])
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from error

    def plan_number(self, ref: str) -> int:
        """The number of the plan of that number or digest prefix. Raises UsageError."""
        ref = ref.lstrip("#").lower()
        if ref.isascii() and ref.isdigit() and len(ref) < PREFIX:
            return int(ref)
        found = []
        if len(ref) >= PREFIX and set(ref) <= set("0123456789abcdef"):
            query = "SELECT number FROM plan WHERE substr(digest, 1, ?) = ? OR CAST(number AS TEXT) = ?"
            found = [int(row[0]) for row in self.db.execute(query, (len(ref), ref, ref))]
        if len(found) != 1:
            numbers = ", ".join(map(str, found))
            what = f"is ambiguous: plans {numbers}" if found else "names no plan"
            raise UsageError(f"--plan {ref} {what}", hint=f"give its number, or {PREFIX} or more digits of its digest")
        return found[0]

    def _where(self, wanted: Wanted) -> tuple[str, tuple[object, ...]]:
        parts: list[tuple[str, tuple[object, ...]]] = []
        if wanted.plan:
            parts.append(("plan = ?", (self.plan_number(wanted.plan),)))
        if wanted.shard:
            parts.append((_OF_SHARD, (wanted.shard,) * 3))
        if wanted.host:
            parts.append((_OF_HOST, (wanted.host,) * 5))
        if wanted.state:
            parts.append(("state = ?", (wanted.state.upper().replace("-", "_"),)))
        if wanted.kind:
            parts.append(("kind = ?", (wanted.kind,)))
        if wanted.actor:
            parts.append(("actor = ?", (wanted.actor,)))
        if wanted.since is not None:
            parts.append(("time >= ?", (wanted.since,)))
        if wanted.until is not None:
            parts.append(("time < ?", (wanted.until,)))
        where = " AND ".join(part for part, _ in parts) or "1"
        return where, tuple(value for _, values in parts for value in values)


def _open(path: Path) -> sqlite3.Connection:
    """Only for reading, also while somebody writes."""
    for mode in ("rw", "ro"):  # the companions of a write-ahead log cannot be made in a folder that is read-only
        try:
            db = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode={mode}", uri=True, isolation_level=None)
            db.execute("PRAGMA query_only = ON")
            db.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.Error as error:
            trouble = error
            continue
        return db
    raise JournalError(f"{path}: cannot be read: {trouble}")


def _matching(rows: sqlite3.Cursor | list[sqlite3.Row], wanted: Wanted) -> Iterator[JournalRow]:
    """Rows; those that are about no plan are taken if a name is a word of their text."""
    names = [re.compile(rf"(?<![\w.-]){re.escape(n)}(?![\w-]|\.\w)") for n in (wanted.shard, wanted.host) if n]
    for row in rows:
        if row["digest"] or all(name.search(row["text"]) for name in names):
            yield JournalRow(*row)


def moment(option: str, text: str, now: float) -> float | None:
    """The unix time that ``2026-11-21T07:00`` (UTC) or ``2h`` (ago) means; None for "". Raises UsageError."""
    if not text:
        return None
    try:
        return now - parse_seconds(text)
    except ValueError:
        pass
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        hint = "write 2026-11-21T07:00 (UTC), or how long ago, such as 2h"
        raise UsageError(f"{option} {text}: not a time", hint=hint) from None
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
