"""Acts in the journal: written to the audit log in the transaction that does them, or in one before it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidestep.autopilot.audit import Entry, Head, differences, entry
from sidestep.autopilot.audit_file import NAME, AuditFile
from sidestep.autopilot.journal_log import EventLog
from sidestep.autopilot.journal_store import JournalError
from sidestep.fleet.events import Event, Kind

#: entries after which the two logs are bound to each other again
ANCHOR_EVERY: Final = 256


class AuditLedger(EventLog):
    """Who did what and why. The journal has every entry at once; ``audit.log`` follows, see ``flush``."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._file = AuditFile(path.with_name(NAME))
        #: entries that are durable in the journal and perhaps not in the file
        self._unfiled = False
        self._later = False
        super().__init__(path, clock=clock)
        try:
            self._catch_up()
        except JournalError:
            self._db.close()
            raise

    def act(
        self, act: str, *, actor: str, subject: str = "", plan: str = "", reason: str = "", detail: str = "",
        later: bool = False,
    ) -> Entry:  # fmt: skip
        """Write one act, in the caller's transaction if there is one. Raises JournalError.

        ``plan`` is a digest. ``later`` leaves the file to the next ``flush``: for acts that users wait for.
        """
        with self._transaction():
            head = self.audit_head()
            new = entry(
                head,
                time=self._clock(),
                act=act,
                actor=actor,
                subject=subject,
                plan=plan,
                reason=reason,
                detail=detail,
            )
            self._keep(new)
            if new.n % ANCHOR_EVERY == 1:
                self._anchor()
            self._unfiled, self._later = True, later
        return new

    def record_act(
        self, kind: Kind, text: str, *, act: str, actor: str, subject: str = "", reason: str = "", detail: str = ""
    ) -> Event:
        """One thing that somebody did, in both logs or in none. Raises JournalError."""
        with self._transaction():
            self.act(act, actor=actor, subject=subject, reason=reason, detail=detail or text)
            return self.record(kind, text, actor=actor)

    def anchor(self) -> Head:
        """Bind the two logs to each other: each gets a row with the other's end. Raises JournalError."""
        with self._transaction():
            self._anchor()
            self._unfiled = True
            return self.audit_head()

    def audit_head(self) -> Head:
        """The end of the audit log."""
        row = self._rows("SELECT n, digest FROM audit_head")[0]
        return Head(row["n"], row["digest"])

    def audit_lines(self, after: int = 0, limit: int = -1) -> list[bytes]:
        """The journal's lines of the audit log, those after entry ``after``."""
        return [
            row["line"] for row in self._rows("SELECT line FROM audit WHERE n > ? ORDER BY n LIMIT ?", after, limit)
        ]

    @property
    def audit_trouble(self) -> str:
        """Why audit.log is behind the journal, or ""."""
        return self._file.trouble

    def flush(self) -> bool:
        """Bring audit.log up to the journal; False if that cannot be now (the journal has it all)."""
        if not self._unfiled and not self._file.trouble:
            return True
        filed = self._rows("SELECT filed FROM audit_head")[0]["filed"]
        head = self.audit_head()
        if head.n > filed and not self._file.append(self.audit_lines(filed)):
            return False
        self._unfiled = False
        return self._note_filed(head.n)

    def close(self) -> None:
        """Bring audit.log up to the journal, and close; closing twice is harmless."""
        with contextlib.suppress(JournalError):  # closed already, or behind: whoever opens it next catches up
            self.flush()
        super().close()

    def _committed(self) -> None:
        super()._committed()
        if self._unfiled and not self._later:
            with contextlib.suppress(JournalError):  # what was committed stays so; the file is behind for now
                self.flush()

    def _keep(self, new: Entry) -> None:
        line = new.line()
        self._db.execute("INSERT INTO audit (n, line) VALUES (?, ?)", (new.n, line))
        self._db.execute("UPDATE audit_head SET n = ?, digest = ?", (new.n, line[:64].decode()))

    def _anchor(self) -> None:
        """Part of the caller's transaction."""
        head = self.audit_head()
        event = self.record("daemon", f"audit log: entry {head.n} is {head.digest or 'none'}")
        row = self._rows("SELECT hash FROM event WHERE seq = ?", event.seq)[0]
        detail = f"journal row {event.seq} is {row['hash']}"
        self._keep(entry(head, time=self._clock(), act="anchor", actor="daemon", detail=detail))

    def _note_filed(self, n: int) -> bool:
        self._later = True  # the file has all: nothing to write after this transaction
        try:
            with self._transaction() as db:
                db.execute("UPDATE audit_head SET filed = ?", (n,))
        except JournalError:
            return False
        finally:
            self._later = False
        return True

    def _catch_up(self) -> None:
        """At the start: what a killed predecessor left out is appended; a file that does not fit is set aside."""
        if wrong := self._misfit():
            kept = self._set_aside()
            self.record("error", f"{self._file.path}: {wrong}; it is kept as {kept}, and written anew from the journal")
            self.act("audit-renewed", actor="daemon", subject=kept, detail=wrong)
        self._unfiled = True
        self.flush()

    def _set_aside(self) -> str:
        try:
            kept = self._file.set_aside(self._clock)
        except FileNotFoundError:
            kept = self._file.path  # it is gone altogether
        except OSError as error:
            raise JournalError(f"{self._file.path}: does not fit the journal and cannot be moved: {error}") from error
        self._note_filed(0)
        return kept.name

    def _misfit(self) -> str:
        """Why the file is not the journal's log, or nothing; a line that was not written whole is cut off."""
        row = self._rows("SELECT n, filed FROM audit_head")[0]
        try:
            end, rest = self._file.end()
            if end.n < row["filed"]:
                return f"entry {end.n + 1} is missing, with all up to {row['filed']}"
            if end.n > row["n"]:
                return f"entry {end.n} is not in the journal"
            if end.n:
                line = self.audit_lines(end.n - 1, 1)[0]
                if line[:64].decode() != end.digest:
                    return f"entry {end.n} is another one in the journal"
            if rest:
                coming = b"".join(self.audit_lines(end.n, 1))
                if not coming.startswith(rest):
                    return f"entry {end.n + 1}: {differences(rest, coming, ('file', 'journal'))}"
                self._file.cut(len(rest))
        except ValueError as error:
            return str(error)
        except OSError as error:
            raise JournalError(f"{self._file.path}: {error}", hint="put its permissions right") from error
        if end.n != row["filed"]:
            self._note_filed(end.n)
        return ""
