"""A backup put in the place of a state folder's files: only while no daemon runs, and never over anything.

What was there is kept in a folder ``replaced-...`` beside it. The journal changes places last
and at once, so that a restore that is cut short leaves the old one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from sidestep.autopilot.audit_verify import verify
from sidestep.autopilot.backup import JOURNAL, BackupError, Manifest, opened, unpack
from sidestep.autopilot.journal_locks import skip_tokens
from sidestep.autopilot.journal_schema import check, upgrade
from sidestep.autopilot.server_lock import InstanceLock, private_folder
from sidestep.fleet.errors import SidestepError

_COMPANIONS = ("-wal", "-shm")


class Restored(Struct, frozen=True, kw_only=True):
    """What a restore did. ``kept`` is where the files are that were there before, "" if there were none."""

    manifest: Manifest
    digest: str
    kept: str


def restore(file: Path, state: Path, *, replace: bool = False, expected: str = "", actor: str, reason: str) -> Restored:
    """Check a backup from end to end, then put its files in place, and say so in the audit log.

    Raises DaemonRunning, UsageError and BackupError; the state folder is as before then.
    """
    from sidestep.autopilot.journal import Journal  # noqa: PLC0415 - more than the other commands need

    private_folder(state)
    lock = InstanceLock(state / "daemon.lock")
    lock.acquire()
    try:
        staged = Path(tempfile.mkdtemp(prefix=".restore-", dir=state))
        try:
            with opened(file, expected) as (manifest, tar):
                unpack(manifest, tar, staged)
            _examine(staged)
            kept = _exchange(manifest, staged, state, replace=replace)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        journal = Journal(state / JOURNAL)
        try:
            before = f"; what was there is kept in {kept}" if kept else ""
            detail = f"backup {manifest.digest()}, audit log {manifest.audit}{before}"
            journal.act("restore", actor=actor, subject=state.name, reason=reason, detail=detail)
            journal.record("daemon", f"restored from a backup: {detail}", actor=actor)
        finally:
            journal.close()
    finally:
        lock.release()
    return Restored(manifest=manifest, digest=manifest.digest(), kept=kept)


def _examine(staged: Path) -> None:
    """What is restored is a journal that opens, with an audit log that is whole. Raises BackupError."""
    path = staged / JOURNAL
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            upgrade(db, path, check(db, path))
            skip_tokens(db, time.time())
    except (sqlite3.Error, SidestepError) as error:
        raise BackupError(f"the journal in the backup cannot be used: {error}") from error
    verdict = verify(staged)
    if not verdict.whole:
        first = verdict.faults[0]
        raise BackupError(
            f"the audit log in the backup is not whole: {first.where}, entry {first.n} {first.what}",
            hint="take an older backup, whose log is whole",
        )


def _exchange(manifest: Manifest, staged: Path, state: Path, *, replace: bool) -> str:
    """Put the files in place; where the old ones are kept. Raises BackupError if there are any and they may not go."""
    names = sorted((member.name for member in manifest.files), key=lambda name: name == JOURNAL)
    there = [name for name in names if (state / name).exists() or (state / name).is_symlink()]
    if there and not replace:
        raise BackupError(
            f"{state} holds {', '.join(there[:5])}{' ...' if len(there) > 5 else ''} already; nothing was restored",
            hint="add --replace to put these files aside, or name another state folder with --state DIR",
        )
    _settle(state)
    kept = state / time.strftime("replaced-%Y%m%dT%H%M%SZ", time.gmtime())
    for name in there:
        (kept / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.link(state / name, kept / name, follow_symlinks=False)
    for name in names:
        (state / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for companion in _COMPANIONS:  # of an older database, whose pages they hold
            if (left := state / f"{name}{companion}").exists():
                (kept / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                left.rename(kept / f"{name}{companion}")
        (staged / name).replace(state / name)
    handle = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return kept.name if there else ""


def _settle(state: Path) -> None:
    """Bring the present journal's write-ahead log into it, as far as it still can be read."""
    if (path := state / JOURNAL).is_file():
        try:
            with closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            pass  # a damaged journal is why one restores; its companions are kept beside it
