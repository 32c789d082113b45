"""``locks`` and ``locks break``: which locks apps hold, without a screen."""

from __future__ import annotations

import time
from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol_locks import BreakLock, ListLocks, LocksView
from sidestep.console.headless import output
from sidestep.fleet.resources import show_seconds


def show(socket: Path, *, as_json: bool) -> None:
    """Print every lock that is held."""
    with Client.connect(socket) as client:
        view = client.call(ListLocks())
    assert isinstance(view, LocksView)
    if as_json:
        output.dump(view)
        return
    rows, now = [("LOCK", "TOKEN", "HOLDER", "SINCE", "ENDS IN", "TTL", "WAITING", "NOTE")], time.time()
    for lock in view.locks:
        since, left = show_seconds(max(0.0, now - lock.granted)), show_seconds(lock.left)
        rows.append(
            (lock.name, str(lock.token), lock.holder, since, left, show_seconds(lock.ttl), str(lock.waiting), lock.note)
        )
    if view.locks:
        output.table(rows, "lrlrrrrl")
    if view.more:
        output.say("... and more")
    output.say(f"{len(view.locks)} locks are held; apps ask at {view.socket}")


def take(socket: Path, name: str, reason: str, *, as_json: bool) -> None:
    """Take a lock from its holder."""
    with Client.connect(socket) as client:
        answer = client.call(BreakLock(name, reason))
    output.result(answer, as_json=as_json)
