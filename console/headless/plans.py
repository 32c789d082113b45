"""``plan list|show|approve|reject|move``: decisions without a screen, bound to digests as on it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol import (
    Approve,
    GetPlan,
    ListPlans,
    PlanList,
    PlanView,
    ProposeMove,
    Reject,
)
from sidestep.console.headless import output, proposed
from sidestep.console.headless.patience import patiently
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


class More(NamedTuple):
    """What else an approval may say: ids to leave out, why no window, and a signed approval."""

    skip: str = ""
    outside: str = ""
    signed: Path | None = None

    def request(self, digest: str, reason: str) -> Approve:
        """The whole of it. Raises UsageError."""
        if self.signed is None:
            return Approve(digest, reason, ids(self.skip), self.outside)
        if reason or self.skip or self.outside:
            raise UsageError("a signed approval says reason, --skip and --outside-window itself")
        letter, signature = (read_text(path) for path in (self.signed, Path(f"{self.signed}.sig")))
        return Approve(digest, letter=letter, signature=signature)


def ids(text: str) -> tuple[int, ...]:
    """Ids with commas between them. Raises UsageError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise UsageError(f"--skip {text}: not ids of actions", hint="such as --skip 2,3; see: sidestep plan show")
    return tuple(map(int, parts))


def read_text(path: Path) -> str:
    """A small text. Raises UsageError."""
    try:
        return path.read_bytes()[: 1 << 17].decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error


def approve(socket: Path, ref: str, digest: str, reason: str, more: More, *, yes: bool, as_json: bool) -> None:
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
            _left_out(item, ids(more.skip))
        if not yes:
            _confirm(item)
        answer = client.call(more.request(item.digest, reason))
    output.done(answer, f"plan #{item.plan.number} approved ({item.digest[:PREFIX]})", as_json=as_json)


def _left_out(item: PlanView, skip: tuple[int, ...]) -> None:
    for action in item.plan.actions:
        if action.id in skip:
            what = f"{action.shard} {action.source} -> {action.destination}" if action.shard else action.destination
            output.say(f"left out: action {action.id}, {action.kind} {what}")


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
    output.done(answer, f"plan #{item.plan.number} rejected", as_json=as_json)


def move(socket: Path, shard: str, host: str, reason: str, *, as_json: bool) -> None:
    """Propose an operator's own move; it still needs approval."""
    with Client.connect(socket) as client:
        item = patiently(client, ProposeMove(shard, host, reason))
    proposed.show(item, as_json=as_json)


def _get(client: Client, ref: str) -> PlanView:
    item = client.call(GetPlan(ref.lstrip("#")))
    assert isinstance(item, PlanView)
    return item
