"""The file of the accuracy store: opened only if it is ours, otherwise moved aside and begun anew.

Accounts are worth keeping but never worth a stop: whatever is wrong with the file is
reported, and where no file can be had the accounts are kept in memory until the end.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: "SSac" in the header of the file says that it is an accuracy store of ours
APPLICATION: Final = 0x53536163
VERSION: Final = 1
_BUSY_SECONDS: Final = 5.0
_WAL_BYTES: Final = 16 << 20

Report = Callable[[str], None]

#: ``part`` has one blob a chunk of names, kind and time; ``layout`` says how to read it
SCHEMA: Final = """
CREATE TABLE name (kind TEXT NOT NULL, slot INTEGER NOT NULL, name TEXT NOT NULL, seen REAL NOT NULL,
    PRIMARY KEY (kind, slot), UNIQUE (kind, name));
CREATE TABLE layout (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE part (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, of TEXT NOT NULL, chunk INTEGER NOT NULL,
    time REAL NOT NULL, hour INTEGER NOT NULL, rolled INTEGER NOT NULL DEFAULT 0, layout INTEGER NOT NULL,
    data BLOB NOT NULL);
CREATE UNIQUE INDEX part_of ON part (kind, of, chunk, time);
CREATE INDEX part_time ON part (time);
CREATE INDEX part_layout ON part (layout);
CREATE INDEX part_fresh ON part (kind, time) WHERE rolled = 0;
"""


class _Unusable(Exception):
    """The file is not a store of ours, or is damaged; says why."""


def connect(path: Path | None, report: Report, clock: Callable[[], float] = time.time) -> sqlite3.Connection:
    """The store at ``path``, begun anew if it cannot be used; in memory if there is none or nothing can be written."""
    if path is not None:
        for _ in range(2):
            try:
                return _open(path)
            except _Unusable as error:
                if not _set_aside(path, str(error), report, clock()):
                    break
            except (OSError, sqlite3.Error) as error:
                report(f"{path}: {error}; the accuracy of forecasts is kept in memory only")
                break
    found = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    found.executescript(SCHEMA)
    return found


def anew(path: Path | None, why: str, report: Report, clock: Callable[[], float] = time.time) -> sqlite3.Connection:
    """A store in place of one that turned out to be damaged, which is moved aside."""
    moved = path is not None and _set_aside(path, why, report, clock())
    return connect(path if moved else None, report, clock)


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise _Unusable("not a file of ours")
        if status.st_mode & 0o077:
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)
    # a daemon packs in a thread of its own and answers in another; the store holds a lock
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db)
    except (_Unusable, sqlite3.OperationalError):
        db.close()
        raise
    except sqlite3.DatabaseError as error:
        db.close()
        raise _Unusable(str(error)) from error
    return db


def _prepare(db: sqlite3.Connection) -> None:
    version, application = (int(db.execute(f"PRAGMA {p}").fetchone()[0]) for p in ("user_version", "application_id"))
    used = bool(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if application != APPLICATION and (used or application or version):
        raise _Unusable("this is a database of another program")
    if version > VERSION:
        raise _Unusable(f"written by a newer sidestep (version {version}, this one knows {VERSION})")
    if not used:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    # what was put is safe when the process dies; when the machine does, the newest board may be lost
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    if not used:
        db.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};{SCHEMA}\nCOMMIT;"
        )
    else:
        # a table that lacks a column is as useless as one that is damaged
        wanted = {"name", "layout", "part"}
        if wanted - {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}:
            raise _Unusable("its tables are not those of an accuracy store")


def _set_aside(path: Path, why: str, report: Report, now: float) -> bool:
    """Rename the file and what belongs to it; whether that could be done."""
    target = path.with_name(f"{path.name}.damaged-{int(now)}")
    number = 0
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{int(now)}-{number}")
    try:
        path.rename(target)
        for suffix in ("-wal", "-shm"):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(target.with_name(target.name + suffix))
    except OSError as error:
        report(f"{path}: {why}; it cannot be moved aside ({error.strerror}); accuracy is kept in memory only")
        return False
    report(f"{path}: {why}; it was moved to {target.name}, and the accuracy of forecasts is kept anew")
    return True
