"""``plan pause|resume|cancel``, ``hold`` and ``release``: steering without a screen."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from sidestep.autopilot import paths
from sidestep.autopilot.client import Client, DaemonLost, DaemonMissing
from sidestep.autopilot.protocol import Done, PlanView
from sidestep.autopilot.protocol_control import (
    CancelPlan,
    CancelView,
    DeclareOff,
    HoldAll,
    PausePlan,
    ReleaseHold,
    ResumePlan,
    UndoPlan,
)
from sidestep.console.headless import output, proposed
from sidestep.fleet.errors import SidestepError, UsageError

#: seconds that a daemon has to take a hold, before it is done without it
PATIENCE: Final = 3.0
_WIDTH: Final = 100


def pause(socket: Path, ref: str, reason: str, *, as_json: bool) -> None:
    """Begin nothing more of that plan."""
    with Client.connect(socket) as client:
        _plan(client.call(PausePlan(ref, reason)), "paused; what runs goes on to its end", as_json=as_json)


def resume(socket: Path, ref: str, reason: str, *, as_json: bool) -> None:
    """Go on with that plan."""
    with Client.connect(socket) as client:
        _plan(client.call(ResumePlan(ref, reason)), "goes on", as_json=as_json)


def cancel(socket: Path, ref: str, reason: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Say what it does to each action, ask, and cancel."""
    with Client.connect(socket) as client:
        planned = client.call(CancelPlan(ref, dry=True))
        assert isinstance(planned, CancelView)
        if not as_json:
            _effects(planned)
        if dry_run:
            if as_json:
                output.dump(planned)
            return
        if not yes:
            _confirm(str(planned.number), "cancel the plan", "not cancelled")
        done = client.call(CancelPlan(planned.digest, reason))
    assert isinstance(done, CancelView)
    if as_json:
        output.dump(done)
    else:
        output.say(f"plan #{done.number} {done.state}")


def undo(socket: Path, ref: str, reason: str, *, as_json: bool) -> None:
    """Propose the way back of that plan."""
    with Client.connect(socket) as client:
        item = client.call(UndoPlan(ref.lstrip("#"), reason))
    proposed.show(item, as_json=as_json)


def hold(socket: Path, reason: str, state: Path | None, *, as_json: bool) -> None:
    """Hold through the daemon, or, if it does not answer, by the file that it looks for."""
    try:
        with Client.connect(socket, timeout=PATIENCE) as client:
            done = client.call(HoldAll(reason))
    except (DaemonMissing, DaemonLost) as error:
        done = by_file(socket, reason, state, str(error.args[0]))
    output.done(done, as_json=as_json)


def release(socket: Path, reason: str, *, as_json: bool) -> None:
    """Let new things begin again."""
    with Client.connect(socket) as client:
        output.done(client.call(ReleaseHold(reason)), as_json=as_json)


def fenced(socket: Path, host: str, reason: str, *, yes: bool, as_json: bool) -> None:
    """Say that a host is off, so that what it ran may start elsewhere."""
    if not reason.strip():
        raise UsageError("a reason is needed", hint="say how it is known that the host is off: --reason TEXT")
    if not yes:
        print(
            f"what ran on {host} may start elsewhere at once: if {host} is not off, it then runs twice",
            file=sys.stderr,
        )
        _confirm(host, "say that it is off", "nothing was said")
    with Client.connect(socket) as client:
        output.done(client.call(DeclareOff(host, reason)), as_json=as_json)


def by_file(socket: Path, reason: str, state: Path | None, why: str) -> Done:
    """Hold by the file that the daemon looks for; ``why`` is why not through it. Raises SidestepError."""
    from sidestep.autopilot.hold import Hold  # noqa: PLC0415
    from sidestep.autopilot.server_service import actor_of  # noqa: PLC0415
    from sidestep.fleet.labels import scrub  # noqa: PLC0415

    folder = state or paths.state_dir(socket.stem)
    if not folder.is_dir():
        raise SidestepError(
            f"{why}; and there is no state folder {folder}, so nothing is held",
            hint="name the state folder of the daemon with --state DIR, or send it SIGUSR1",
        )
    made = Hold(folder)
    said = "held" if made.begin(actor=actor_of(os.getuid()), reason=reason) else "held already"
    if not made.path.exists():
        raise SidestepError(f"{made.path} cannot be made, so nothing is held", hint="send the daemon SIGUSR1")
    return Done(scrub(f"{said}, by {made.path}: {why}", 2000))


def _confirm(word: str, to: str, otherwise: str) -> None:
    """Have a word typed. Raises UsageError without a terminal, SidestepError for anything else."""
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm", hint="add --yes")
    print(f"type {word} to {to}: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lstrip("#") != word:
        raise SidestepError(otherwise)


def _effects(view: CancelView) -> None:
    rows = [["ACTION", "SHARD", "STATE", "WHAT CANCELLING DOES"]]
    rows += [[str(e.id), e.shard, e.state, e.text] for e in view.effects]
    output.table(rows, "rlll")


def _plan(answer: object, what: str, *, as_json: bool) -> None:
    assert isinstance(answer, PlanView)
    if as_json:
        output.dump(answer)
    else:
        output.say(f"plan #{answer.plan.number} {what}")
