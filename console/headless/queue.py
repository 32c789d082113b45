"""``queue``: who waits for a host, and why, without a screen."""

from __future__ import annotations

from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol_queue import ListQueue, QueueRow, QueueView
from sidestep.console.headless import output
from sidestep.fleet.resources import show_seconds, show_size


def show(socket: Path, *, shard: str, as_json: bool) -> int:
    """Print the queue, who comes next first, or one shard of it with every host; the exit code."""
    with Client.connect(socket) as client:
        view = client.call(ListQueue())
    assert isinstance(view, QueueView)
    found = [row for row in view.rows if not shard or row.shard == shard]
    if as_json:
        output.dump(QueueView(rows=tuple(found)))
    elif not found:
        output.say(f"{shard} does not wait" if shard else "nobody waits")
    else:
        _table(found)
        for row in found:
            _hosts(row)
    return 1 if shard and not found else 0


def _table(found: list[QueueRow]) -> None:
    rows = [("NEXT", "SHARD", "APP", "PRIORITY", "WAITED", "STATE", "REASON")]
    for number, row in enumerate(found, 1):
        state = f"{show_size(row.bytes)} on {row.host}" if row.host else "never ran"
        waited = show_seconds(round(row.waited))
        reason = f"{row.reason.code}: {row.reason.text}"
        rows.append((str(number), row.shard, row.app, str(row.priority), waited, state, reason))
    output.table(rows, "rllrrll")


def _hosts(row: QueueRow) -> None:
    hosts = [one for one in row.reasons if one.host]
    if hosts:
        output.say("")
        output.table(
            [(f"{row.shard}:", "", ""), *((one.host, one.reason.code, one.reason.text) for one in hosts)], "lll"
        )
