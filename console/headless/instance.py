"""``instance``: an app over all of its shards, without a screen."""

from __future__ import annotations

from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol_instance import GetInstance, InstanceView
from sidestep.console.headless import output
from sidestep.fleet.resources import show_size


def show(socket: Path, app: str, *, as_json: bool) -> int:
    """Print it; the exit code is 1 unless all of its shards serve."""
    with Client.connect(socket) as client:
        view = client.call(GetInstance(app=app))
    assert isinstance(view, InstanceView)
    if as_json:
        output.dump(view)
    else:
        _tell(view)
    return 0 if view.status == "whole" else 1


def _tell(view: InstanceView) -> None:
    limits = f" of {view.limit_cpu:g}" if view.limit_cpu else ""
    memory = f" of {show_size(view.limit_memory)}" if view.limit_memory else ""
    output.say(
        f"{view.app} is {view.status}: {view.running} of {len(view.shards)} shards serve on {len(view.hosts)} hosts,"
        f" {view.cpu:.2f}{limits} cores, {show_size(round(view.memory))}{memory} of memory"
    )
    rows = [("SHARD", "HOST", "ENDPOINT", "CORES", "LIMIT", "MEMORY", "LIMIT", "TROUBLE")]
    for one in view.shards:
        rows.append((
            one.shard, one.host or "-", one.endpoint or "-",
            "-" if one.cpu is None else f"{one.cpu:.2f}", f"{one.limit_cpu:g}" if one.limit_cpu else "-",
            "-" if one.memory is None else show_size(round(one.memory)),
            show_size(one.limit_memory) if one.limit_memory else "-", one.trouble,
        ))  # fmt: skip
    output.table(rows, "lllrrrrl")
