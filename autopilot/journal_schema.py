"""The journal's tables: made anew, or brought from an older version to this one.

A new file runs the same scripts as an old one, so that both end with the same tables. A
script that was released is never changed again; a change is a new script at the end.
"""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from pathlib import Path
from typing import Final

from sidestep.autopilot.private_file import claim
from sidestep.fleet.errors import SidestepError

#: "SStp" in the header of the file says that it is a journal of ours
APPLICATION: Final = 0x53537470
#: what brings a file from version n to n + 1, from an empty file on
SCRIPTS: Final = ("schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql", "schema_5.sql", "schema_6.sql")
SCHEMA: Final = len(SCRIPTS)


class JournalError(SidestepError):
    """The journal cannot be opened, read or written; nothing was changed by the call that raised it."""


def check(db: sqlite3.Connection, path: Path) -> int:
    """The version of the file, 0 for an empty one. Raises JournalError if it is not ours, newer, or damaged."""
    version, application = pragma(db, "user_version"), pragma(db, "application_id")
    used = bool(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if application != APPLICATION and (used or application or version):
        raise JournalError(
            f"{path}: this is a database of another program",
            hint="move it away, or name another state folder",
        )
    if version > SCHEMA:
        raise JournalError(
            f"{path}: written by a newer sidestep (schema {version}, this one knows {SCHEMA})",
            hint="run the newer version, or keep this file and name another state folder",
        )
    if used and (wrong := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise JournalError(
            f"{path}: the file is damaged: {wrong}",
            hint="keep it as evidence, and put a backup in its place: sidestep restore FILE --replace",
        )
    return version if used else 0


def upgrade(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Bring the tables to this version in one transaction; a copy of an older file is kept beside it first.

    Raises sqlite3.Error and JournalError; the file is as before then.
    """
    if version == SCHEMA:
        return
    if version:
        keep_copy(db, path.with_name(f"{path.name}.schema-{version}"))
    folder = files("sidestep.autopilot")
    scripts = "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS[version:])
    settings = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};"
    try:
        db.executescript(f"BEGIN IMMEDIATE; {settings}\n{scripts}\nCOMMIT;")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def keep_copy(db: sqlite3.Connection, target: Path) -> None:
    """Write the database, consistent as of now, into a private file. Raises sqlite3.Error and JournalError."""
    claim(target, JournalError)
    other = sqlite3.connect(target, isolation_level=None)
    try:
        db.backup(other)
        other.execute("PRAGMA journal_mode = DELETE")  # one file, without companions
    finally:
        other.close()


def pragma(db: sqlite3.Connection, name: str) -> int:
    """A number that SQLite keeps of the file."""
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
