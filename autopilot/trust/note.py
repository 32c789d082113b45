"""Keys that a person accepted, in the audit log: whom we believe is decided there, too.

The daemon writes it, and tries these hosts again at once. Where none runs, but one has run, this writes
it itself, under the daemon's lock. Where there was never a daemon there is no log to write into.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sidestep.autopilot import paths
from sidestep.autopilot.client import Client, DaemonMissing
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.protocol import Retry
from sidestep.autopilot.server_lock import InstanceLock
from sidestep.autopilot.server_service import actor_of
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import scrub

#: seconds that a daemon may take
PATIENCE: Final = 5.0


def note(fleet: FleetSpec, accepted: Sequence[tuple[str, str]], socket: Path | None, state: Path | None) -> bool:
    """Write down ``accepted`` (host, key); whether a daemon was told, and so tries these hosts again.

    What cannot be written down is said on standard error: the key is trusted all the same.
    """
    try:
        try:
            return _told(socket or paths.socket_path(fleet.name), accepted)
        except DaemonMissing:
            _written(state or paths.state_dir(fleet.name), accepted)
    except (SidestepError, OSError) as error:
        said = error.args[0] if isinstance(error, SidestepError) else error
        print(f"not written into the audit log: {said}", file=sys.stderr)
    return False


def _told(socket: Path, accepted: Sequence[tuple[str, str]]) -> bool:
    with Client.connect(socket, name="trust", timeout=PATIENCE) as client:
        for host, key in accepted:
            client.call(Retry(host=host, trusted=key))
    print("the running daemon was told, and tries again")
    return True


def _written(state: Path, accepted: Sequence[tuple[str, str]]) -> None:
    """Raises SidestepError, DaemonRunning (``server_lock``) among them."""
    if not (state / "journal.db").exists():
        return
    lock = InstanceLock(state / "daemon.lock")
    lock.acquire()
    try:
        journal, actor = Journal(state / "journal.db"), actor_of(os.getuid())
        try:
            for host, key in accepted:
                text = scrub(f"{host} is trusted by {key}")
                journal.record_act("daemon", text, act="trust", actor=actor, subject=scrub(host), detail=scrub(key))
            journal.flush()
        finally:
            journal.close()
    finally:
        lock.release()
