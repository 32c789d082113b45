"""What every call cost, told to the fleet's daemon when one runs, so that the oracle learns per function (S1.2)."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

from sidestep.autopilot.invocations_feed import socket_beside
from sidestep.backends.functions.job import Call, Finished
from sidestep.fleet.invocations import Invocation
from sidestep.fleet.labels import scrub


class Reporter:
    """Sends one line a call; a daemon that is not there costs nothing but the line."""

    def __init__(self, daemon: Path) -> None:
        self._path = socket_beside(daemon)

    def tell(self, call: Call, finished: Finished) -> None:
        """Report one call."""
        line = report_of(call, finished, time.time()).encode() + b"\n"
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(self._path))
            connection.sendall(line)


def report_of(call: Call, finished: Finished, now: float) -> Invocation:
    """The invocation of a call. Its shard is the block's host, where it used what it used."""
    outcome = finished.outcome
    return Invocation(
        app=scrub(f"{call.source.module}:{call.function}", 200),
        shard=scrub(finished.host, 200),
        t=now,
        wall_s=outcome.wall_s,
        cpu_s=outcome.cpu_s,
        max_rss=float(outcome.max_rss),
        net_bytes=float(len(call.args) + len(outcome.value) + outcome.shard_bytes),
        x=tuple((scrub(name), value if isinstance(value, float) else scrub(value)) for name, value in call.features),
    )
