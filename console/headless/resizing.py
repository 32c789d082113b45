"""Resizes that an operator asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol_resize import ProposeResize
from sidestep.console.headless import proposed
from sidestep.console.headless.patience import patiently
from sidestep.fleet.errors import UsageError
from sidestep.fleet.resources import parse_size

_WIDTH: Final = 100
_STAYS: Final = -1


def request(shard: str, cpu: float | None, memory: str, read: str, write: str, reason: str) -> ProposeResize:
    """What is asked for. Raises UsageError naming the option that cannot be read, or if none is given."""
    sizes = {"memory": memory, "read": read, "write": write}
    if cpu is None and not any(sizes.values()):
        raise UsageError("no limit is given", hint="--cpu, --memory, --read or --write; 0 is no limit")
    given = {name: _size(name, text) for name, text in sizes.items()}
    return ProposeResize(shard, cpu=_STAYS if cpu is None else cpu, **given, reason=reason)


def _size(name: str, text: str) -> int:
    if not text:
        return _STAYS
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"--{name} {text}: {error}", hint="for example 50M; 0 is no limit") from error


def propose(socket: Path, wanted: ProposeResize, *, as_json: bool) -> None:
    """Propose it and show the plan."""
    with Client.connect(socket) as client:
        item = patiently(client, wanted)
    proposed.show(item, as_json=as_json)
