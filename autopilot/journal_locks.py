"""The locks of apps in the journal: those that are held, and the highest token that was ever given."""

from __future__ import annotations

import sqlite3
from typing import Final

from sidestep.autopilot.journal_audit import AuditLedger
from sidestep.autopilot.locks.table import Changes, Grant
from sidestep.fleet.labels import scrub
from sidestep.locks.wire import HeldLock

#: tokens that a restored journal skips at least
_SKIPPED: Final = 1 << 32
_FIELDS: Final = ("name", "token", "claim", "holder", "note", "ttl", "granted")


class LockLedger(AuditLedger):
    """Written by the lock service only."""

    #: rows that were changed for locks: they say nothing about who owns which shard
    lock_changes = 0

    def keep_locks(self, changes: Changes) -> None:
        """All of it, durable when this returns, or nothing; raises JournalError. The token never falls."""
        before = self._db.total_changes
        try:
            with self._transaction() as db:
                db.executemany("DELETE FROM lock WHERE name = ?", [(name,) for name in changes.gone])
                db.executemany(
                    "INSERT OR REPLACE INTO lock VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(g.name, g.token, g.claim, g.holder, g.note, g.ttl, g.granted) for g in changes.grants],
                )
                db.execute("UPDATE lock_token SET highest = max(highest, ?)", (changes.token,))
        finally:
            self.lock_changes += self._db.total_changes - before

    def break_lock(self, lock: HeldLock, *, actor: str, reason: str) -> None:
        """Nobody holds that lock any more; together with the entries that say who did it. Raises JournalError."""
        said = scrub(f"lock {lock.name} is taken from {lock.holder}, token {lock.token}", 500)
        with self._transaction():
            self.record_act("daemon", said, act="lock-break", actor=actor, subject=lock.name, reason=reason)
            self.keep_locks(Changes((), (lock.name,), lock.token))

    def locks(self) -> tuple[int, tuple[Grant, ...]]:
        """The highest token, and what is held."""
        rows = self._rows("SELECT * FROM lock ORDER BY name")
        grants = tuple(Grant(**{key: row[key] for key in _FIELDS}) for row in rows)
        return int(self._rows("SELECT highest FROM lock_token")[0][0]), grants


def skip_tokens(db: sqlite3.Connection, now: float) -> None:
    """In a journal that is restored: go on above every token that may have been given since it was copied.

    Microseconds since 1970 are far above what is given at any possible rate, also if one backup is
    restored twice; a clock that stands wrong leaves a skip that no period between backups fills.
    """
    db.execute("UPDATE lock_token SET highest = max(highest + ?, ?)", (_SKIPPED, int(now * 1e6)))
