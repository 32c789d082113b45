"""``capsules``: what is kept for the loss of a host, without a screen."""

from __future__ import annotations

import time
from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol_capsules import CapsuleList, CapsuleRow, GetCapsules, ScrubCapsules
from sidestep.console.headless import output
from sidestep.console.text import ASCII, size
from sidestep.fleet.resources import show_seconds


def show(socket: Path, *, as_json: bool) -> None:
    """Print it."""
    with Client.connect(socket) as client:
        found = client.call(GetCapsules())
    assert isinstance(found, CapsuleList)
    if as_json:
        output.dump(found)
        return
    if not found.rows:
        output.say("no capsules are kept: no shard has replicas (docs/capsules.md)")
        return
    output.table([["SHARD", "OWNER", "AGE", "WANTED", "SIZE", "COPIES", "STATE"], *map(_cells, found.rows)], "llrrrll")
    if found.scrubbed:
        ago = show_seconds(max(0.0, time.time() - found.scrubbed))
        bad = f"{found.bad} damaged, {found.missing} gone, {found.unread} not read"
        output.say(f"scrub {ago} ago: {found.read} copies read, {bad}")
    output.say(f"since the daemon began: {size(found.carried, ASCII)} carried, {found.repaired} copies made anew")


def scrub(socket: Path, shard: str, reason: str, *, as_json: bool) -> None:
    """Have every copy read."""
    with Client.connect(socket) as client:
        answer = client.call(ScrubCapsules(shard, reason))
    output.done(answer, as_json=as_json)


def ages(client: Client) -> dict[str, CapsuleRow]:
    """What is kept, by shard."""
    found = client.call(GetCapsules())
    assert isinstance(found, CapsuleList)
    return {str(row.shard): row for row in found.rows}


def _cells(row: CapsuleRow) -> list[str]:
    words = ["OLD"] if row.stale else []
    words += [f"lost with {host}" for host in row.lost] + [f"damaged on {host}" for host in row.bad]
    words += [str(row.trouble)] if row.trouble else []
    if row.age is None:
        return [
            row.shard,
            row.owner,
            "none",
            show_seconds(row.every),
            "-",
            f"0/{row.replicas}",
            "; ".join(words) or "-",
        ]
    copies = f"{len(row.copies)}/{row.replicas} {' '.join(row.copies)}"
    bytes_ = size(row.bytes, ASCII)
    state = "; ".join(words) or "ok"
    return [row.shard, row.owner, show_seconds(row.age), show_seconds(row.every), bytes_, copies, state]
