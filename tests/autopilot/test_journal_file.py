"""The journal's file: private, ours, of our version, and durable."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_log import BrokenLog
from sidestep.autopilot.journal_store import SCHEMA, JournalError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


def filled(path: Path) -> Journal:
    journal = Journal(path)
    for number in range(5):
        journal.record("daemon", f"event {number}", actor="operator")
    return journal


def tamper(path: Path, *statements: str) -> None:
    """What somebody with the file and SQLite can do."""
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER event_is_never_changed")
        db.execute("DROP TRIGGER event_is_never_removed")
        for statement in statements:
            db.execute(statement)
    db.close()


def test_the_file_and_its_companions_are_private(path: Path) -> None:
    filled(path)
    names = {p.name for p in path.parent.iterdir()}
    assert names == {"journal.db", "journal.db-wal", "journal.db-shm"}
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_every_transaction_is_synced(path: Path) -> None:
    journal = Journal(path)
    assert journal._pragma("synchronous") == 2
    assert journal._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_what_was_only_seen_is_written_at_once_and_synced_with_the_next_act(path: Path) -> None:
    journal = Journal(path)
    for number in range(50):
        journal.observe("host", f"h{number}: connection lost")
    assert journal._pragma("synchronous") == 2
    assert len(Journal(path).events()) == 50, "every other process sees it"
    with journal._transaction():
        journal.observe("host", "h1: back again")
    assert journal._pragma("synchronous") == 2
    journal.verify_chain()


def test_what_was_only_seen_is_synced_once_a_second_whether_or_not_anybody_acts(path: Path) -> None:
    journal = Journal(path)
    assert not journal.sync(), "nothing was seen"
    journal.observe("host", "h1: DEAD")
    journal.observe("host", "h2: DEAD")
    assert journal.sync() and not journal.sync(), "one sync for both"
    journal.verify_chain()
    journal.close()


def test_a_text_file_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("notes, not a database\n" * 100)
    with pytest.raises(JournalError, match=r"journal\.db: cannot be used as a journal.*\n.*Move it away"):
        Journal(path)
    assert path.read_text().startswith("notes")


def test_the_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name)")
    db.close()
    with pytest.raises(JournalError, match="another program"):
        Journal(path)


def test_a_newer_schema_is_refused_with_both_versions(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JournalError, match=rf"newer sidestep \(schema 99, this one knows {SCHEMA}\)"):
        Journal(path)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(JournalError, match="cannot be opened for writing"):
        Journal(path)


def test_a_symbolic_link_in_its_place_is_refused(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.symlink_to(path.parent / "elsewhere")
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(path)


def test_what_was_recorded_is_there_after_the_process_is_gone(path: Path) -> None:
    journal = filled(path)
    other = Journal(path)  # the first one was never closed
    assert [e.text for e in other.events()] == [f"event {n}" for n in range(5)]
    assert other.events(since=3, limit=1)[0].text == "event 3"
    assert [event.text for event in other.events(since=-2)] == [event.text for event in other.events()][-2:]
    assert other.events(since=-(10**6)) == other.events()
    other.close()
    journal.close()


def test_event_texts_are_harmless_on_a_terminal(path: Path) -> None:
    event = Journal(path).record("error", "host said \x1b[2J\u202e", actor="op\x07")
    assert (event.text, event.actor) == ("host said <1b>[2J<202e>", "op<07>")


def test_the_log_cannot_be_changed_through_the_database(path: Path) -> None:
    journal = filled(path)
    for statement in ("UPDATE event SET text = 'other'", "DELETE FROM event"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            journal._db.execute(statement)


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE event SET text = 'nothing happened' WHERE seq = 3", 3),
        ("UPDATE event SET actor = 'somebody' WHERE seq = 1", 1),
        ("UPDATE event SET time = time + 1 WHERE seq = 5", 5),
        ("UPDATE event SET kind = 'gossip' WHERE seq = 2", 2),
        ("UPDATE event SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE seq = 4", 4),
        ("DELETE FROM event WHERE seq = 2", 2),
        ("DELETE FROM event WHERE seq >= 4", 4),
        ("DELETE FROM event", 1),
        ("INSERT INTO event VALUES (6, 0, 'daemon', 'forged', '', 0, 'x')", 6),
    ],
)
def test_tampering_is_found_at_its_first_row(path: Path, statement: str, seq: int) -> None:
    """S3.18: the log is chained; a changed, removed, cut off or added row is named."""
    journal = filled(path)
    journal.verify_chain()
    journal.close()
    tamper(path, statement)
    with pytest.raises(BrokenLog, match=f"log row {seq}: ") as caught:
        Journal(path).verify_chain()
    assert caught.value.seq == seq


def test_the_chain_goes_on_over_a_restart(path: Path) -> None:
    filled(path).close()
    journal = Journal(path)
    journal.record("daemon", "started again")
    journal.verify_chain()
