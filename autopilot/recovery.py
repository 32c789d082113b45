"""What a restarted daemon does about an action that its predecessor left: decided from the journal alone."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from sidestep.autopilot.steps import after_commit
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ACTION, ActionState, StepName, StepState, final
from sidestep.fleet.plans import Action, ActionStatus

_BEGUN: Final = frozenset({StepState.RUNNING, StepState.DONE, StepState.FAILED})


class Way(StrEnum):
    """Where an action goes from here."""

    NOWHERE = "nowhere"
    CANCEL = "cancel"
    BACK = "back"
    FORWARD = "forward"


class Decision(Struct, frozen=True):
    """The way, the steps on it in the order of doing, and why, in words."""

    way: Way
    steps: tuple[StepName, ...]
    text: Label


def committed(status: ActionStatus) -> bool:
    """Whether the action is past its commit point: its commit step is DONE."""
    return any(s.name is StepName.COMMIT and s.state is StepState.DONE for s in status.steps)


def to_take_back(status: ActionStatus) -> tuple[StepName, ...]:
    """The steps up to the commit that were begun, newest first, finished or not."""
    begun = {s.name for s in status.steps if s.state in _BEGUN}
    up_to_commit = [s.name for s in status.steps if s.name not in after_commit([s.name for s in status.steps])]
    return tuple(step for step in reversed(up_to_commit) if step in begun)


def to_finish(status: ActionStatus) -> tuple[StepName, ...]:
    """The steps after the commit that are not recorded as done, in order.

    ``route`` is always among them: a router that was restarted meanwhile knows an older table.
    """
    done = {s.name for s in status.steps if s.state is StepState.DONE}
    return tuple(
        step for step in after_commit([s.name for s in status.steps]) if step is StepName.ROUTE or step not in done
    )


def decide(action: Action, status: ActionStatus) -> Decision:
    """Forward if the commit is journaled, back if anything else was begun; the same answer every time."""
    move = f"action {action.id} ({action.shard} {action.course})"
    if final(ACTION, status.state):
        return Decision(Way.NOWHERE, (), scrub(f"{move} had ended {status.state}"))
    if status.state in {ActionState.PENDING, ActionState.BLOCKED}:
        return Decision(Way.CANCEL, (), scrub(f"{move} had not begun, and does not begin after a restart"))
    open_step = next((s.name for s in status.steps if s.state is StepState.RUNNING), None)
    newest = next((s.name for s in reversed(status.steps) if s.state in _BEGUN), None)
    where = "before its first step"
    if open_step is not None:
        where = f"in {open_step}, begun and not recorded as done"
    elif newest is not None:
        where = f"after {newest}"
    said = f"the daemon ended while {move} was {where}"
    if committed(status):
        steps = to_finish(status)
        return Decision(
            Way.FORWARD, steps, scrub(f"{said}. It is committed: going forward with {', '.join(steps)}", 400)
        )
    steps = to_take_back(status)
    names = ", ".join(steps) or "nothing"
    return Decision(Way.BACK, steps, scrub(f"{said}. It is not committed: taking back {names}", 400))
