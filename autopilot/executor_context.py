"""What all runs of an executor share: its hands, its books, and who may begin something now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from sidestep.autopilot.executor_action import ActionRun
from sidestep.autopilot.executor_graph import Places, shards_of
from sidestep.autopilot.executor_kinds import KINDS, RUNNABLE, Work, hands_of
from sidestep.autopilot.executor_retry import Pacing
from sidestep.autopilot.faults import Faults, faults_of
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.pace import Pace
from sidestep.autopilot.recovery import committed, to_finish, to_take_back
from sidestep.autopilot.steps import Hands, routing_table
from sidestep.autopilot.undo import forbidden, problem
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ACTION, PLAN, ActionState, PlanState, final
from sidestep.fleet.plans import Action, ActionStatus, Basis, Plan, PlanStatus

ACTOR: Final = Label("executor")
_ENDED: Final = frozenset({PlanState.SUCCEEDED, PlanState.PARTIAL, PlanState.FAILED, PlanState.CANCELLED})


def pairs(plan: Plan, status: PlanStatus) -> list[tuple[Action, ActionStatus]]:
    """Every action beside what has become of it."""
    return list(zip(plan.actions, status.actions, strict=True))


@dataclass(kw_only=True)
class Context:
    """The parts of an executor, as ``Executor`` describes them, and what it keeps in mind."""

    hands: Hands
    journal: Journal
    present: Callable[[Plan], Basis]
    clock: Callable[[], float]
    changed: Callable[[PlanStatus], None]
    doubt: Callable[[Collection[str]], None]
    faults: Faults
    pacing: Pacing
    held: Callable[[], str]
    strain: Callable[[str], str]
    pace: Pace = field(default_factory=Pace)
    stopping: bool = False
    #: shards of plans that have not ended, those whose action has begun, and those that wait for a person
    moving: set[str] = field(default_factory=set)
    acting: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    #: set when somebody stopped, paused, resumed, cancelled, held or released
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @cached_property
    def places(self) -> Places:
        """What counts against which cap."""
        return Places.of(self.hands.fleet)

    def halted(self, digest: str) -> str:
        """Why nothing new may begin in that plan, not even a step of what runs and is not committed; or nothing."""
        if self.stopping:
            return "the daemon was told to stop"
        if trouble := self.journal.trouble:
            return f"nothing new begins: {trouble}"
        if self.journal.state_of(digest) is PlanState.CANCELLING:
            return "the plan was cancelled"
        return self.held()

    def differences(self, plan: Plan) -> tuple[str, ...]:
        """Why a plan that is about to begin is stale, or nothing."""
        return (*plan.basis.differences(self.present(plan)), *forbidden(plan, self.hands.fleet))

    def obstacle(self, plan: Plan, digest: str, action: Action) -> str:
        """What of the world keeps the action from beginning, or nothing."""
        if action.kind not in RUNNABLE:
            return f"no backend here can run {action.kind}: do it by hand"
        kind = KINDS[action.kind]
        if lacking := kind.lacks(self.hands, action):
            return lacking
        token = self.expected_token(plan, digest, action)
        found = kind.differences(plan, action, token, self.journal.placement(), self.present(plan))
        if found:
            return f"no longer as planned: {'; '.join(found)}"
        try:
            shard = self.declared(action.shard)
            if self.hands.router_of(shard) is not None:  # known to be possible before the point of no return
                routing_table(
                    self.hands.fleet, self.journal.placement(), self.journal.endpoints(), self.journal.shard_keys()
                )
        except SidestepError as error:
            return str(error.args[0])
        return ""

    def action_run(self, plan: Plan, digest: str, action: Action, token: int) -> ActionRun:
        """Everything that one action needs. Raises SidestepError for what is no longer declared."""
        try:
            self.declared(action.shard)
            old = self.expected_token(plan, digest, action)
            work = Work(
                hands=self.hands, journal=self.journal, plan=plan, digest=digest, action=action,
                old_token=old, new_token=token,
            )  # fmt: skip
            hands = hands_of(action.kind, work)
        except KeyError as error:
            raise SidestepError(f"{error.args[0]} is no longer declared in {self.hands.fleet.source}") from error
        return ActionRun(
            journal=self.journal, plan=plan, digest=digest, action=action, hands=hands,
            faults=faults_of(self.faults, action.shard), pacing=self.pacing, changed=self.changed,
            clock=self.clock, stopping=lambda: self.stopping,
            halted=lambda: self.halted(digest), look_back=lambda: self.look_back(plan, digest, action, token),
        )  # fmt: skip

    def look_back(self, plan: Plan, digest: str, action: Action, token: int) -> None:
        """Before the commit: whether the source could take the shard back, written down with what would do it."""
        kind = KINDS[action.kind]
        token = self.expected_token(plan, digest, action) if kind.keeps_token else token
        way = kind.way_back(action, token, plan.number)
        if way is None:
            return
        why = problem(way, self.hands.fleet, self.present(plan), self.journal.placement())
        self.journal.set_way_back(digest, action.id, way, why)

    def expected_token(self, plan: Plan, digest: str, action: Action) -> int:
        """The planned token, or the one that an earlier action of this plan gave the shard."""
        token = action.token
        for earlier, status in pairs(plan, self.journal.status(digest)):
            if earlier.id == action.id:
                break
            if (
                earlier.shard == action.shard
                and status.state is ActionState.DONE
                and not KINDS[earlier.kind].keeps_token
            ):
                token = self.journal.token(digest, earlier.id)
        return token

    def declared(self, name: Label) -> ShardSpec:
        """The shard of that name. Raises SidestepError."""
        try:
            return self.hands.fleet.shard(name)
        except KeyError:
            raise SidestepError(f"shard {name} is not declared in {self.hands.fleet.source}") from None

    # -- the books

    def give_up(self, digest: str, action: Action, why: str) -> None:
        """The action cannot even be spoken to its hosts."""
        status = next(a for a in self.journal.status(digest).actions if a.id == action.id)
        if committed(status):
            steps = ", ".join(to_finish(status))
            text = f"{why}. It is committed: {steps} on {action.destination} are to be done by hand"
            self.end(digest, action, ActionState.FAILED_NEEDS_HUMAN, text)
            return
        if status.state in {ActionState.RUNNING, ActionState.TIMED_OUT}:
            self.journal.set_action(digest, action.id, ActionState.ABORTING, note=why)
        begun = ", ".join(to_take_back(status))
        if begun:
            text = f"{why}. Not committed: {begun} on {action.source} are to be taken back by hand"
            self.end(digest, action, ActionState.FAILED_NEEDS_HUMAN, text)
        else:
            self.end(digest, action, ActionState.ABORTED, f"{why}; nothing was begun")

    def end(self, digest: str, action: Action, state: ActionState, note: str) -> None:
        """An action ends without a run."""
        self.changed(self.journal.set_action(digest, action.id, state, note=note))
        self.settle(digest, action, state)

    def settle(self, digest: str, action: Action, state: ActionState) -> None:
        """The shard is free to move again, unless it waits for a person or for another action."""
        self.acting -= shards_of(action)
        if state is ActionState.FAILED_NEEDS_HUMAN:
            self.waiting.add(action.shard)
        mine = [(a, s) for a, s in pairs(*self.journal.plan(digest)) if a.shard == action.shard]
        if not all(final(ACTION, s.state) for _, s in mine):
            return
        self.moving -= shards_of(action)
        for a, s in mine:
            if s.state in {ActionState.FAILED_NEEDS_HUMAN, ActionState.ABORTED}:
                self.doubt((a.source, a.destination))

    def set_plan(self, digest: str, new: PlanState, note: str = "") -> PlanStatus:
        """Change the plan's state, and that of a plan that it undoes; and tell."""
        status = self.journal.set_state(digest, new, actor=ACTOR, note=scrub(note, 2000))
        self.changed(status)
        undone = self.journal.undone_by(digest)
        if undone:
            state = self.journal.state_of(undone)
            if new is PlanState.RUNNING and PlanState.UNDOING in PLAN[state]:
                self.set_plan(undone, PlanState.UNDOING)
            elif state is PlanState.UNDOING and new in _ENDED:
                self.set_plan(undone, PlanState.UNDONE if new is PlanState.SUCCEEDED else PlanState.PARTIAL, note)
        return status

    def conclude(self, plan: Plan, digest: str) -> PlanStatus:
        """The plan's end, from those of its actions; no end while one is unfinished."""
        status = self.journal.status(digest)
        both = pairs(plan, status)
        if any(not final(ACTION, s.state) for _, s in both):
            return status
        if status.state is PlanState.PAUSED:
            self.set_plan(digest, PlanState.RUNNING, "nothing was left to begin")
        cancelled = status.state is PlanState.CANCELLING
        left = [(a, s) for a, s in both if s.state not in {ActionState.DONE, ActionState.SKIPPED}]
        undone = ". ".join(f"action {a.id} ({a.shard}) {s.state}: {s.note}" for a, s in left)
        if not left and not cancelled:
            return self.set_plan(digest, PlanState.SUCCEEDED)
        if any(committed(s) for _, s in both):
            return self.set_plan(digest, PlanState.PARTIAL, undone or "cancelled after everything was committed")
        human = any(s.state is ActionState.FAILED_NEEDS_HUMAN for _, s in both)
        return self.set_plan(digest, PlanState.CANCELLED if cancelled and not human else PlanState.FAILED, undone)
