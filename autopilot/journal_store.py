"""The journal's file: opened only if it is ours, written in durable transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from sidestep.autopilot.private_file import claim
from sidestep.fleet.errors import SidestepError

#: "SStp" in the header of the file says that it is a journal of ours
APPLICATION: Final = 0x53537470
SCHEMA: Final = 1
_BUSY_SECONDS: Final = 5.0


class JournalError(SidestepError):
    """The journal cannot be opened, read or written; nothing was changed by the call that raised it."""


class Store:
    """One SQLite file, 0600, write-ahead log, every transaction synced before it counts.

    ``clock`` gives unix seconds. Raises JournalError for a file that is not a journal, that a
    newer version wrote, or that cannot be written.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path, self._clock = path, clock
        claim(path, JournalError)
        try:
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        except sqlite3.Error as error:
            raise JournalError(f"{path}: {error}", hint="name another state folder, or make it writable") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise JournalError(
                f"{path}: cannot be used as a journal: {error}",
                hint="is the disk full, or is this another program's file? Move it away to begin a new journal",
            ) from error
        except JournalError:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._db.close()

    def _prepare(self) -> None:
        self._db.row_factory = sqlite3.Row
        version = self._pragma("user_version")
        application = self._pragma("application_id")
        used = bool(self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        if application != APPLICATION and (used or application or version):
            raise JournalError(
                f"{self.path}: this is a database of another program",
                hint="move it away, or name another state folder",
            )
        if version > SCHEMA:
            raise JournalError(
                f"{self.path}: written by a newer sidestep (schema {version}, this one knows {SCHEMA})",
                hint="run the newer version, or keep this file and name another state folder",
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if not used:
            schema = files("sidestep.autopilot").joinpath("schema.sql").read_text(encoding="utf-8")
            self._db.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};"
                f"{schema}\nCOMMIT;"
            )
        with self._transaction():  # a file that can only be read is found now, not in the middle of a move
            self._db.execute(f"PRAGMA user_version = {SCHEMA}")

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, durable at the end; inside another transaction it is a part of that one."""
        nested = self._db.in_transaction
        if nested:
            yield self._db
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise JournalError(
                f"{self.path}: {error}", hint="make room on the disk, and let one daemon only use this journal"
            ) from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from error
