"""Steering a plan that was approved: pause, resume, cancel; and the hold of everything.

Each is written into the journal first; the executor, which looks there, is then told to look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.executor import Executor
from sidestep.autopilot.executor_context import pairs
from sidestep.autopilot.executor_graph import OPEN
from sidestep.autopilot.executor_kinds import kind_of
from sidestep.autopilot.hold import Hold
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.protocol_control import Effect
from sidestep.autopilot.recovery import committed
from sidestep.fleet.errors import IllegalTransition, SidestepError
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ACTION, ActionState, PlanState, final
from sidestep.fleet.plans import Action, ActionStatus, Plan, PlanStatus

#: states in which a plan can be cancelled
_CANCELLABLE: Final = (PlanState.APPROVED, PlanState.RUNNING, PlanState.PAUSED)


@dataclass(frozen=True, kw_only=True)
class PlanControl:
    """``start`` runs a plan beside the loop, as after its approval; digests are whole ones."""

    journal: Journal
    executor: Executor
    hold: Hold
    log: Log
    start: Callable[[str], None]

    def pause(self, digest: str, *, actor: Label, reason: str = "") -> PlanStatus:
        """Begin nothing more of it; what runs goes on to its end. Raises SidestepError unless it is RUNNING."""
        status = self._set(digest, PlanState.PAUSED, (PlanState.RUNNING,), "paused", actor, reason)
        self.executor.wake()
        return status

    def resume(self, digest: str, *, actor: Label, reason: str = "") -> PlanStatus:
        """Go on; also with a plan that was paused before a restart. Raises SidestepError unless it is PAUSED."""
        status = self._set(digest, PlanState.RUNNING, (PlanState.PAUSED,), "resumed", actor, reason)
        self._go_on(digest)
        return status

    def cancel(self, digest: str, *, actor: Label, reason: str = "") -> tuple[Effect, ...]:
        """End it: nothing more begins, what is not committed is taken back, what is committed is finished.

        Returns what that does to every action. Raises SidestepError for a plan that cannot be cancelled.
        """
        effects = self.effects(digest)
        waits = self.journal.state_of(digest) is PlanState.APPROVED
        new = PlanState.CANCELLED if waits else PlanState.CANCELLING
        self._set(digest, new, _CANCELLABLE, "cancelled", actor, reason)
        if waits:
            plan, status = self.journal.plan(digest)
            for action, found in pairs(plan, status):
                if found.state in OPEN:
                    why = "the plan was cancelled before it began"
                    self.journal.set_action(digest, action.id, ActionState.CANCELLED, note=why)
            self.executor.wake()
        else:
            self._go_on(digest)
        return effects

    def effects(self, digest: str) -> tuple[Effect, ...]:
        """What cancelling would do to every action, as things are now. Raises SidestepError."""
        plan, status = self.journal.plan(digest)
        if status.state not in _CANCELLABLE:
            raise _cannot(plan, status.state, "cancelled", _CANCELLABLE)
        return tuple(_effect(action, found) for action, found in pairs(plan, status))

    def hold_all(self, *, actor: str, reason: str = "") -> str:
        """Begin nothing new, from now on; what was done about it. Never raises: to hold is always possible."""
        done = self.hold.begin(actor=actor, reason=reason)
        self.executor.wake()
        return self.hold.why() if done else f"already {self.hold.why()}"

    def release(self, *, actor: str, reason: str = "") -> str:
        """Let new things begin again; what was done about it. Raises SidestepError if that cannot be."""
        before = self.hold.why()
        if not before:
            return "nothing was held"
        said = f"released: {before}" + (f"; {reason}" if reason else "")
        self.log.act("release", said, actor=actor, subject="fleet", reason=reason, detail=before)
        self.hold.end()
        self.executor.wake()
        return said

    def told(self, why: str) -> None:
        """A hold began or ended; say so, in both logs."""
        if why:
            text = f"{why}: nothing new begins until it is released (sidestep release)"
            self.log.act("hold", text, actor=_actor(why), subject="fleet", detail=why, always=True)
        else:
            self.log.say("daemon", "not held any more: what may begin begins")
        self.executor.wake()

    def _go_on(self, digest: str) -> None:
        """The run that drives the plan looks again; without one, after a restart, another one is begun."""
        if self.executor.driving == digest:
            self.executor.wake()
        else:
            self.start(digest)

    def _set(
        self, digest: str, new: PlanState, of: tuple[PlanState, ...], done: str, actor: Label, reason: str
    ) -> PlanStatus:
        plan, status = self.journal.plan(digest)
        if status.state not in of:
            raise _cannot(plan, status.state, done, of)
        try:
            return self.journal.set_state(digest, new, actor=actor, note=reason)
        except IllegalTransition as error:
            raise _cannot(plan, status.state, done, of) from error


def _cannot(plan: Plan, state: PlanState, done: str, of: tuple[PlanState, ...]) -> SidestepError:
    allowed = " or ".join(of)
    return SidestepError(
        f"plan {plan.number} is {state} and cannot be {done}", hint=f"only a plan that is {allowed} can"
    )


def _effect(action: Action, status: ActionStatus) -> Effect:
    """What cancelling does to one action."""
    kind = kind_of(action)
    if final(ACTION, status.state):
        will, text = "", f"has ended {status.state}, and stays as it is"
    elif status.state in OPEN:
        will, text = "cancelled", f"does not begin; {kind.untouched(action)}"
    elif committed(status):
        will, text = "finished", f"is past its commit: {kind.committed(action)}"
    else:
        will, text = "back", f"is taken back: {kind.restored(action)}"
    return Effect(id=action.id, shard=action.shard, state=status.state, will=will, text=scrub(text))


def _actor(why: str) -> str:
    """Who holds, of what ``Hold.why`` says."""
    return why.removeprefix("held by ").partition(":")[0] if why.startswith("held by ") else "the file"
