"""Splits and merges that an operator asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol_reshard import ProposeReshard
from sidestep.console.headless import proposed
from sidestep.console.headless.patience import patiently

_WIDTH = 100


def propose(
    socket: Path, kind: Literal["split", "merge"], shard: str, spare: str, host: str, at: int, reason: str,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Propose it and show the plan."""
    with Client.connect(socket) as client:
        item = patiently(client, ProposeReshard(kind, shard, spare, host, at, reason))
    proposed.show(item, as_json=as_json)
