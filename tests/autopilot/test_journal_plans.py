"""Plans in the journal: numbered, named by digest, and changed only by their machine."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from move_doubles import OPERATOR, Bench, an_action

from sidestep.autopilot.journal_store import JournalError
from sidestep.fleet.errors import IllegalTransition, UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PLAN, ActionState, PlanState, StepName
from sidestep.fleet.placement import Owner, PlacementConflict
from sidestep.fleet.plans import Measured


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_plan_comes_back_as_it_was_added(bench: Bench) -> None:
    plan = bench.plan()
    status = bench.journal.add(plan)
    bench.reborn()
    assert bench.journal.plan(status.digest) == (plan, status)
    assert status.state is PlanState.PROPOSED
    assert status.digest == plan.digest()


def test_a_newer_proposal_supersedes_those_of_its_author_only(bench: Bench) -> None:
    old = bench.journal.add(bench.plan()).digest
    other = bench.journal.add(bench.plan(author="operator")).digest
    approved = bench.approved(author="third")
    new = bench.journal.add(bench.plan()).digest
    states = {s.digest: s.state for _, s in bench.journal.plans()}
    assert states[old] is PlanState.SUPERSEDED
    assert states[other] is states[new] is PlanState.PROPOSED
    assert states[approved] is PlanState.APPROVED
    assert [p.number for p, _ in bench.journal.plans()] == [4, 3, 2, 1]
    assert [p.number for p, _ in bench.journal.plans(limit=2)] == [4, 3]


def test_adding_a_plan_twice_changes_nothing(bench: Bench) -> None:
    plan = bench.plan()
    bench.journal.add(plan)
    status = bench.journal.set_state(plan.digest(), PlanState.APPROVED, actor=OPERATOR)
    assert bench.journal.add(plan) == status


def test_a_number_is_given_once(bench: Bench) -> None:
    plan = bench.plan()
    bench.journal.add(plan)
    with pytest.raises(JournalError, match="number 1 is taken"):
        bench.journal.add(msgspec.structs.replace(plan, snapshot=8))


def test_a_plan_that_would_not_read_back_as_itself_is_refused(bench: Bench) -> None:
    with pytest.raises(JournalError, match="cannot be read back"):
        bench.journal.add(bench.plan(msgspec.structs.replace(an_action(), transfer_s=math.nan)))
    with pytest.raises(JournalError, match="does not read back as itself"):
        bench.journal.add(bench.plan(msgspec.structs.replace(an_action(), transfer_s=3)))


def test_a_plan_that_was_changed_in_the_file_is_not_given_out(bench: Bench) -> None:
    """What runs is what was approved, byte for byte."""
    digest = bench.approved()
    bench.journal._db.execute("UPDATE plan SET body = replace(body, 'h3', 'h2')")
    with pytest.raises(JournalError, match="does not read back as itself"):
        bench.journal.plan(digest)


def test_plans_are_found_by_number_and_by_prefix(bench: Bench) -> None:
    digests = [bench.journal.add(bench.plan()).digest for _ in range(3)]
    assert bench.journal.find("2")[1].digest == digests[1]
    for digest in digests:
        assert bench.journal.find(digest[:10].upper())[1].digest == digest
    for ref in ("", "99", digests[0][:5] if not digests[0][:5].isdigit() else "abcde", "zzzzzz", "%%%%%%", "0" * 40):
        with pytest.raises(UsageError, match="no plan"):
            bench.journal.find(ref)
    with pytest.raises(KeyError):
        bench.journal.plan(digests[0][:10])


def test_an_ambiguous_prefix_is_refused_with_the_numbers(bench: Bench) -> None:
    digests = [bench.journal.add(bench.plan()).digest for _ in range(2)]
    bench.journal._db.execute("PRAGMA foreign_keys = OFF")
    for number, digest in enumerate(digests, 1):
        bench.journal._db.execute("UPDATE plan SET digest = ? WHERE digest = ?", (f"abcdef{number}" + "0" * 57, digest))
    with pytest.raises(UsageError, match="ambiguous: plans 1, 2"):
        bench.journal.find("abcdef")


def test_approval_keeps_who_and_why_and_logs_both(bench: Bench) -> None:
    status = bench.journal.status(bench.approved())
    assert (status.approved_by, status.reason) == ("operator", "peak at noon")
    event = bench.journal.events()[-1]
    assert (event.kind, event.actor, event.plan) == ("approve", "operator", 1)
    assert "plan 1 APPROVED; peak at noon" in event.text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(list(PlanState)), max_size=6))
def test_no_sequence_of_calls_leaves_the_state_machine(wanted: list[PlanState]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        state = PlanState.PROPOSED
        digest = bench.journal.add(bench.plan()).digest
        for new in wanted:
            events = len(bench.journal.events())
            if new in PLAN[state]:
                state = bench.journal.set_state(digest, new, actor=OPERATOR).state
                assert state is new
                assert len(bench.journal.events()) == events + 1
            else:
                with pytest.raises(IllegalTransition):
                    bench.journal.set_state(digest, new, actor=OPERATOR)
                assert bench.journal.status(digest).state is state
                assert len(bench.journal.events()) == events, "a refused change leaves no trace"
        bench.journal.close()


def test_actions_and_steps_follow_their_machines_too(bench: Bench) -> None:
    digest = bench.approved()
    with pytest.raises(IllegalTransition):
        bench.journal.set_action(digest, 1, ActionState.DONE)
    with pytest.raises(IllegalTransition):
        bench.journal.end_step(digest, 1, StepName.FREEZE, error="never begun", ms=1.0)
    with pytest.raises(KeyError):
        bench.journal.begin_step(digest, 9, StepName.FREEZE)


def test_the_outcome_may_hold_what_could_not_be_measured(bench: Bench) -> None:
    digest = bench.approved()
    measured = Measured(
        host=Label("h1"), dimension="cpu", predicted_without=0.97, predicted_with=0.6, measured=math.nan
    )
    assert math.isnan(bench.journal.set_outcome(digest, (measured,)).outcome[0].measured)
    assert bench.journal.events()[-1].kind == "outcome"


def test_adopting_takes_only_what_is_new(bench: Bench) -> None:
    before = bench.journal.placement()
    assert before.generation == 1
    again = bench.journal.adopt({Label("s1"): Owner(Label("h1"), 1)}, OPERATOR)
    assert again == before
    after = bench.journal.adopt({Label("s9"): Owner(Label("h2"), 17)}, OPERATOR)
    assert (after.generation, after.owners[Label("s9")].token) == (17, 17)
    with pytest.raises(PlacementConflict, match="shard s1 is owned by h1"):
        bench.journal.adopt({Label("s1"): Owner(Label("h2"), 2), Label("s8"): Owner(Label("h2"), 2)}, OPERATOR)
    assert bench.journal.placement() == after, "a refused adoption takes nothing"


def test_committing_twice_moves_once(bench: Bench) -> None:
    digest = bench.approved()
    bench.journal.begin_action(digest, 1)
    move = {"digest": digest, "action": 1, "shard": Label("s1"), "to": Label("h3"), "expected_token": 1}
    first = bench.journal.commit_move(**move)  # type: ignore[arg-type]
    bench.reborn()
    assert bench.journal.commit_move(**move) == first  # type: ignore[arg-type]
    assert first.generation == 2
    assert bench.journal.status(digest).actions[0].state is ActionState.COMMITTED


@pytest.mark.parametrize("state", [None, ActionState.ABORTING])
def test_an_action_that_does_not_run_cannot_commit(bench: Bench, state: ActionState | None) -> None:
    digest = bench.approved()
    if state is not None:
        bench.journal.begin_action(digest, 1)
        bench.journal.set_action(digest, 1, state)
    with pytest.raises(PlacementConflict, match="cannot commit"):
        bench.journal.commit_move(digest=digest, action=1, shard=Label("s1"), to=Label("h3"), expected_token=1)


def test_the_wrong_token_cannot_commit(bench: Bench) -> None:
    """S2.27: whoever holds an old token is no owner."""
    digest = bench.approved()
    bench.journal.begin_action(digest, 1)
    with pytest.raises(PlacementConflict, match="has token 1 on h1, expected token 0"):
        bench.journal.commit_move(digest=digest, action=1, shard=Label("s1"), to=Label("h3"), expected_token=0)
