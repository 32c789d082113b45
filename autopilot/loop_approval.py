"""Approval: the one door between a proposal and its run, the same for people and for the policy."""

from __future__ import annotations

from collections.abc import Callable

from sidestep.autopilot.approval import check_approval
from sidestep.autopilot.daemon_log import AUTOPILOT
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.loop_runs import Runs
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError, StalePlan
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import Basis, Plan, PlanStatus


class Approvals:
    """Checks a plan against the present world, records the decision, and starts the run.

    ``present`` gives the facts that a plan relies on, as they are now.
    """

    def __init__(self, journal: Journal, runs: Runs, clock: Clock, present: Callable[[Plan], Basis]) -> None:
        self._journal, self._runs, self._clock, self._present = journal, runs, clock, present

    def approve(self, digest: str, *, actor: Label, reason: str) -> Plan:
        """Approve exactly the plan of this whole digest, and start it.

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
        self._journal.set_state(digest, PlanState.APPROVED, actor=actor, reason=reason)
        self._runs.start(digest)
        return plan

    def reject(self, digest: str, *, actor: Label, reason: str) -> tuple[Plan, PlanStatus]:
        """Refuse a proposed plan. Raises UsageError and IllegalTransition."""
        plan, status = self._journal.find(digest)
        return plan, self._journal.set_state(status.digest, PlanState.REJECTED, actor=actor, reason=reason)
