"""Runs approved plans, and puts right what a dead predecessor left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final

from sidestep.autopilot.approval import expired
from sidestep.autopilot.capsules.base import Capsules
from sidestep.autopilot.executor_context import ACTOR, Context, pairs
from sidestep.autopilot.executor_graph import shards_of
from sidestep.autopilot.executor_kinds import PLUGGED, kind_of
from sidestep.autopilot.executor_plan import POLL, PlanRun, carry, together
from sidestep.autopilot.executor_retry import Pacing
from sidestep.autopilot.failover.base import Rescue
from sidestep.autopilot.faults import NO_FAULTS, Faults
from sidestep.autopilot.fencing.base import Fencer
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.recovery import Decision, Way, decide
from sidestep.autopilot.steps import Hands
from sidestep.autopilot.undo import problem, reverse
from sidestep.backends.base import Backend, Router
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ACTION, PLAN, ActionState, PlanState, final
from sidestep.fleet.plans import Action, Basis, Plan, PlanStatus

#: plans that have begun and not ended: what a daemon has to look after when it starts
UNFINISHED: Final = (PlanState.RUNNING, PlanState.PAUSED, PlanState.CANCELLING)

#: plans that were left, and of each action the way that it goes
_Left = tuple[tuple[tuple[Plan, PlanStatus], ...], list[tuple[Plan, str, Action, int, Decision]]]


def _ignore(_: object) -> None:
    """Nobody wants to know."""


def _nothing() -> str:
    return ""


def _no_strain(_: str) -> str:
    return ""


class Executor:
    """The only thing that moves shards. Everything it knows is in the journal.

    ``present`` gives the facts that hold now for the hosts of a plan; ``changed`` is called
    after every change of a plan's status; ``doubt`` with the hosts of an action that ended
    otherwise than planned, which may keep something of it; ``pacing`` says how long hosts are insisted on;
    ``held`` why nothing new may begin, or ""; ``strain`` why a host should have less to do, or "".
    Without ``fencer`` and ``rescue`` no failover is run.
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
        held: Callable[[], str] = _nothing,
        strain: Callable[[str], str] = _no_strain,
        fencer: Fencer | None = None,
        capsules: Capsules | None = None,
        rescue: Rescue | None = None,
    ) -> None:
        self._context = Context(
            hands=Hands(
                fleet=fleet, backend_for=backend_for, transport_for=transport_for, router=router,
                fencer=fencer, capsules=capsules, rescue=rescue,
            ),
            journal=journal, present=present, clock=clock, changed=changed, doubt=doubt, faults=faults,
            pacing=pacing, held=held, strain=strain,
        )  # fmt: skip
        self._journal = journal
        self._turn = asyncio.Lock()
        #: digest of the plan that runs, or ""
        self.driving = ""
        self._taken: _Left | None = None

    @property
    def moving(self) -> frozenset[str]:
        """Shards of plans that have not ended, and those that wait for a person since the daemon started."""
        return frozenset(self._context.moving | self._context.waiting)

    @property
    def busy(self) -> frozenset[str]:
        """Shards in an action that has begun and not ended: nobody else may touch them."""
        return frozenset(self._context.acting)

    def served(self, shards: Collection[str]) -> None:
        """These shards were found or made to serve: those among them that waited for a person do no longer."""
        self._context.waiting -= set(shards)

    def undo(self, digest: str, *, author: Label, reason: str = "") -> PlanStatus:
        """Propose the way back of a plan that ran; it is approved and run like any other plan.

        Raises SidestepError, with everything that is in the way, if not all of it can be taken back.
        """
        context, journal = self._context, self._journal
        plan, status = journal.plan(digest)
        if PlanState.UNDOING not in PLAN[status.state]:
            raise SidestepError(f"plan {plan.number} is {status.state}: only a plan that has run is undone")
        placement, present, known = journal.placement(), context.present(plan), journal.ways_back(digest)
        at = {shard: (owner.host, owner.token) for shard, owner in placement.owners.items()}
        at |= {shard: (Label(""), token) for shard, token in placement.queued.items()}
        ran = [a for a, s in pairs(plan, status) if s.state is ActionState.DONE]
        made_back = [
            known[a.id][0] if a.id in known else kind_of(a).way_back(a, journal.token(digest, a.id), plan.number)
            for a in ran
        ]
        ways = [
            way for way in made_back if way and at.get(way.shard) == (way.source, way.token)
        ]  # else it has moved on since
        if not ways:
            raise SidestepError(f"nothing of plan {plan.number} is left to undo")
        wrong = [why for way in ways if (why := problem(way, context.hands.fleet, present, placement))]
        if wrong:
            raise SidestepError(f"plan {plan.number} cannot be undone now: {'; '.join(wrong)}")
        made = reverse(
            plan, ways, hosts={str(h.host): h for h in present.hosts}, placement=placement,
            number=journal.next_number(), created=context.clock(), author=author, reason=reason,
        )  # fmt: skip
        return journal.add_reversal(made, digest)

    def refusal(self, plan: Plan) -> str:
        """Why an action of a plugin in this plan could not be run here, or "": asked before anybody approves it."""
        context = self._context
        for action in plan.actions:
            if action.kind in PLUGGED and (why := kind_of(action).lacks(context.hands, action)):
                return f"action {action.id}: {why}"
        return ""

    def wake(self) -> None:
        """Look again at once: somebody paused, resumed, cancelled, held or released."""
        self._context.news.set()

    async def run(self, digest: str) -> PlanStatus:
        """Run an approved plan to its end; it becomes STALE or EXPIRED instead if it no longer fits.

        While everything is held it waits. A plan that was paused before a restart, and is RUNNING again
        or CANCELLING, goes on. Raises KeyError for an unknown plan, SidestepError for one that may not run,
        and JournalError if the journal cannot be written.
        """
        async with self._turn:
            plan, status = self._journal.plan(digest)
            again = status.state in {PlanState.RUNNING, PlanState.CANCELLING} and self._rests(status)
            if not again:
                status = await self._admit(plan, digest)
                if status.state is not PlanState.RUNNING:
                    return status
            open_ = {name for a, s in pairs(plan, status) if not final(ACTION, s.state) for name in shards_of(a)}
            self._context.moving.update(open_)
            self.driving = digest
            try:
                await PlanRun(self._context, plan, digest).drive()
            finally:
                self.driving = ""
            return self._context.conclude(plan, digest)

    def take_up(self) -> None:
        """Decide what ``recover`` will do, from the journal alone: from now on all of that is busy."""
        self._taken = self._decided()

    async def recover(self) -> tuple[PlanStatus, ...]:
        """Finish or take back what plans have begun and not ended; call it at start, before anything else.

        All of it is busy from the first moment on, and put right side by side. A paused plan stays
        paused, with what it has not begun.
        """
        async with self._turn:
            found, work = self._taken or self._decided()
            self._taken = None
            loop = asyncio.get_running_loop()
            await together([loop.create_task(carry(self._context, *one)) for one in work])
            return tuple(self._context.conclude(plan, status.digest) for plan, status in found)

    async def stop(self) -> None:
        """Finish the running steps, then bring their shards to where they serve, and stop.

        An action that is not committed is taken back, a committed one is finished; what cannot be
        done at once is left to ``recover``.
        """
        self._context.stopping = True
        self.wake()
        async with self._turn:
            return

    async def _admit(self, plan: Plan, digest: str) -> PlanStatus:
        """The plan as it is after the checks at its start: RUNNING, unless it may not run, or may not any more."""
        context = self._context
        while True:
            status = self._journal.status(digest)
            if status.state is not PlanState.APPROVED:
                raise SidestepError(f"plan {plan.number} is {status.state}: only an approved plan runs")
            if context.stopping:
                return status
            if late := expired(plan, context.clock()):
                return context.set_plan(digest, PlanState.EXPIRED, late)
            if not context.held():
                break
            await self._pause()
            if self._journal.state_of(digest) is PlanState.CANCELLED:
                return self._journal.status(digest)
        if differences := context.differences(plan):
            return context.set_plan(digest, PlanState.STALE, "; ".join(differences))
        return context.set_plan(digest, PlanState.RUNNING)

    async def _pause(self) -> None:
        self._context.news.clear()
        try:
            async with asyncio.timeout(POLL):
                await self._context.news.wait()
        except TimeoutError:
            return

    def _decided(self) -> _Left:
        """What there is to do about everything that was left; decided before anything of it is done."""
        context, work = self._context, list[tuple[Plan, str, Action, int, Decision]]()
        found = self._journal.plans_in(*UNFINISHED)
        for plan, status in found:
            for action, left in pairs(plan, status):
                decision = decide(action, left)
                if decision.way is Way.NOWHERE:
                    continue
                context.moving.update(shards_of(action))
                if decision.way is Way.CANCEL:
                    if status.state is not PlanState.PAUSED:
                        context.end(status.digest, action, ActionState.CANCELLED, decision.text)
                    continue
                context.acting.update(shards_of(action))
                self._journal.record("daemon", f"plan {plan.number}: {decision.text}", actor=ACTOR, plan=plan.number)
                token = self._journal.token(status.digest, action.id)
                work.append((plan, status.digest, action, token, decision))
        return found, work

    @staticmethod
    def _rests(status: PlanStatus) -> bool:
        """Whether nothing of the plan is under way, and something has not begun."""
        open_ = {ActionState.PENDING, ActionState.BLOCKED}
        states = [a.state for a in status.actions]
        return all(s in open_ or final(ACTION, s) for s in states) and any(s in open_ for s in states)
