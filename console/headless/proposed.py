"""What is printed of a plan that was proposed: exactly what would run, and the words that have it run."""

from __future__ import annotations

import time
from typing import Final

from sidestep.autopilot.protocol import Answer, PlanView
from sidestep.console.headless import output
from sidestep.console.plantext import PREFIX, approval_lines
from sidestep.console.text import ASCII

_WIDTH: Final = 100


def show(item: Answer, *, as_json: bool) -> None:
    """Print it; it still needs approval."""
    assert isinstance(item, PlanView)
    if as_json:
        output.dump(item)
        return
    output.lines(approval_lines(item, time.time(), _WIDTH, ASCII))
    output.say(f"proposed; to run it: sidestep plan approve {item.plan.number} --digest {item.digest[:PREFIX]}")
