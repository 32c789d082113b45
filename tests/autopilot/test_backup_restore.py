"""Backups are whole and consistent while the daemon writes; a restore checks all of it and loses nothing."""

from __future__ import annotations

import io
import sqlite3
import stat
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from move_doubles import Bench

from sidestep.autopilot.audit import read_line
from sidestep.autopilot.audit_verify import verify
from sidestep.autopilot.backup import Manifest, backup, opened
from sidestep.autopilot.calendar_store import CalendarStore
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.restore import restore
from sidestep.autopilot.server_lock import DaemonRunning, InstanceLock
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.occasions import announced


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    made = Bench(folder)
    made.approved()
    calendar = CalendarStore(folder / "calendar.db", clock=lambda: 1000.0)
    calendar.add(announced("sale", begins=2000.0))
    calendar.close()
    (folder / "newwork.json").write_text("{}")
    (folder / "history" / "open").mkdir(parents=True)
    (folder / "history" / "open" / "x.segment").write_bytes(b"past")
    return made


def acts(folder: Path) -> list[str]:
    journal = Journal(folder / "journal.db")
    found = [read_line(line).act for line in journal.audit_lines()]
    journal.close()
    return found


def test_a_backup_of_a_journal_in_use_restores_to_the_same_state(bench: Bench, tmp_path: Path) -> None:
    file, other = tmp_path / "b.tar", tmp_path / "other"
    manifest = backup(bench.path.parent, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [m.name for m in manifest.files] == ["journal.db", "audit.log", "calendar.db", "newwork.json"]
    done = restore(file, other, actor="op", reason="the disk died", expected=manifest.digest()[:16])
    assert (done.kept, done.digest) == ("", manifest.digest())
    journal = Journal(other / "journal.db")
    assert journal.placement() == bench.journal.placement()
    assert journal.endpoints() == bench.journal.endpoints()
    assert journal.plans() == bench.journal.plans()
    entry = read_line(journal.audit_lines()[-1])
    assert (entry.act, entry.actor, entry.reason) == ("restore", "op", "the disk died")
    assert manifest.digest() in entry.detail
    journal.close()
    assert verify(other).whole
    calendar = CalendarStore(other / "calendar.db", clock=lambda: 1000.0)
    assert [e.name for _, e in calendar.list()] == ["sale"]
    for path in other.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) in (0o600, 0o700)


def test_levels_trust_shadow_and_a_hold_come_back_as_they_were(bench: Bench, tmp_path: Path) -> None:
    """A restored daemon must not be allowed more than the one that was backed up."""
    names = ("levels.json", "trust.json", "shadow.json", "hold")
    for name in names:
        (bench.path.parent / name).write_text(f'{{"this is": "{name}"}}')
    manifest = backup(bench.path.parent, tmp_path / "b.tar")
    assert set(names) <= {member.name for member in manifest.files}
    restore(tmp_path / "b.tar", tmp_path / "other", actor="op", reason="")
    assert all(name in (tmp_path / "other" / name).read_text() for name in names)


def test_the_past_is_in_it_when_that_is_asked_for(bench: Bench, tmp_path: Path) -> None:
    manifest = backup(bench.path.parent, tmp_path / "b.tar", history=True)
    assert "history/open/x.segment" in [m.name for m in manifest.files]


def test_a_backup_is_of_one_moment_while_the_journal_is_written(bench: Bench, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        journal = Journal(bench.path)
        while not stop.is_set():
            journal.act("level", actor="operator", reason="again")
        journal.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        files = [tmp_path / f"b{k}.tar" for k in range(5)]
        for file in files:
            backup(bench.path.parent, file)
    finally:
        stop.set()
        writer.join()
    for k, file in enumerate(files):
        manifest = restore(file, tmp_path / f"s{k}", actor="op", reason="").manifest
        assert verify(tmp_path / f"s{k}").whole
        assert len(acts(tmp_path / f"s{k}")) == int(manifest.audit.partition(":")[0]) + 1


def test_an_existing_file_is_never_overwritten(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    file.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        backup(bench.path.parent, file)
    assert file.read_text() == "mine"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".b.tar")], "nothing is left behind"


def test_a_restore_is_refused_while_a_daemon_runs(bench: Bench, tmp_path: Path) -> None:
    backup(bench.path.parent, tmp_path / "b.tar")
    lock = InstanceLock(bench.path.parent / "daemon.lock")
    lock.acquire()
    try:
        with pytest.raises(DaemonRunning, match="already runs"):
            restore(tmp_path / "b.tar", bench.path.parent, replace=True, actor="op", reason="")
    finally:
        lock.release()


def test_a_restore_over_a_journal_is_refused_unless_it_is_put_aside(bench: Bench, tmp_path: Path) -> None:
    folder, file = bench.path.parent, tmp_path / "b.tar"
    backup(folder, file)
    digest = bench.journal.plans()[0][1].digest
    bench.journal.set_state(digest, PlanState.CANCELLED, actor=Label("operator"))
    bench.journal.close()
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name != "daemon.lock"}
    with pytest.raises(SidestepError, match=r"holds audit\.log, calendar\.db.* already; nothing was restored"):
        restore(file, folder, actor="op", reason="")
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name != "daemon.lock"} == before
    done = restore(file, folder, replace=True, actor="op", reason="")
    old = Journal(folder / done.kept / "journal.db")
    assert old.plans()[0][1].state is PlanState.CANCELLED
    old.close()
    journal = Journal(folder / "journal.db")
    assert journal.plans()[0][1].state is PlanState.APPROVED
    journal.close()
    assert verify(folder).whole
    assert acts(folder)[-1] == "restore"
    assert not [p for p in folder.iterdir() if p.name.startswith(".restore")]


def test_a_journal_that_a_killed_daemon_left_is_kept_with_its_last_rows(bench: Bench, tmp_path: Path) -> None:
    folder, file = bench.path.parent, tmp_path / "b.tar"
    backup(folder, file)
    digest = bench.journal.plans()[0][1].digest
    bench.journal.set_state(digest, PlanState.CANCELLED, actor=Label("operator"))
    done = restore(file, folder, replace=True, actor="op", reason="")  # the write-ahead log was never merged
    old = Journal(folder / done.kept / "journal.db")
    assert old.plans()[0][1].state is PlanState.CANCELLED


def repack(file: Path, change: Callable[[str, bytes], bytes | None], extra: dict[str, bytes] | None = None) -> None:
    members = []
    with tarfile.open(file) as tar:
        for info in tar:
            source = tar.extractfile(info)
            assert source is not None
            members.append((info.name, source.read()))
    with tarfile.open(file, "w") as tar:
        for name, body in [*members, *(extra or {}).items()]:
            new = change(name, body)
            if new is not None:
                info = tarfile.TarInfo(name)
                info.size = len(new)
                tar.addfile(info, io.BytesIO(new))


def named(manifest: bytes, old: str, new: str) -> bytes:
    return manifest.replace(old.encode(), new.encode())


@pytest.mark.parametrize(
    ("change", "extra", "said"),
    [
        (lambda n, b: b[:-1] + b"!" if n == "newwork.json" else b, {}, r"newwork\.json is not what was backed up"),
        (lambda n, b: b + b"!" if n == "audit.log" else b, {}, r"audit\.log: .* bytes expected"),
        (lambda n, b: None if n == "calendar.db" else b, {}, r"calendar\.db: .* expected, newwork\.json"),
        (lambda n, b: None if n == "newwork.json" else b, {}, "the end found"),
        (lambda n, b: b, {"more": b"x"}, "more in the backup than its manifest says"),
        (lambda n, b: b if n != "manifest.json" else b + b" ", {}, "not written by sidestep"),
        (lambda n, b: None if n == "manifest.json" else b, {}, "no manifest"),
        (lambda n, b: named(b, "newwork.json", "../newwork.js"), {}, "is no file of a state folder"),
        (lambda n, b: named(b, "newwork.json", "daemon.lock"), {}, "is no file of a state folder"),
        (lambda n, b: named(b, "backup/1", "backup/9"), {}, "of format sidestep.backup/9"),
        (lambda n, b: b"{" if n == "manifest.json" else b, {}, "cannot be read"),
    ],
)
def test_a_backup_that_was_changed_is_refused_before_anything_is_touched(
    bench: Bench, tmp_path: Path, change: Callable[[str, bytes], bytes | None], extra: dict[str, bytes], said: str
) -> None:
    file, other = tmp_path / "b.tar", tmp_path / "other"
    backup(bench.path.parent, file)
    repack(file, change, extra)
    with pytest.raises(SidestepError, match=said):
        restore(file, other, actor="op", reason="")
    assert [p.name for p in other.iterdir()] == ["daemon.lock"]


def test_every_changed_byte_of_a_member_is_found(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    backup(bench.path.parent, file)
    with tarfile.open(file) as tar:
        at = next(info.offset_data for info in tar if info.name == "journal.db")
    data = bytearray(file.read_bytes())
    data[at + 5000] ^= 1
    file.write_bytes(data)
    with pytest.raises(SidestepError, match=r"journal\.db is not what was backed up"):
        restore(file, tmp_path / "other", actor="op", reason="")


def test_a_backup_of_another_digest_than_the_one_kept_is_refused(bench: Bench, tmp_path: Path) -> None:
    backup(bench.path.parent, tmp_path / "b.tar")
    for digest in ("0" * 64, "ab"):
        with pytest.raises(SidestepError, match="nothing was restored"):
            restore(tmp_path / "b.tar", tmp_path / "other", expected=digest, actor="op", reason="")


@pytest.mark.parametrize("content", [b"", b"not a tar file at all" * 100])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(UsageError, match="not a backup of ours"):
        restore(tmp_path / "b.tar", tmp_path / "other", actor="op", reason="")


def test_a_log_that_is_not_whole_is_not_restored(bench: Bench, tmp_path: Path) -> None:
    bench.journal.close()
    log = bench.path.with_name("audit.log")
    log.write_bytes(log.read_bytes().replace(b"peak at noon", b"peak at moon"))
    backup(bench.path.parent, tmp_path / "b.tar")
    with pytest.raises(SidestepError, match=r"audit log in the backup is not whole: audit\.log, entry 4"):
        restore(tmp_path / "b.tar", tmp_path / "other", actor="op", reason="")


def test_the_manifest_names_what_is_in_it(bench: Bench, tmp_path: Path) -> None:
    manifest = backup(bench.path.parent, tmp_path / "b.tar")
    with opened(tmp_path / "b.tar") as (again, _):
        assert again == manifest == msgspec.json.decode(manifest.encode(), type=Manifest)
    head = bench.journal.audit_head()
    assert (manifest.generation, manifest.audit) == (1, f"{head.n}:{head.digest}")
    with sqlite3.connect(bench.path) as db:
        assert manifest.events == db.execute("SELECT max(seq) FROM event").fetchone()[0]
    db.close()
