"""``plan list|show|approve|reject|move``: decisions without a screen, bound to digests as on it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol import (
    Approve,
    Done,
    GetPlan,
    ListPlans,
    PlanList,
    PlanView,
    ProposeMove,
    Reject,
)
from sidestep.console.headless import output
from sidestep.console.plantext import PREFIX, approval_lines, no_plan_lines, plan_lines, plan_when
from sidestep.console.text import ASCII
from sidestep.fleet.errors import SidestepError, UsageError

_WIDTH = 100


def show_list(socket: Path, limit: int, *, as_json: bool) -> None:
    """The plans, newest first, and the newest "no plan"."""
    with Client.connect(socket) as client:
        answer = client.call(ListPlans(limit))
    assert isinstance(answer, PlanList)
    if as_json:
        output.dump(answer)
        return
    now = time.time()
    rows = [["PLAN", "DIGEST", "STATE", "WHEN", "ACTIONS", "WHY"]]
    for item in answer.plans:
        plan = item.plan
        rows.append(
            [
                f"#{plan.number}",
                item.digest[:PREFIX],
                item.status.state,
                plan_when(item, now),
                str(len(plan.actions)),
                plan.summary,
            ]
        )
    if answer.plans:
        output.table(rows, "llllr")
    if answer.no_plan is not None:
        output.lines(no_plan_lines(answer.no_plan, _WIDTH))
    elif not answer.plans:
        output.say("no plan yet")


def show(socket: Path, ref: str, *, as_json: bool) -> None:
    """Everything about one plan."""
    with Client.connect(socket) as client:
        item = _get(client, ref)
    if as_json:
        output.dump(item)
    else:
        output.lines(plan_lines(item, time.time(), _WIDTH, ASCII))


def approve(socket: Path, ref: str, digest: str, reason: str, *, yes: bool, as_json: bool) -> None:
    """Print exactly what will run, ask, and approve that digest and no other."""
    with Client.connect(socket) as client:
        item = _get(client, ref)
        if digest and not item.digest.startswith(digest.lower()):
            raise SidestepError(
                f"plan {ref} has digest {item.digest[:PREFIX]}, not {digest}; nothing was approved",
                hint=f"look at it: sidestep plan show {ref}",
            )
        if not as_json:
            output.lines(approval_lines(item, time.time(), _WIDTH, ASCII))
        if not yes:
            _confirm(item)
        answer = client.call(Approve(item.digest, reason))
    _done(answer, f"plan #{item.plan.number} approved ({item.digest[:PREFIX]})", as_json=as_json)


def _confirm(item: PlanView) -> None:
    """Have the number typed. Raises UsageError without a terminal, SidestepError for anything else."""
    number = str(item.plan.number)
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm", hint="add --yes, best together with --digest")
    print(f"type {number} to approve: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lstrip("#") != number:
        raise SidestepError("not approved")


def reject(socket: Path, ref: str, reason: str, *, as_json: bool) -> None:
    """Refuse one plan."""
    with Client.connect(socket) as client:
        item = _get(client, ref)
        answer = client.call(Reject(item.digest, reason))
    _done(answer, f"plan #{item.plan.number} rejected", as_json=as_json)


def move(socket: Path, shard: str, host: str, reason: str, *, as_json: bool) -> None:
    """Propose an operator's own move; it still needs approval."""
    with Client.connect(socket) as client:
        item = client.call(ProposeMove(shard, host, reason))
    assert isinstance(item, PlanView)
    if as_json:
        output.dump(item)
        return
    output.lines(approval_lines(item, time.time(), _WIDTH, ASCII))
    output.say(f"proposed; to run it: sidestep plan approve {item.plan.number} --digest {item.digest[:PREFIX]}")


def _get(client: Client, ref: str) -> PlanView:
    item = client.call(GetPlan(ref.lstrip("#")))
    assert isinstance(item, PlanView)
    return item


def _done(answer: object, text: str, *, as_json: bool) -> None:
    if as_json:
        output.dump(answer)
    else:
        output.say(str(answer.text) if isinstance(answer, Done) and answer.text else text)
