"""Watches the journal beside the loop: room on its disk, and audit.log, which follows it.

While the journal cannot be written nothing new begins; what runs is brought to where its shard
serves, and looking at hosts goes on. When there is room again, plans that were cut short by it
are put right, and everything goes on by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from sidestep.autopilot.daemon_log import AUTOPILOT, Log
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_store import JournalError
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label, scrub

#: seconds between two looks
PERIOD: Final = 1.0
#: seconds after which the two logs are bound to each other again, if anything was done since
ANCHOR: Final = 86400.0


class JournalWatch:
    """``run`` for as long as the daemon lives; ``put_right`` finishes or takes back what a full disk cut short."""

    def __init__(self, journal: Journal, log: Log, clock: Clock, *, put_right: Callable[[], Awaitable[object]]) -> None:
        self._journal, self._log, self._clock, self._put_right = journal, log, clock, put_right
        self._said = self._behind = ""
        self._failures = journal.room.failures
        self._anchored, self._bound = clock.monotonic(), -1

    async def run(self) -> None:
        """Look every ``PERIOD`` seconds until cancelled."""
        while True:
            try:
                await self.once()
            except SidestepError as error:
                self._log.say("error", str(error))
            await self._clock.sleep(PERIOD)

    async def once(self) -> None:
        """One look at the disk; says what changed. Raises JournalError."""
        journal, before = self._journal, self._journal.trouble
        writable = journal.recheck()
        why = before or journal.trouble or ("writes failed" if journal.room.failures > self._failures else "")
        if why and not self._said:
            self._said = why
            self._log.say("error", f"nothing new begins: {why}")
        if not writable:
            return
        if self._said:
            text = "the journal can be written again; what begins may begin"
            self._log.act("journal-back", text, actor=AUTOPILOT, detail=self._said, always=True)
            self._said, self._failures = "", journal.room.failures
            await self._put_right()
        journal.sync()
        self._follow()

    def _follow(self) -> None:
        """Bring audit.log up to the journal, and bind the two once a day."""
        self._journal.flush()
        behind = self._journal.audit_trouble
        if behind and not self._behind:
            self._log.say("error", f"audit.log is behind the journal, which has everything: {behind}")
        self._behind = behind
        if self._clock.monotonic() - self._anchored >= ANCHOR:
            self.anchor()

    def anchor(self) -> None:
        """Bind the two logs to each other if there is anything new. Raises JournalError."""
        self._anchored = self._clock.monotonic()
        if self._journal.audit_head().n != self._bound:
            self._journal.anchor()
            self._bound = self._journal.audit_head().n

    def end(self) -> None:
        """The daemon ends in order: say so in the audit log. A full disk keeps no daemon from ending."""
        try:
            self._log.act("daemon-end", "ending; shards keep running", actor=AUTOPILOT)
            self.anchor()
        except JournalError as error:
            self._log.say("error", str(error))


def alerts(journal: Journal) -> tuple[Label, ...]:
    """What every screen has to say of the journal: a word, a colon, and why."""
    found = []
    if journal.trouble:
        found.append(scrub(f"nothing new begins: {journal.trouble}"))
    if journal.audit_trouble:
        found.append(scrub(f"audit.log is behind: {journal.audit_trouble}"))
    return tuple(found)
