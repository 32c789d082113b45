"""The journal's file: opened only if it is ours, written in durable transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sidestep.autopilot.journal_room import Room
from sidestep.autopilot.journal_schema import APPLICATION, SCHEMA, JournalError, check, pragma, upgrade
from sidestep.autopilot.private_file import claim

__all__ = ["APPLICATION", "SCHEMA", "JournalError", "Store"]

_BUSY_SECONDS: Final = 5.0
#: bytes that have to be written before trouble is over
_ENOUGH: Final = 1 << 16
#: what SQLite says when nothing can be written: the disk is full, breaks, or is read-only
_UNWRITABLE: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
)


class Store:
    """One SQLite file, 0600, write-ahead log, every transaction synced before it counts.

    ``clock`` gives unix seconds. Raises JournalError for a file that is not a journal, that a
    newer version wrote, that is damaged, or that cannot be written.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path, self._clock = path, clock
        self.room = Room(path.with_name(f"{path.stem}.reserve"))
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

    @property
    def trouble(self) -> str:
        """Why nothing new may begin, or "": the journal cannot be written, or soon could not be."""
        return self.room.trouble

    def recheck(self) -> bool:
        """Look again whether there is room; True if the journal can be written.

        This, and nothing else, ends ``trouble``, by a write that succeeds. Call it now and then.
        """
        if self.room.look() and self.trouble:
            try:
                with self._transaction() as db:
                    db.execute("UPDATE pulse SET time = ?, filler = randomblob(?)", (self._clock(), _ENOUGH))
            except JournalError:
                return False
            self.room.trouble = ""
        return not self.trouble

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._db.close()

    def _prepare(self) -> None:
        self._db.row_factory = sqlite3.Row
        version = check(self._db, self.path)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        upgrade(self._db, self.path, version)
        self._write_something()  # a file that can only be read is found now, not in the middle of a move

    def _write_something(self) -> None:
        with self._transaction() as db:
            db.execute("UPDATE pulse SET time = ?", (self._clock(),))

    def _pragma(self, name: str) -> int:
        return pragma(self._db, name)

    def _committed(self) -> None:
        """Called after every transaction that is durable now."""

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
            if error.sqlite_errorcode & 0xFF in _UNWRITABLE:
                self.room.failed(f"{self.path}: {error}")
            raise JournalError(
                f"{self.path}: {error}", hint="make room on the disk, and let one daemon only use this journal"
            ) from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        self._committed()

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from error
