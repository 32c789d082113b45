"""Acts on proposals as far as levels, trust and the policy allow; says once why it waits for people."""

from __future__ import annotations

from typing import Final

from sidestep.autopilot.daemon_log import AUTOPILOT, Log
from sidestep.autopilot.levels import most_cautious
from sidestep.autopilot.levels_decide import decide
from sidestep.autopilot.levels_governor import Governor
from sidestep.autopilot.loop_approval import Approvals
from sidestep.autopilot.loop_proposals import Proposals
from sidestep.autopilot.loop_runs import Runs
from sidestep.autopilot.trust.gate import LEVELS
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError, StalePlan
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Plan

#: failed plans in a row after which the autopilot falls back to advise
BRAKE: Final = 2


class Acting:
    """One look at the planner's proposal after the other."""

    def __init__(
        self, governor: Governor, proposals: Proposals, approvals: Approvals, runs: Runs, log: Log, clock: Clock
    ) -> None:
        self._governor, self._proposals, self._approvals = governor, proposals, approvals
        self._runs, self._log, self._clock = runs, log, clock
        #: the plan that was last left to people, and why
        self._waiting = (-1, "")

    def act(self, contention: tuple[Contention, ...]) -> None:
        """Approve, note or leave the planner's proposal, if there is one."""
        governor = self._governor
        if LEVELS.index(governor.effective) >= LEVELS.index("semi") and self._runs.failures >= BRAKE:
            self._runs.failures = 0
            governor.brake(f"level {governor.effective} -> advise: the last {BRAKE} plans did not succeed")
            return
        plan = self._proposals.current()
        if plan is None:
            return
        held = most_cautious({action.id: governor.levels.of(action) for action in plan.actions})
        found = decide(
            plan, held, governor.gate.state.allowed, self._approvals.rules(plan),
            contention=contention, now=self._clock.wall(),
        )  # fmt: skip
        if found.does == "approve":
            self._approve(plan, found.level)
        elif found.does == "shadow":
            governor.shadow.note(plan, plan.digest(), found.why, self._clock.wall())
        elif found.why:
            self._wait_for_people(plan, found.why)

    def _approve(self, plan: Plan, level: str) -> None:
        reason = f"policy {plan.policy.name}, level {level}"
        try:
            self._approvals.approve(plan.digest(), actor=Label(AUTOPILOT), reason=reason, person=False)
        except StalePlan as error:
            self._log.say("plan", str(error.args[0]), plan=plan.number)
        except SidestepError as error:
            self._wait_for_people(plan, str(error.args[0]), "error")

    def _wait_for_people(self, plan: Plan, why: str, kind: str = "plan") -> None:
        """Say once why the policy leaves a plan to people."""
        if self._waiting == (plan.number, why):
            return
        self._waiting = plan.number, why
        if kind == "error":
            self._log.say("error", f"plan {plan.number} was not approved: {why}", plan=plan.number)
        else:
            self._log.say("plan", f"plan {plan.number} waits for approval: {why}", plan=plan.number)
