"""``plan refresh`` and ``plan letter``: new plans for old ones, and approvals for others to sign."""

from __future__ import annotations

import json
import time
from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol import GetPlan, PlanView
from sidestep.autopilot.protocol_levels import Refreshed, RefreshPlan
from sidestep.console.headless import output
from sidestep.console.headless.plans import ids
from sidestep.console.planningtext import difference_lines
from sidestep.console.plantext import PREFIX, approval_lines
from sidestep.console.text import ASCII
from sidestep.fleet.errors import UsageError
from sidestep.fleet.resources import parse_seconds

_WIDTH = 100


def refresh(socket: Path, ref: str, reason: str, *, as_json: bool) -> None:
    """Propose anew, and show what is different."""
    with Client.connect(socket) as client:
        answer = client.call(RefreshPlan(ref.lstrip("#"), reason))
    assert isinstance(answer, Refreshed)
    if as_json:
        output.dump(answer)
        return
    for line in answer.stale:
        output.say(f"no longer so: {line}")
    output.lines(difference_lines(answer.difference, _WIDTH, ASCII))
    output.lines(approval_lines(PlanView(answer.digest, answer.plan, answer.status), time.time(), _WIDTH, ASCII))
    number = answer.plan.number
    output.say(f"proposed; to run it: sidestep plan approve {number} --digest {answer.digest[:PREFIX]}")


def letter(socket: Path, ref: str, reason: str, skip: str, outside: str, expires: str) -> None:
    """Print what is to be signed: JSON, in ASCII, so that it is the same bytes everywhere."""
    try:
        lasts = parse_seconds(expires)
    except ValueError as error:
        raise UsageError(f"--expires {expires}: {error}", hint="such as 2h") from error
    with Client.connect(socket) as client:
        item = client.call(GetPlan(ref.lstrip("#")))
        assert client.welcome is not None
        fleet = str(client.welcome.fleet)
    assert isinstance(item, PlanView)
    said = {
        "sidestep_approval": 1,
        "fleet": fleet,
        "plan": item.digest,
        "reason": reason,
        "expires": round(time.time() + lasts),
        "skip": ids(skip),
        "outside": outside,
    }
    print(json.dumps(said, indent=1))
