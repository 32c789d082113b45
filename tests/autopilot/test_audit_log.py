"""The audit log: whoever changes any byte of it is found out, and where."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from move_doubles import Bench

from sidestep.autopilot.audit import Entry, Head, differences, digest_in, entry, faults_of, read_line, split
from sidestep.autopilot.journal import Journal
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState

WORDS = st.text(max_size=12)


def log_of(words: list[tuple[str, str]]) -> list[bytes]:
    lines, head = [], Head()
    for at, (actor, reason) in enumerate(words):
        new = entry(head, time=float(at), act="approve", actor=actor, subject=f"plan {at}", reason=reason)
        lines.append(new.line())
        head = Head(new.n, digest_in(lines[-1]))
    return lines


LOGS = st.lists(st.tuples(WORDS, WORDS), min_size=2, max_size=6).map(log_of)


def place_of(lines: list[bytes], offset: int) -> int:
    """The entry that a byte of the log belongs to."""
    for n, line in enumerate(lines, 1):
        if offset < len(line):
            return n
        offset -= len(line)
    raise AssertionError


@given(LOGS)
def test_a_whole_log_has_no_fault(lines: list[bytes]) -> None:
    faults, head = faults_of(split(b"".join(lines)))
    assert not faults
    assert head == Head(len(lines), digest_in(lines[-1]))
    assert [read_line(line).n for line in lines] == list(range(1, len(lines) + 1))


@settings(deadline=None)
@given(LOGS, st.data())
def test_a_changed_byte_is_found_at_its_entry(lines: list[bytes], data: st.DataObject) -> None:
    log = bytearray(b"".join(lines))
    at = data.draw(st.integers(0, len(log) - 1))
    log[at] ^= data.draw(st.integers(1, 255))
    faults, _ = faults_of(split(bytes(log)))
    assert faults[0].n == place_of(lines, at)
    assert faults[0].offset == sum(map(len, lines[: faults[0].n - 1]))


def test_each_bit_of_a_log_counts() -> None:
    """Issue 6, show 4: flipping any byte of the log is detected and located."""
    lines = log_of([("op", "peak at noon"), ("op", "no"), ("käthe", "ja")])
    log = b"".join(lines)
    for at in range(len(log)):
        for bit in range(8):
            changed = bytearray(log)
            changed[at] ^= 1 << bit
            faults, _ = faults_of(split(bytes(changed)))
            assert faults, (at, bit)
            assert faults[0].n == place_of(lines, at), (at, bit)


@given(LOGS, st.data())
def test_a_removed_entry_is_found_at_its_place(lines: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines) - 2))
    faults, _ = faults_of([*lines[:at], *lines[at + 1 :]])
    assert [fault.n for fault in faults] == [at + 1]
    assert "missing" in faults[0].what


@given(LOGS, st.data())
def test_entries_in_each_others_place_are_found_at_the_first(lines: list[bytes], data: st.DataObject) -> None:
    one = data.draw(st.integers(0, len(lines) - 2))
    other = data.draw(st.integers(one + 1, len(lines) - 1))
    changed = list(lines)
    changed[one], changed[other] = changed[other], changed[one]
    assert faults_of(changed)[0][0].n == one + 1


@given(LOGS, st.data())
def test_an_added_entry_is_found_at_its_place(lines: list[bytes], data: st.DataObject) -> None:
    """An old line again, or a new one that is well made and follows the one before it."""
    at = data.draw(st.integers(1, len(lines) - 1))
    forged = entry(Head(at, digest_in(lines[at - 1])), time=9.0, act="approve", actor="somebody").line()
    assume(forged != lines[at])
    faults, _ = faults_of([*lines[:at], forged, *lines[at:]])
    assert faults[0].n == at + 2, "the forged one follows; the true one that comes after it does not"
    old = data.draw(st.sampled_from(lines[:at]))
    assert faults_of([*lines[:at], old, *lines[at:]])[0][0].n == at + 1


@given(LOGS, st.data())
def test_a_cut_is_found_by_its_half_line_or_by_the_end(lines: list[bytes], data: st.DataObject) -> None:
    log = b"".join(lines)
    at = data.draw(st.integers(0, len(log) - 1))
    faults, head = faults_of(split(log[:at]))
    assert head != Head(len(lines), digest_in(lines[-1])), "an anchor from elsewhere shows it"
    n = place_of(lines, at)
    whole = at == sum(map(len, lines[: n - 1]))
    assert [fault.n for fault in faults] == ([] if whole else [n])


@given(LOGS, st.data())
def test_a_rewritten_entry_with_a_good_digest_does_not_fit_the_next(lines: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines) - 2))
    was = read_line(lines[at])
    forged = Entry(**{**{f: getattr(was, f) for f in Entry.__struct_fields__}, "act": "reject"}).line()
    faults, _ = faults_of([*lines[:at], forged, *lines[at + 1 :]])
    assert [fault.n for fault in faults] == [at + 2]
    assert differences(forged, lines[at], ("file", "journal")) == "act: file 'reject', journal 'approve'"


# -- in the journal


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def acts(journal: Journal) -> list[tuple[str, str]]:
    return [(e.act, str(e.actor)) for e in map(read_line, journal.audit_lines()) if e.act != "anchor"]


def test_decisions_and_what_follows_are_entries_with_who_why_and_of_what(bench: Bench) -> None:
    digest = bench.approved()
    assert acts(bench.journal) == [("adopt", "operator"), ("propose", "planner"), ("approve", "operator")]
    approved = read_line(bench.journal.audit_lines()[-1])
    assert (approved.plan, approved.reason, approved.subject) == (digest, "peak at noon", "plan 1")
    other = bench.journal.add(bench.plan(author="op2")).digest
    bench.journal.set_state(other, PlanState.REJECTED, actor=Label("op3"), reason="not now")
    assert acts(bench.journal)[-2:] == [("propose", "op2"), ("reject", "op3")]


async def test_a_run_is_in_it_with_its_commit(bench: Bench) -> None:
    await bench.ready()
    await bench.executor().run(bench.approved())
    assert [act for act, _ in acts(bench.journal)[3:]] == ["run", "begin", "commit", "done", "succeeded"]
    bench.journal.close()
    assert faults_of(split(bench.path.with_name("audit.log").read_bytes()))[0] == []


def test_an_act_that_is_rolled_back_leaves_no_entry(bench: Bench) -> None:
    before = bench.journal.audit_head()
    with pytest.raises(RuntimeError), bench.journal._transaction():
        bench.journal.act("level", actor="operator")
        raise RuntimeError
    assert bench.journal.audit_head() == before
    bench.journal.act("level", actor="operator")
    assert bench.journal.audit_head().n == before.n + 1


def test_the_file_has_the_journals_lines(bench: Bench) -> None:
    bench.approved()
    file = bench.path.with_name("audit.log")
    assert split(file.read_bytes()) == bench.journal.audit_lines()
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_two_logs_name_each_other(bench: Bench) -> None:
    bench.approved()
    head = bench.journal.audit_head()
    bench.journal.anchor()
    anchor = read_line(bench.journal.audit_lines()[-1])
    event = bench.journal.events()[-1]
    assert event.text == f"audit log: entry {head.n} is {head.digest}"
    assert f"journal row {event.seq} is " in anchor.detail


def test_entries_are_append_only_through_the_database(bench: Bench) -> None:
    for statement in ("UPDATE audit SET line = x'00'", "DELETE FROM audit"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            bench.journal._db.execute(statement)


def crashed(bench: Bench) -> Path:
    """The daemon died after its last act was in the journal, and before it was in the file."""
    file = bench.path.with_name("audit.log")
    before = file.read_bytes()
    bench.journal.act("level", actor="operator", later=True)
    bench.journal._db.close()
    assert file.read_bytes() == before
    return file


@pytest.mark.parametrize("written", [0, 1, 70, -1])
def test_what_a_killed_daemon_left_out_of_the_file_is_appended(bench: Bench, written: int) -> None:
    file = crashed(bench)
    with sqlite3.connect(bench.path) as db:
        (line,) = db.execute("SELECT line FROM audit ORDER BY n DESC LIMIT 1").fetchone()
    db.close()
    with file.open("ab") as out:
        out.write(line if written < 0 else line[:written])
    journal = Journal(bench.path)
    assert split(file.read_bytes()) == journal.audit_lines()
    assert not list(file.parent.glob("audit.log.damaged*"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda log: log[: log[:-1].rindex(b"\n") + 1], "entry 4 is missing, with all up to 4"),
        (lambda log: log[:-20], "entry 4 is missing"),
        (lambda log: b"", "entry 1 is missing, with all up to 4"),
        (lambda log: log + b"something else\n", "the last line is no entry"),
        (lambda log: log + b"half", "byte 0"),
    ],
)
def test_a_file_that_does_not_fit_is_kept_and_written_anew(bench: Bench, change, said: str) -> None:  # type: ignore[no-untyped-def]
    bench.approved()
    bench.journal.close()
    file = bench.path.with_name("audit.log")
    damaged = change(file.read_bytes())
    file.write_bytes(damaged)
    journal = Journal(bench.path)
    (kept,) = file.parent.glob("audit.log.damaged*")
    assert kept.read_bytes() == damaged
    assert split(file.read_bytes()) == journal.audit_lines()
    renewed = read_line(journal.audit_lines()[-1])
    assert renewed.act == "audit-renewed"
    assert said in renewed.detail
    assert faults_of(split(file.read_bytes()))[0] == []
