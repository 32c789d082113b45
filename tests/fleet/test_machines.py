"""State machines: one table each, complete, and nothing but the table."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet import machines
from sidestep.fleet.errors import IllegalTransition
from sidestep.fleet.machines import ActionState, HostState, PlanState, ShardState, StepState, advance, final

A, P = ActionState, PlanState
TABLES: list[tuple[Any, Any, Any]] = [
    (machines.PLAN, PlanState, PlanState.DRAFT),
    (machines.ACTION, ActionState, ActionState.PENDING),
    (machines.STEP, StepState, StepState.PENDING),
    (machines.HOST, HostState, HostState.UNKNOWN),
    (machines.SHARD, ShardState, ShardState.PENDING),
]
each = pytest.mark.parametrize(("table", "states", "start"), TABLES, ids=["plan", "action", "step", "host", "shard"])


@each
def test_the_table_names_every_state(table: Any, states: Any, start: Any) -> None:
    assert set(table) == set(states)
    assert all(target in states for targets in table.values() for target in targets)


@each
def test_every_state_can_be_reached(table: Any, states: Any, start: Any) -> None:
    reached, frontier = {start}, [start]
    while frontier:
        for target in table[frontier.pop()] - reached:
            reached.add(target)
            frontier.append(target)
    assert reached == set(states)


@each
@given(data=st.data())
def test_only_what_the_table_allows_happens(table: Any, states: Any, start: Any, data: st.DataObject) -> None:
    state = start
    for _ in range(12):
        wanted = data.draw(st.sampled_from(list(states)))
        if wanted in table[state]:
            state = advance(table, state, wanted)
            assert state is wanted
        else:
            with pytest.raises(IllegalTransition, match="allowed"):
                advance(table, state, wanted)


#: the documented machine of plans, written down a second time
PLANS = """
DRAFT: PROPOSED
PROPOSED: APPROVED REJECTED SUPERSEDED STALE EXPIRED
APPROVED: SCHEDULED RUNNING STALE EXPIRED CANCELLED
SCHEDULED: RUNNING
RUNNING: PAUSED CANCELLING SUCCEEDED PARTIAL FAILED
PAUSED: RUNNING CANCELLING
CANCELLING: CANCELLED PARTIAL FAILED
SUCCEEDED: UNDOING
PARTIAL: UNDOING
FAILED: UNDOING
CANCELLED: UNDOING
UNDOING: UNDONE PARTIAL
"""


def test_the_machine_of_plans_is_the_documented_one() -> None:
    documented = {old: set(new.split()) for old, _, new in (line.partition(":") for line in PLANS.strip().splitlines())}
    assert {str(old): {str(n) for n in new} for old, new in machines.PLAN.items() if new} == documented


def test_an_action_ends_only_in_the_documented_outcomes() -> None:
    ends = {state for state in A if final(machines.ACTION, state)}
    assert ends == {A.SKIPPED, A.CANCELLED, A.DONE, A.ABORTED, A.FAILED_NEEDS_HUMAN}
    assert machines.ACTION[A.PENDING] == {A.SKIPPED, A.BLOCKED, A.RUNNING, A.CANCELLED}


def test_a_running_action_is_aborted_before_it_is_given_up() -> None:
    """No way from RUNNING to ABORTED or to a human but through ABORTING or the commit point."""
    assert machines.ACTION[A.RUNNING] == {A.COMMITTED, A.DONE, A.ABORTING, A.TIMED_OUT}


def test_a_plan_goes_the_documented_way() -> None:
    walk = [P.DRAFT, P.PROPOSED, P.APPROVED, P.RUNNING, P.SUCCEEDED, P.UNDOING, P.UNDONE]
    for old, new in itertools.pairwise(walk):
        advance(machines.PLAN, old, new)


def test_a_stale_plan_is_never_revived() -> None:
    assert final(machines.PLAN, P.STALE)
    assert P.STALE in machines.PLAN[P.PROPOSED]
    assert P.STALE in machines.PLAN[P.APPROVED]
    assert P.STALE not in machines.PLAN[P.RUNNING]


def test_a_committed_action_never_goes_back() -> None:
    """S2.27: after the commit point there is only forward."""
    assert machines.ACTION[A.COMMITTED] == {A.DONE, A.FAILED_NEEDS_HUMAN}


def test_an_action_that_timed_out_is_aborted_not_forgotten() -> None:
    assert machines.ACTION[A.TIMED_OUT] == {A.ABORTING}
    assert machines.ACTION[A.ABORTING] == {A.ABORTED, A.FAILED_NEEDS_HUMAN}
