"""``losses`` and ``clear-poison``: lost hosts and what became of their shards, without a screen."""

from __future__ import annotations

import time
from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol_failover import ClearPoison, GetLosses, LossesView, LostHost, RecoveredShard
from sidestep.console.headless import output
from sidestep.fleet.resources import show_seconds

#: shards that are named of one host
NAMED = 5


def show(socket: Path, *, as_json: bool) -> None:
    """Print it."""
    with Client.connect(socket) as client:
        view = client.call(GetLosses())
    assert isinstance(view, LossesView)
    if as_json:
        output.dump(view)
        return
    for line in lines(view, time.time()):
        output.say(line)
    if not (view.hosts or view.poisoned or view.recovered):
        output.say("no host is lost or in quarantine, and no shard is poisoned")


def clear(socket: Path, shard: str, reason: str, *, as_json: bool) -> None:
    """Let a poisoned shard start again."""
    with Client.connect(socket) as client:
        answer = client.call(ClearPoison(shard, reason))
    output.done(answer, as_json=as_json)


def lines(view: LossesView, now: float) -> list[str]:
    """A line for everything; ``now`` is unix time."""
    found = [f"failover brake: {view.brake}"] if view.brake else []
    found += [_host(host, now) for host in view.hosts]
    found += [f"{one.shard} is poisoned since {show_seconds(max(0.0, now - one.since))}: {one.reason}"
              for one in view.poisoned]  # fmt: skip
    return [*found, *(recovered(one, now) for one in view.recovered)]


def recovered(one: RecoveredShard, now: float) -> str:
    """One recovery with its two figures."""
    lost = "began with nothing" if one.rpo is None else f"RPO {show_seconds(one.rpo)}"
    ago = show_seconds(max(0.0, now - one.at))
    return f"{one.shard} came back from {one.host} {ago} ago: RTO {show_seconds(one.rto)}, {lost}"


def _host(host: LostHost, now: float) -> str:
    if host.back:
        left = show_seconds(max(0.0, host.quarantined - now))
        return f"{host.host} is back and in quarantine for {left} more"
    said = f"{host.host} is lost, last heard of {show_seconds(max(0.0, now - host.heard))} ago: {host.reason}"
    for shard, code in list(host.stays.items())[:NAMED]:
        said += f"; {shard} stays ({code})"
    return said + (f"; and {len(host.stays) - NAMED} more" if len(host.stays) > NAMED else "")
