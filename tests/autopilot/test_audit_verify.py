"""``audit verify``: file and journal are each other's witness, and a head from elsewhere is theirs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from move_doubles import Bench

from sidestep.autopilot.audit import Entry, Head, digest_in, read_line, split
from sidestep.autopilot.audit_verify import head_from, verify
from sidestep.autopilot.journal_log import _about, _chained, _event, verify_events
from sidestep.fleet.errors import UsageError

UNGUARDED = ("audit_is_never_changed", "audit_is_never_removed", "event_is_never_changed", "event_is_never_removed")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    bench = Bench(tmp_path)
    bench.approved()
    bench.journal.act("level", actor="operator", subject="fleet", reason="night", detail="advise to off")
    bench.journal.close()
    return tmp_path


def lines(state: Path) -> list[bytes]:
    return split((state / "audit.log").read_bytes())


def rewrite(state: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    (state / "audit.log").write_bytes(b"".join(change(lines(state))))


def sql(state: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(state / "journal.db") as db:
        for trigger in UNGUARDED:
            db.execute(f"DROP TRIGGER {trigger}")
        db.execute(statement, values)
    db.close()


def test_an_untouched_log_is_whole(state: Path) -> None:
    verdict = verify(state)
    assert verdict.whole
    assert verdict.faults == verdict.notes == ()
    assert (verdict.entries, verdict.digest) == (len(lines(state)), digest_in(lines(state)[-1]))


def test_every_changed_byte_is_located_with_what_the_journal_has(state: Path) -> None:
    """Issue 6, show 4: flipping any byte of the log is detected and located (entry, byte, what differs)."""
    whole = (state / "audit.log").read_bytes()
    starts = [0]
    for line in lines(state):
        starts.append(starts[-1] + len(line))
    for at in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[at] ^= 0x01
        (state / "audit.log").write_bytes(bytes(changed))
        verdict = verify(state)
        n = next(k for k, start in enumerate(starts[1:], 1) if at < start)
        assert not verdict.whole
        first = verdict.faults[0]
        assert (first.where, first.n, first.offset) == ("audit.log", n, starts[n - 1]), at


def test_the_field_that_was_changed_is_named(state: Path) -> None:
    rewrite(state, lambda all_: [line.replace(b"night", b"nigth") for line in all_])
    (first,) = verify(state).faults
    assert "reason: here 'nigth', journal 'night'" in first.what


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_log_that_was_cut_off_is_found_by_the_journals_head(state: Path, left: int) -> None:
    count = len(lines(state))
    rewrite(state, lambda all_: all_[:left])
    (first,) = verify(state).faults
    assert (first.where, first.n) == ("audit.log", left + 1)
    assert f"up to entry {count}" in first.what


def test_entries_that_the_journal_has_not_are_found(state: Path) -> None:
    end = lines(state)[-1]
    was = read_line(end)
    fields = {name: getattr(was, name) for name in Entry.__struct_fields__}
    forged = Entry(**{**fields, "n": was.n + 1, "before": digest_in(end)}).line()
    rewrite(state, lambda all_: [*all_, forged])
    (first,) = verify(state).faults
    assert (first.n, str(first.what)) == (was.n + 1, "is not in the journal")


def forged(all_: list[bytes]) -> list[bytes]:
    """The whole log written anew by somebody who can compute digests: entry 3 says another thing."""
    made, before = [], ""
    for line in all_:
        was = read_line(line)
        fields = {name: getattr(was, name) for name in Entry.__struct_fields__}
        actor = "somebody" if was.n == 3 else was.actor
        made.append(Entry(**{**fields, "before": before, "actor": actor}).line())
        before = digest_in(made[-1])
    return made


def test_a_log_that_was_written_anew_does_not_fit_the_journal(state: Path) -> None:
    rewrite(state, forged)
    first = verify(state).faults[0]
    assert first.n == 3
    assert "actor: here 'somebody', journal 'planner'" in first.what


def test_a_log_and_journal_that_were_both_written_anew_do_not_fit_a_head_from_elsewhere(state: Path) -> None:
    kept = head_from(f"4:{digest_in(lines(state)[3])}")
    made = forged(lines(state))
    rewrite(state, lambda _: made)
    with sqlite3.connect(state / "journal.db") as db:
        for trigger in UNGUARDED:
            db.execute(f"DROP TRIGGER {trigger}")
        for n, line in enumerate(made, 1):
            db.execute("UPDATE audit SET line = ? WHERE n = ?", (line, n))
        db.execute("UPDATE audit_head SET digest = ?", (digest_in(made[-1]),))
    db.close()
    assert verify(state).whole, "nothing on this machine contradicts it"
    (place,) = verify(state, [kept]).faults
    assert (place.n, "anchor" in place.what) == (4, True)
    assert verify(state, [Head(4, digest_in(made[3])[:16])]).whole


@pytest.mark.parametrize(
    ("statement", "where", "n"),
    [
        ("UPDATE audit SET line = replace(CAST(line AS TEXT), 'night', 'light') WHERE n = 5", "journal.db audit", 5),
        ("DELETE FROM audit WHERE n = 2", "journal.db audit", 2),
        ("UPDATE audit_head SET n = n + 1", "journal.db audit", 6),
        ("UPDATE event SET text = 'another' WHERE seq = 2", "journal.db", 2),
        ("DELETE FROM event", "journal.db", 1),
    ],
)
def test_what_was_changed_in_the_journal_is_found_too(state: Path, statement: str, where: str, n: int) -> None:
    assert len(lines(state)) == 5
    sql(state, statement)
    verdict = verify(state)
    assert not verdict.whole
    assert (where, n) in [(place.where, place.n) for place in verdict.faults]


def test_the_audit_log_vouches_for_the_journals_rows(state: Path) -> None:
    """Rows that somebody chained anew from the first on do not fit the anchors in the audit log."""
    with sqlite3.connect(state / "journal.db") as db:
        db.row_factory = sqlite3.Row
        db.execute("DROP TRIGGER event_is_never_changed")
        db.execute("UPDATE event SET text = 'nothing was adopted' WHERE seq = 1")
        before = ""
        for row in db.execute("SELECT * FROM event LEFT JOIN event_about USING (seq) ORDER BY seq").fetchall():
            before = _chained(before, _event(row), _about(row))
            db.execute("UPDATE event SET hash = ? WHERE seq = ?", (before, row["seq"]))
        db.execute("UPDATE chain SET hash = ?", (before,))
        verify_events(db, state)
    db.close()
    (place,) = verify(state).faults
    assert (place.where, str(place.what)) == ("journal.db", "is not the row that the audit log names")


def test_an_entry_that_a_killed_daemon_left_out_of_the_file_is_a_note(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.journal.act("level", actor="operator", later=True)
    bench.journal._db.close()
    verdict = verify(tmp_path)
    assert verdict.whole
    assert "not in audit.log yet" in verdict.notes[0]


def test_a_writing_daemon_is_no_fault(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.journal.act("level", actor="operator", later=True)
    assert verify(tmp_path).whole
    bench.journal.flush()
    assert verify(tmp_path).notes == ()


@pytest.mark.parametrize("text", ["", "7", "7:", "7:abc", "x:0123456789ab", "7:0123456789zz", "-1:0123456789ab"])
def test_an_anchor_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an anchor"):
        head_from(text)
