"""Runs approved plans, one action at a time, and puts right what a dead predecessor left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final

from sidestep.autopilot.approval import action_differences, expired
from sidestep.autopilot.executor_action import ActionRun
from sidestep.autopilot.executor_retry import Pacing, Trouble
from sidestep.autopilot.faults import NO_FAULTS, Faults
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.recovery import Decision, Way, committed, decide, to_finish, to_take_back
from sidestep.autopilot.steps import Hands, MoveHands, move_of, routing_table
from sidestep.backends.base import Backend, Router
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ACTION, ActionState, PlanState, final
from sidestep.fleet.plans import Action, ActionStatus, Basis, Plan, PlanStatus

ACTOR: Final = Label("executor")


def _ignore(_: object) -> None:
    """Nobody wants to know."""


class Executor:
    """The only thing that moves shards. Everything it knows is in the journal.

    ``present`` gives the facts that hold now for the hosts of a plan; ``changed`` is called
    after every change of a plan's status; ``doubt`` with the hosts of an action that ended
    otherwise than planned, which may keep something of it; ``pacing`` says how long hosts are insisted on.
    """

    def __init__(
        self,
        *,
        fleet: FleetSpec,
        journal: Journal,
        backend_for: Callable[[ShardSpec], Backend],
        transport_for: Callable[[str], Transport],
        router: Router | None,
        present: Callable[[Plan], Basis],
        clock: Callable[[], float] = time.time,
        changed: Callable[[PlanStatus], None] = _ignore,
        doubt: Callable[[Collection[str]], None] = _ignore,
        faults: Faults = NO_FAULTS,
        pacing: Pacing = Pacing(),  # noqa: B008 - frozen
    ) -> None:
        self._hands = Hands(fleet=fleet, backend_for=backend_for, transport_for=transport_for, router=router)
        self._journal, self._present, self._clock = journal, present, clock
        self._changed, self._doubt, self._faults, self._pacing = changed, doubt, faults, pacing
        self._turn = asyncio.Lock()
        self._stopping = False
        self._moving: set[str] = set()
        self._waiting: set[str] = set()

    @property
    def moving(self) -> frozenset[str]:
        """Shards in an unfinished action, and those that wait for a person since the daemon started."""
        return frozenset(self._moving | self._waiting)

    @property
    def busy(self) -> frozenset[str]:
        """Shards in an unfinished action: nobody else may touch them."""
        return frozenset(self._moving)

    def served(self, shards: Collection[str]) -> None:
        """These shards were found or made to serve: those among them that waited for a person do no longer."""
        self._waiting -= set(shards)

    async def run(self, digest: str) -> PlanStatus:
        """Run an approved plan to its end; it becomes STALE or EXPIRED instead if it no longer fits.

        Raises KeyError for an unknown plan, SidestepError for one that is not APPROVED, and
        JournalError if the journal cannot be written.
        """
        async with self._turn:
            plan, status = self._journal.plan(digest)
            if status.state is not PlanState.APPROVED:
                raise SidestepError(f"plan {plan.number} is {status.state}: only an approved plan runs")
            if self._stopping:
                return status
            if late := expired(plan, self._clock()):
                return self._set(digest, PlanState.EXPIRED, late)
            if differences := plan.basis.differences(self._present(plan)):
                return self._set(digest, PlanState.STALE, "; ".join(differences))
            self._set(digest, PlanState.RUNNING)
            self._moving.update(action.shard for action in plan.actions)
            for action in plan.actions:
                await self._start(plan, digest, action)
            return self._conclude(plan, digest)

    async def recover(self) -> tuple[PlanStatus, ...]:
        """Finish or take back what is left RUNNING; call it at start, before anything else."""
        async with self._turn:
            return tuple([await self._recover(plan, s) for plan, s in self._journal.plans_in(PlanState.RUNNING)])

    async def stop(self) -> None:
        """Finish the running step, then bring its shard to where it serves, and stop.

        An action that is not committed is taken back, a committed one is finished; what cannot be
        done at once is left to ``recover``.
        """
        self._stopping = True
        async with self._turn:
            return

    async def _start(self, plan: Plan, digest: str, action: Action) -> None:
        trouble = self._journal.trouble
        if why := f"nothing new begins: {trouble}" if trouble else self._obstacle(plan, digest, action):
            self._end(digest, action, ActionState.CANCELLED, why)
            return
        token = self._journal.begin_action(digest, action.id)
        await self._carry(plan, digest, action, token, None)

    def _obstacle(self, plan: Plan, digest: str, action: Action) -> str:
        """Why the action must not begin now, or nothing."""
        states = {a.id: a.state for a in self._journal.status(digest).actions}
        if self._stopping:
            return "the daemon was told to stop before it began"
        if ActionState.FAILED_NEEDS_HUMAN in states.values():
            return "an action before it needs a person"
        for other in action.after:
            if states.get(other) is not ActionState.DONE:
                return f"it may only follow action {other}, which is {states.get(other, 'not in this plan')}"
        token = self._expected_token(plan, digest, action)
        found = action_differences(plan, action, token, self._journal.placement(), self._present(plan))
        if found:
            return f"no longer as planned: {'; '.join(found)}"
        try:
            shard = self._declared_shard(action.shard)
            if self._hands.router_of(shard) is not None:  # known to be possible before the point of no return
                routing_table(self._hands.fleet, self._journal.placement(), self._journal.endpoints())
        except SidestepError as error:
            return str(error.args[0])
        return ""

    async def _carry(self, plan: Plan, digest: str, action: Action, token: int, left: Decision | None) -> None:
        """Do the action, or what a decision says is left of it."""
        try:
            run = self._action_run(plan, digest, action, token)
        except SidestepError as error:
            self._give_up(digest, action, str(error.args[0]))
            return
        if left is None:
            state = await run.forward()
        elif left.way is Way.FORWARD:
            state = await run.finish(left.steps)
        else:
            state = await run.unwind(Trouble(left.text))
        if final(ACTION, state):
            self._settle(digest, action, state)

    async def _recover(self, plan: Plan, status: PlanStatus) -> PlanStatus:
        decisions = [(a, decide(a, s)) for a, s in self._pairs(plan, status)]
        self._moving.update(a.shard for a, d in decisions if d.way is not Way.NOWHERE)
        for action, decision in decisions:
            if decision.way is Way.NOWHERE:
                continue
            if decision.way is Way.CANCEL:
                self._end(status.digest, action, ActionState.CANCELLED, decision.text)
                continue
            self._journal.record("daemon", f"plan {plan.number}: {decision.text}", actor=ACTOR, plan=plan.number)
            token = self._journal.token(status.digest, action.id)
            await self._carry(plan, status.digest, action, token, decision)
        return self._conclude(plan, status.digest)

    def _action_run(self, plan: Plan, digest: str, action: Action, token: int) -> ActionRun:
        """Everything that one action needs. Raises SidestepError for what is no longer declared."""
        try:
            self._declared_shard(action.shard)
            old = self._expected_token(plan, digest, action)
            move = move_of(self._hands.fleet, plan, action, digest=digest, old_token=old, new_token=token)
            hands = MoveHands(
                hands=self._hands,
                move=move,
                placement=self._journal.placement,
                endpoints=self._journal.endpoints,
            )
        except KeyError as error:
            raise SidestepError(f"{error.args[0]} is no longer declared in {self._hands.fleet.source}") from error
        return ActionRun(
            journal=self._journal, plan=plan, digest=digest, action=action, hands=hands, faults=self._faults,
            pacing=self._pacing, changed=self._changed, clock=self._clock, stopping=lambda: self._stopping,
        )  # fmt: skip

    def _give_up(self, digest: str, action: Action, why: str) -> None:
        """The action cannot even be spoken to its hosts."""
        status = next(a for a in self._journal.status(digest).actions if a.id == action.id)
        if committed(status):
            steps = ", ".join(to_finish(status))
            text = f"{why}. It is committed: {steps} on {action.destination} are to be done by hand"
            self._end(digest, action, ActionState.FAILED_NEEDS_HUMAN, text)
            return
        if status.state in {ActionState.RUNNING, ActionState.TIMED_OUT}:
            self._journal.set_action(digest, action.id, ActionState.ABORTING, note=why)
        begun = ", ".join(to_take_back(status))
        if begun:
            text = f"{why}. Not committed: {begun} on {action.source} are to be taken back by hand"
            self._end(digest, action, ActionState.FAILED_NEEDS_HUMAN, text)
        else:
            self._end(digest, action, ActionState.ABORTED, f"{why}; nothing was begun")

    def _expected_token(self, plan: Plan, digest: str, action: Action) -> int:
        """The planned token, or the one that an earlier action of this plan gave the shard."""
        token = action.token
        for earlier, status in self._pairs(plan, self._journal.status(digest)):
            if earlier.id == action.id:
                break
            if earlier.shard == action.shard and status.state is ActionState.DONE:
                token = self._journal.token(digest, earlier.id)
        return token

    def _declared_shard(self, name: Label) -> ShardSpec:
        try:
            return self._hands.fleet.shard(name)
        except KeyError:
            raise SidestepError(f"shard {name} is not declared in {self._hands.fleet.source}") from None

    def _conclude(self, plan: Plan, digest: str) -> PlanStatus:
        """The plan's end, from those of its actions; no end while one is unfinished."""
        status = self._journal.status(digest)
        pairs = self._pairs(plan, status)
        if any(not final(ACTION, s.state) for _, s in pairs):
            return status
        undone = [f"action {a.id} ({a.shard}) {s.state}: {s.note}" for a, s in pairs if s.state is not ActionState.DONE]
        if not undone:
            return self._set(digest, PlanState.SUCCEEDED)
        changed = any(committed(s) for _, s in pairs)
        return self._set(digest, PlanState.PARTIAL if changed else PlanState.FAILED, ". ".join(undone))

    @staticmethod
    def _pairs(plan: Plan, status: PlanStatus) -> list[tuple[Action, ActionStatus]]:
        return list(zip(plan.actions, status.actions, strict=True))

    def _end(self, digest: str, action: Action, state: ActionState, note: str) -> None:
        self._changed(self._journal.set_action(digest, action.id, state, note=note))
        self._settle(digest, action, state)

    def _settle(self, digest: str, action: Action, state: ActionState) -> None:
        """The shard is free to move again, unless it waits for a person or for another action."""
        if state is ActionState.FAILED_NEEDS_HUMAN:
            self._waiting.add(action.shard)
        mine = [(a, s) for a, s in self._pairs(*self._journal.plan(digest)) if a.shard == action.shard]
        if not all(final(ACTION, s.state) for _, s in mine):
            return
        self._moving.discard(action.shard)
        for a, s in mine:
            if s.state in {ActionState.FAILED_NEEDS_HUMAN, ActionState.ABORTED}:
                self._doubt((a.source, a.destination))

    def _set(self, digest: str, new: PlanState, note: str = "") -> PlanStatus:
        status = self._journal.set_state(digest, new, actor=ACTOR, note=scrub(note, 2000))
        self._changed(status)
        return status
