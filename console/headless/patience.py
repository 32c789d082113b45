"""Asking a daemon that has only just begun: what it is still learning is asked for again, for a while."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

from sidestep.autopilot.client import Client, Refused
from sidestep.autopilot.protocol import Answer, Body
from sidestep.console.text import span

#: seconds after which the refusal is the answer: hosts have been sampled several times by then
PATIENCE: Final = 60.0
_BETWEEN: Final = 1.0


def patiently(
    client: Client,
    body: Body,
    *,
    patience: float = PATIENCE,
    now: Callable[[], float] = time.monotonic,
    rest: Callable[[float], None] = time.sleep,
) -> Answer:
    """The answer to a request that may come too early, which is said once on standard error.

    Raises what ``Client.call`` raises; Refused with code ``early`` when the time is over.
    """
    until, said = now() + patience, False
    while True:
        try:
            return client.call(body)
        except Refused as refused:
            if refused.code != "early" or now() >= until:
                raise
            if not said:
                print(span(f"{refused.args[0]}; waiting up to {patience:.0f} s").text, file=sys.stderr)
                said = True
        rest(_BETWEEN)
