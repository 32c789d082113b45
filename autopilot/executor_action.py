"""One action, from its first step to its last or back: journal, act, journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from sidestep.autopilot.executor_kinds import ActionHands, Kind, kind_of
from sidestep.autopilot.executor_retry import Pacing, Trouble, trouble_of
from sidestep.autopilot.faults import Faults
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_store import JournalError
from sidestep.autopilot.recovery import to_take_back
from sidestep.autopilot.steps import after_commit, before_commit
from sidestep.backends.base import StepResult
from sidestep.fleet.labels import scrub
from sidestep.fleet.machines import ActionState, StepName, StepState, steps_of
from sidestep.fleet.plans import Action, ActionStatus, Plan, PlanStatus


@dataclass(kw_only=True)
class ActionRun:
    """Carries out one action. Before the commit every trouble is taken back, after it there is only forward.

    Each method returns the state that the action is in: final, unless ``stopping`` cut the
    insisting short, in which case the next start of the daemon goes on from the journal.
    ``halted`` says why no further step may begin before the commit, or "".
    """

    journal: Journal
    plan: Plan
    digest: str
    action: Action
    hands: ActionHands
    faults: Faults
    pacing: Pacing
    changed: Callable[[PlanStatus], None]
    clock: Callable[[], float]
    stopping: Callable[[], bool]
    halted: Callable[[], str]
    #: looks into the way back and writes it down
    look_back: Callable[[], None]
    _unwritten: JournalError | None = field(default=None, init=False)

    @property
    def kind(self) -> Kind:
        """What is different about actions like this one."""
        return kind_of(self.action)

    async def forward(self) -> ActionState:
        """All steps, as far as they go."""
        steps = steps_of(self.action.kind)
        for step in (*before_commit(steps), StepName.COMMIT):
            why = self.halted()  # going back needs the least of everything, and is always allowed
            if why:
                trouble: Trouble | None = Trouble(scrub(f"{self._say('not begun:', step)}: {why}"))
            else:
                trouble = await self._attempt(step)
            if trouble is not None and not self._committed():
                return await self.unwind(trouble)
        return await self.finish(after_commit(steps))

    async def finish(self, steps: Iterable[StepName]) -> ActionState:
        """The steps after the commit, each insisted on; then DONE, or a person is needed."""
        for step in steps:
            trouble = await self.pacing.insist(partial(self._attempt, step), self.stopping)
            if trouble is None:
                continue
            if self.stopping() and not trouble.hopeless:
                return self._state()
            self._set(
                ActionState.FAILED_NEEDS_HUMAN,
                f"{trouble.text}. Past the commit point: {self.kind.committed(self.action)} and is not taken back,"
                f" steps from {step} on are open{self._waiting(step)}."
                f" Put {self.action.destination or self.action.source} right, and what is open is done there",
            )
            return ActionState.FAILED_NEEDS_HUMAN
        self._set(ActionState.DONE)
        return ActionState.DONE

    async def unwind(self, trouble: Trouble) -> ActionState:
        """Take back every step that was begun, the freeze first; then ABORTED, or a person is needed.

        A destination that does not answer is not waited for once the source serves: what is left
        there is put right when it comes back. That the source itself keeps what was changed is not.
        A journal that cannot be written stops no thaw: taking back twice is harmless. That error
        is raised at the end.
        """
        if self._state() is ActionState.RUNNING and trouble.timed_out:
            self._write(lambda: self._set(ActionState.TIMED_OUT, trouble.text))
        if self._state() in {ActionState.RUNNING, ActionState.TIMED_OUT}:
            self._write(lambda: self._set(ActionState.ABORTING, trouble.text))
        left = list(to_take_back(self._status()))
        away, elsewhere = False, self.action.destination != self.action.source

        async def take_back() -> Trouble | None:
            nonlocal away
            left[:], troubles = await self._take_back(tuple(left))
            away = elsewhere and self.kind.holds not in left
            away = away and all(t.away == self.action.destination for t in troubles)
            return troubles[-1] if troubles else None

        last = await self.pacing.insist(take_back, lambda: away or self.stopping())
        if self._unwritten is not None:
            raise self._unwritten
        if last is None:
            self._set(ActionState.ABORTED)
        elif away:
            rest = f"What is left on {self.action.destination or self.action.source} waits: {last.text}"
            self._set(ActionState.ABORTED, f"{trouble.text}. {rest}")
        elif not self.stopping() or last.hopeless:
            self._set(ActionState.FAILED_NEEDS_HUMAN, self._half_way(trouble, last, left))
        return self._state()

    async def _attempt(self, step: StepName) -> Trouble | None:
        """One step, once, written before and after."""
        deadline = self.plan.policy.step_deadline + self.hands.allowance(step)
        began = time.monotonic()
        try:
            self.journal.begin_step(self.digest, self.action.id, step)
            self._tell()
            async with asyncio.timeout(deadline):
                await self.faults.at(f"{step}:before")
                result = await self._act(step, deadline)
                await self.faults.at(f"{step}:after")
            if result is not None:
                ms = (time.monotonic() - began) * 1000.0
                self.journal.end_step(self.digest, self.action.id, step, result, ms=ms)
            if step is StepName.RESUME:
                self._measure_freeze()
            self._tell()
            async with asyncio.timeout(deadline):
                await self.faults.at(f"{step}:recorded")
        except Exception as error:  # noqa: BLE001 - supervisor: a plugin's bug must not leave a shard frozen
            trouble = trouble_of(error, self._say("", step), deadline)
            self._record_failure(step, trouble, began)
            return trouble
        return None

    async def _act(self, step: StepName, deadline: float) -> StepResult | None:
        """The step itself; None if that journaled its own end, as the commit does."""
        if step is StepName.COMMIT:
            await self.hands.reach_destination()
            self.look_back()
            self.hands.commit()
            return None
        await self.hands.connect()
        return await self.hands.do(step, self._notes(), deadline)

    async def _take_back(self, steps: Sequence[StepName]) -> tuple[list[StepName], list[Trouble]]:
        """One try at each step; what is left to take back, and why.

        The thaw goes first and needs the source only: the shard's users wait for it.
        """
        deadline = 2.0 * self.plan.policy.step_deadline  # a backend may have to give up one host to thaw the other
        left, troubles = [], []
        await self._reach(self.hands.connect_source(), deadline)
        freezing = [step for step in steps if step is self.kind.holds]
        others = [step for step in steps if step is not self.kind.holds]
        for step in (*freezing, *others):
            if others and step is others[0]:
                await self._reach(self.hands.connect(), deadline)
            trouble = await self._undo(step, deadline)
            if trouble is not None:
                left.append(step)
                troubles.append(trouble)
        return left, troubles

    @staticmethod
    async def _reach(connecting: Awaitable[None], deadline: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await connecting

    async def _undo(self, step: StepName, deadline: float) -> Trouble | None:
        try:
            async with asyncio.timeout(deadline):
                await self.faults.at(f"abort-{step}:before")
                await self.hands.undo(step, self._notes())
                await self.faults.at(f"abort-{step}:after")
        except Exception as error:  # noqa: BLE001 - supervisor: the other steps are still taken back
            return trouble_of(error, self._say("abort", step), deadline)
        self._write(lambda: self.journal.undo_step(self.digest, self.action.id, step))
        if step is self.kind.holds:
            self._write(self._measure_freeze)
        self._tell()
        return None

    def _waiting(self, step: StepName) -> str:
        if not self.hands.requests_held or step not in (StepName.ROUTE, StepName.RESUME):
            return ""
        return f"; requests to {self.action.shard} wait at the router"

    def _half_way(self, trouble: Trouble, last: Trouble, left: Sequence[StepName]) -> str:
        names = ", ".join(left)
        held = self.kind.holds in left and self.hands.requests_held
        now = self.kind.half_way(self.action, held=held)
        return f"{trouble.text}. Taking back failed too ({names}): {last.text}. Not committed: {now}"

    def _record_failure(self, step: StepName, trouble: Trouble, began: float) -> None:
        if self.journal.step_state(self.digest, self.action.id, step) is not StepState.RUNNING:
            return
        ms = (time.monotonic() - began) * 1000.0
        with suppress(JournalError):  # the trouble itself is told in any case
            self.journal.end_step(self.digest, self.action.id, step, error=trouble.text, ms=ms)
            self._tell()

    def _measure_freeze(self) -> None:
        """From holding the requests to letting them go; across a restart by the journal's clock."""
        ms, holds = self.hands.freeze_ms, self.kind.holds
        if ms is None:
            begun = self.journal.begun(self.digest, self.action.id, holds) if holds else None
            ms = 0.0 if begun is None else max(0.0, self.clock() - begun) * 1000.0
        self.journal.set_freeze(self.digest, self.action.id, ms)

    def _notes(self) -> dict[str, str]:
        return self.journal.notes(self.digest, self.action.id)

    def _committed(self) -> bool:
        return self.journal.committed(self.digest, self.action.id)

    def _status(self) -> ActionStatus:
        return next(a for a in self.journal.status(self.digest).actions if a.id == self.action.id)

    def _state(self) -> ActionState:
        return self._status().state

    def _set(self, new: ActionState, note: str = "") -> None:
        self.journal.set_action(self.digest, self.action.id, new, note=note)
        self._tell()

    def _tell(self) -> None:
        self.changed(self.journal.status(self.digest))

    def _write(self, write: Callable[[], object]) -> None:
        try:
            write()
        except JournalError as error:
            self._unwritten = error

    def _say(self, what: str, step: StepName) -> str:
        move = f"{self.action.shard} {self.action.course}"
        return " ".join(filter(None, (f"{move}:", what, f"{step}")))
