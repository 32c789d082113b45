"""What operations on hosts are told about a shard, and what is made of what they say. Pure."""

from __future__ import annotations

import re
from typing import Final

from sidestep.backends.base import ShardObservation
from sidestep.backends.process.scripts import is_name
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import scrub
from sidestep.fleet.machines import ShardState

_STATES: Final = {
    "running": ShardState.RUNNING,
    "frozen": ShardState.FROZEN,
    "dead": ShardState.FAILED,
    "damaged": ShardState.FAILED,
}
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.:%_-]{0,253}")


def about(
    transport: Transport, step: str, fleet: str, shard: ShardSpec, patience: int, **more: str | int
) -> dict[str, str | int]:
    """The values of an operation on that shard. Raises HostError for what no host can be told."""
    check_names(transport, step, fleet, shard.name)
    if not _ADDRESS.fullmatch(str(more.get("address", ""))):
        raise HostError(transport.host, step, f"{more['address']!r} cannot be an address")
    if shard.driver == "hook" and not (shard.save and shard.load):
        raise HostError(transport.host, step, f"shard {shard.name} has driver hook, but no save and load commands")
    return {
        "fleet": fleet,
        "shard": shard.name,
        "driver": shard.driver,
        "cmd_start": shard.start,
        "cmd_save": shard.save,
        "cmd_load": shard.load,
        "cmd_quiesce": shard.quiesce,
        "cmd_resume": shard.resume,
        "cmd_ready": shard.ready,
        "patience": patience,
        **more,
    }


def check_names(transport: Transport, step: str, *names: str) -> None:
    """Raise HostError unless every one of them can name a folder on a host."""
    for name in names:
        if not is_name(name):
            raise HostError(
                transport.host,
                step,
                f"{name!r} cannot name a folder on a host",
                hint="use letters, digits, dot, dash and underscore, at most 100",
            )


def observed(transport: Transport, line: str) -> ShardObservation:
    """The shard that a line of ``discover`` is about. Raises HostError."""
    try:
        shard, state, pid, started, token, port, address = line.split(" ")
        return ShardObservation(
            shard=scrub(shard),
            host=scrub(transport.host),
            state=_STATES[state],
            token=int(token),
            pid=int(pid),
            started=int(started),
            address="" if address == "-" else scrub(address),
            port=int(port),
            detail=scrub("" if state in {"running", "frozen"} else f"pid file is {state}"),
        )
    except (ValueError, KeyError) as error:
        raise HostError(transport.host, "discover", "unexpected answer", tail=line) from error
