"""The locks' part of a daemon: the socket beside its own, and what consoles ask about locks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.locks.server import LockServer, socket_beside
from sidestep.autopilot.locks.service import LockService
from sidestep.autopilot.protocol import Answer, Done
from sidestep.autopilot.protocol_locks import BreakLock, LockRequest, LockRow, LocksView
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import Label, scrub

_LONGEST_REASON: Final = 500


@dataclass(frozen=True)
class LockDesk:
    """Answers the requests of ``protocol_locks``."""

    server: LockServer

    async def answer(self, request: LockRequest, actor: Label) -> Answer:
        """One answer. Raises UsageError for a lock that nobody holds, JournalError."""
        if isinstance(request, BreakLock):
            if not request.reason.strip():
                raise UsageError("why is the lock taken from its holder?", hint="--reason TEXT, for the audit log")
            reason = scrub(request.reason, _LONGEST_REASON)
            lock = self.server.service.break_(request.name, actor=actor, reason=reason)
            return Done(scrub(f"lock {lock.name} is taken from {lock.holder}; token {lock.token} is fenced", 500))
        listed = self.server.service.listed()
        rows = tuple(
            LockRow(
                name=scrub(lock.name),
                token=lock.token,
                holder=scrub(lock.holder),
                note=scrub(lock.note),
                ttl=lock.ttl,
                left=lock.left,
                waiting=lock.waiting,
                granted=lock.granted,
            )
            for lock in listed.locks
        )
        return LocksView(socket=str(self.server.path), locks=rows, more=listed.more)


async def serve_locks(control: Path, journal: Journal, log: Log) -> LockDesk | None:
    """Serve locks beside the control socket; None, and said in the log, if that cannot be."""
    path, report = socket_beside(control), log.told("daemon")
    server = LockServer(path, LockService(journal=journal, report=log.told("error")), report=report)
    try:
        await server.start()
    except (SidestepError, OSError) as error:
        log.say("error", f"no locks are served at {path}: {error}")
        return None
    return LockDesk(server)
