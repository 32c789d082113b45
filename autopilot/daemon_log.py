"""Says what happens: one line to standard error, and one row in the journal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

from sidestep.autopilot.daemon_log_lines import Line, text_line
from sidestep.autopilot.journal import Journal
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.events import Kind
from sidestep.fleet.labels import scrub

#: whose doing it is when no person did it
AUTOPILOT: Final = "autopilot"


class Log:
    """The daemon's only way to say something. The journal keeps it; ``mirror`` shows what it kept.

    Whatever another part writes into the journal is shown too, in the journal's order.
    """

    def __init__(self, journal: Journal, *, stream: TextIO | None = None, line: Line = text_line) -> None:
        self._journal = journal
        self._stream, self._line = stream or sys.stderr, line
        #: hosts of the fleet, so that a line about one says which
        self.hosts: frozenset[str] = frozenset()
        self._shown: int | None = None

    def say(self, kind: Kind, text: str, *, actor: str = AUTOPILOT, plan: int = 0) -> None:
        """Record one thing that happened; ``plan`` is the number of the plan it belongs to."""
        try:
            write = self._journal.observe if kind == "host" else self._journal.record
            event = write(kind, text, actor=actor, plan=plan)
        except SidestepError as error:
            self._write(kind, time.time(), f"{scrub(text, 2000)} (not in the journal: {error})")
            return
        self._show(event.seq)

    def _show(self, seq: int) -> None:
        if self._shown is None:
            self._shown = seq - 1
        self.mirror()

    def act(
        self,
        act: str,
        text: str,
        *,
        actor: str,
        kind: Kind = "daemon",
        subject: str = "",
        reason: str = "",
        detail: str = "",
        always: bool = False,
    ) -> None:
        """Record what somebody does, in the log and in the audit log, before it is done.

        Raises SidestepError if it cannot be written: then it must not be done. ``always`` is for what
        makes things safer, and is only said then.
        """
        try:
            event = self._journal.record_act(
                kind, text, act=act, actor=actor, subject=subject, reason=reason, detail=detail
            )
        except SidestepError as error:
            if not always:
                raise
            self._write(kind, time.time(), f"{scrub(text, 2000)} (not in the journal: {error})")
            return
        self._show(event.seq)

    def mirror(self) -> None:
        """Show what was written into the journal since the last time."""
        if self._shown is None:
            return
        for event in self._journal.events(self._shown):
            known = {} if self._line is text_line else self._journal.about(event.seq)
            self._write(event.kind, event.time, event.text, {**known, "plan": event.plan, "actor": event.actor})
            self._shown = event.seq

    def told(self, kind: Kind) -> Callable[[str], None]:
        """``say`` for one kind, for parts that only know text."""
        return lambda text: self.say(kind, text)

    def _write(self, kind: str, at: float, text: str, about: Mapping[str, Any] = {}) -> None:
        first = text.partition(":")[0]
        host = {"host": first} if first in self.hosts else {}
        self._stream.write(self._line(kind, at, text, {**host, **about}) + "\n")
        self._stream.flush()
