"""Approval: the one door between a proposal and its run, the same for people and for the policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sidestep.autopilot.approval import check_approval
from sidestep.autopilot.approval_rules import check_rules, check_skip
from sidestep.autopilot.daemon_log import AUTOPILOT
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.loop_runs import Runs
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError, StalePlan
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import Basis, Plan, PlanStatus


class Approvals:
    """Checks a plan against the present world, records the decision, and starts the run.

    ``present`` gives the facts that a plan relies on, as they are now.
    """

    def __init__(self, journal: Journal, runs: Runs, clock: Clock, present: Callable[[Plan], Basis]) -> None:
        self._journal, self._runs, self._clock, self._present = journal, runs, clock, present
        #: the policy in force, which counts beside the plan's own
        self.policy: Callable[[], Policy] | None = None
        #: why a plan could not be run here at all, or ""
        self.refuses: Callable[[Plan], str] = lambda plan: ""

    def rules(self, plan: Plan) -> tuple[Policy, ...]:
        """The policies that an approval of this plan has to satisfy."""
        return (plan.policy, self.policy()) if self.policy is not None else (plan.policy,)

    def approve(
        self,
        digest: str,
        *,
        actor: Label,
        reason: str,
        skip: Sequence[int] = (),
        outside: str = "",
        person: bool = True,
    ) -> Plan:
        """Approve exactly the plan of this whole digest, and start it; without the actions in ``skip``.

        ``outside`` is why a person approves though no window is open; ``person`` is False for the policy.

        Raises UsageError, SidestepError, and StalePlan (the plan is STALE then) as ``check_approval``
        does; UsageError also for a digest that no plan has.
        """
        plan, status = self._journal.find(digest)
        if self._journal.trouble:
            hint = "make room on the disk of the journal; approve it again then"
            raise SidestepError(f"plan {plan.number} is not approved: {self._journal.trouble}", hint=hint)
        try:
            check_approval(
                plan,
                status,
                digest=digest,
                now=self._clock.wall(),
                present=self._present(plan),
                actor=actor,
                reason=reason,
            )
        except StalePlan as error:
            if status.state is not PlanState.STALE:
                note = "; ".join(error.differences)
                self._journal.set_state(digest, PlanState.STALE, actor=Label(AUTOPILOT), note=note)
            raise
        if why := self.refuses(plan):
            raise SidestepError(f"plan {plan.number} is not approved: {why}", hint="reject it, and wait for the next")
        check_rules(
            plan, self.rules(plan), now=self._clock.wall(), actor=actor, reason=reason, outside=outside, person=person
        )
        check_skip(plan, skip)
        late = f"outside the change window: {outside}" if outside.strip() else ""
        why = "; ".join(filter(None, (reason, late)))
        self._journal.approve(digest, actor=actor, reason=why, skip=skip)
        self._runs.start(digest)
        return plan

    def reject(self, digest: str, *, actor: Label, reason: str) -> tuple[Plan, PlanStatus]:
        """Refuse a proposed plan. Raises UsageError and IllegalTransition."""
        plan, status = self._journal.find(digest)
        return plan, self._journal.set_state(status.digest, PlanState.REJECTED, actor=actor, reason=reason)
