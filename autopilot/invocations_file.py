"""The file of the store of invocations: opened only if it is ours, private, of a version that we know."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from sidestep.autopilot.private_file import claim
from sidestep.fleet.errors import SidestepError

#: "SSin" in the header of the file says that it is a store of ours
APPLICATION: Final = 0x5353696E
SCHEMA: Final = 1
_BUSY_SECONDS: Final = 5.0
#: bytes that the write-ahead log keeps between two checkpoints
_LOG_BYTES: Final = 8 << 20

_TABLES: Final = """
CREATE TABLE invocation (
    id INTEGER PRIMARY KEY, app TEXT NOT NULL, shard TEXT NOT NULL, t REAL NOT NULL, wall_s REAL NOT NULL,
    cpu_s REAL, max_rss REAL, net_bytes REAL, n INTEGER NOT NULL, x TEXT NOT NULL
);
CREATE INDEX invocation_of ON invocation (app, shard, t);
CREATE INDEX invocation_at ON invocation (t);
CREATE TABLE rollup (
    app TEXT NOT NULL, shard TEXT NOT NULL, hour INTEGER NOT NULL,
    n INTEGER NOT NULL, wall_sum REAL NOT NULL, wall_max REAL NOT NULL, cpu_n INTEGER NOT NULL, cpu_sum REAL NOT NULL,
    rss_n INTEGER NOT NULL, rss_max REAL NOT NULL, net_n INTEGER NOT NULL, net_sum REAL NOT NULL,
    wall BLOB NOT NULL, cpu BLOB NOT NULL, rss BLOB NOT NULL,
    PRIMARY KEY (app, shard, hour)
) WITHOUT ROWID;
CREATE INDEX rollup_at ON rollup (hour);
CREATE TABLE imported (digest TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class InvocationError(SidestepError):
    """The store cannot be opened, read or written; nothing was changed by the call that raised it."""


def open_file(path: Path) -> sqlite3.Connection:
    """The database, made if it is missing. Raises InvocationError for a file that is not ours to write."""
    claim(path, InvocationError)
    try:
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise InvocationError(f"{path}: {error}", hint="name another state folder, or make it writable") from error
    try:
        _prepare(db, path)
    except sqlite3.Error as error:
        db.close()
        raise InvocationError(
            f"{path}: cannot be used: {error}",
            hint="is the disk full, or is this another program's file? Move it away to begin a new one",
        ) from error
    except InvocationError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    application, version = (int(db.execute(f"PRAGMA {p}").fetchone()[0]) for p in ("application_id", "user_version"))
    used = bool(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if application != APPLICATION and (used or application or version):
        raise InvocationError(f"{path}: this is a database of another program", hint="move it away")
    if version > SCHEMA:
        raise InvocationError(
            f"{path}: written by a newer sidestep (schema {version}, this one knows {SCHEMA})",
            hint="run the newer version, or move the file away",
        )
    db.execute("PRAGMA journal_mode = WAL")
    # What a killed process added stays; of a machine that loses power the last moments may go.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    if not used:
        begin = f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};"
        db.executescript(f"{begin}{_TABLES}\nCOMMIT;")
