"""The daemon plans with the goals of plugins as well."""

from __future__ import annotations

from sidestep.autopilot import daemon_planning, loop_proposals, planner
from sidestep.planning.goals import BUILT_IN


def test_the_loop_and_every_question_plan_with_all_goals_that_are_installed() -> None:
    assert dict(planner.propose.keywords["goals"]) == dict(BUILT_IN)
    assert loop_proposals.Proposals.__init__.__kwdefaults__["planner"] is planner.propose
    assert daemon_planning.PlanDesk.__dataclass_fields__["planner"].default is planner.propose
