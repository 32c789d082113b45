"""Splits and merges that an operator asks for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol import PlanView
from sidestep.autopilot.protocol_reshard import ProposeReshard
from sidestep.console.headless import output
from sidestep.console.headless.patience import patiently
from sidestep.console.plantext import PREFIX, approval_lines
from sidestep.console.text import ASCII

_WIDTH = 100


def propose(
    socket: Path, kind: Literal["split", "merge"], shard: str, spare: str, host: str, at: int, reason: str,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Propose it and show the plan."""
    with Client.connect(socket) as client:
        item = patiently(client, ProposeReshard(kind, shard, spare, host, at, reason))
    assert isinstance(item, PlanView)
    if as_json:
        output.dump(item)
        return
    output.lines(approval_lines(item, time.time(), _WIDTH, ASCII))
    output.say(f"proposed; to run it: sidestep plan approve {item.plan.number} --digest {item.digest[:PREFIX]}")
