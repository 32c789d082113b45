"""Journals of older versions are brought to this one, whole; newer and damaged ones are refused."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_schema import SCHEMA, SCRIPTS
from sidestep.autopilot.journal_store import JournalError
from sidestep.fleet.machines import ActionState, PlanState, StepName

DATA = Path(__file__).parent / "data"


def old(path: Path, version: int = 1) -> Path:
    """A journal as that version left it, in the middle of a move."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with sqlite3.connect(path, isolation_level=None) as db:
        db.executescript((DATA / f"journal-schema-{version}.sql").read_text())
        db.execute("PRAGMA journal_mode = WAL")
    db.close()
    return path


def tables(db: sqlite3.Connection) -> set[tuple[str, str]]:
    return {(name, sql) for name, sql in db.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL")}


@pytest.mark.parametrize("version", range(1, SCHEMA))
def test_an_old_journal_keeps_every_row_and_gets_the_tables_of_a_new_one(tmp_path: Path, version: int) -> None:
    path = old(tmp_path / "state" / "journal.db", version)
    journal, fresh = Journal(path), Journal(tmp_path / "fresh" / "journal.db")
    assert tables(journal._db) == tables(fresh._db)
    assert journal._pragma("user_version") == SCHEMA == len(SCRIPTS)
    journal.verify_chain()
    ((plan, status),) = journal.plans()
    assert (plan.number, status.state, status.reason) == (1, PlanState.RUNNING, "peak at noon")
    assert status.actions[0].state is ActionState.RUNNING
    assert [s.state for s in status.actions[0].steps[:4]] == ["DONE", "DONE", "DONE", "RUNNING"]
    assert journal.placement().generation == 1
    assert len(journal.placement().owners) == 3


def test_an_upgraded_journal_goes_on_where_the_old_one_was(tmp_path: Path) -> None:
    journal = Journal(old(tmp_path / "state" / "journal.db"))
    digest = journal.plans()[0][1].digest
    journal.undo_step(digest, 1, StepName.CAPTURE)
    journal.set_action(digest, 1, ActionState.ABORTING, note="as planned")
    journal.set_action(digest, 1, ActionState.ABORTED)
    journal.close()
    again = Journal(journal.path)
    again.verify_chain()
    assert again.audit_head().n > 0


def test_the_old_file_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    path = old(tmp_path / "state" / "journal.db")
    Journal(path).close()
    copy = path.with_name("journal.db.schema-1")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with sqlite3.connect(copy) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 1
        assert db.execute("SELECT count(*) FROM event").fetchone()[0] == 8
    db.close()


def test_an_upgrade_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = old(tmp_path / "state" / "journal.db")
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE pulse (id)")  # something of a newer version is in the way
    db.close()
    with pytest.raises(JournalError, match="pulse already exists"):
        Journal(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 1
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'audit'").fetchall()
    db.close()


def test_a_damaged_journal_is_refused_with_the_way_to_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.db"
    journal = Journal(path)
    for number in range(200):
        journal.record("daemon", f"event {number} " + "x" * 200)
    journal.close()
    data = bytearray(path.read_bytes())
    page = int.from_bytes(data[16:18], "big")
    for at in range(4 * page, len(data), page):  # the heads of most pages
        data[at : at + 16] = b"\xff" * 16
    path.write_bytes(data)
    with pytest.raises(JournalError, match=r"damaged|malformed") as caught:
        Journal(path)
    assert "restore" in caught.value.hint or "Move it away" in caught.value.hint
