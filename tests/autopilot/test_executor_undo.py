"""Undo: the way back is known before the commit, proposed on demand, approved like any plan, and driven to its end."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from move_doubles import OPERATOR, Bench, FaultsAt, an_action
from test_executor_side_by_side import wide

from sidestep.autopilot import undo
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState, PlanState
from sidestep.planning.goals import About

P = PlanState
#: s3 goes where s1 has left
CHAIN = (an_action(1), an_action(2, "s3", "h2", "h1", after=(1,)))


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return wide(await Bench(tmp_path).ready())


async def approve_and_run(bench: Bench, digest: str, *faults: tuple[str, str]) -> PlanState:
    bench.journal.set_state(digest, P.APPROVED, actor=OPERATOR)
    return (await bench.executor(FaultsAt(*faults)).run(digest)).state


async def test_the_way_back_is_looked_into_and_written_down_before_the_commit(bench: Bench) -> None:
    """S2.27: not only after the point of no return."""
    digest = bench.approved()
    bench.states["h1"] = "READY"
    await bench.executor(FaultsAt(("commit:before", "error"))).run(digest)
    assert bench.journal.ways_back(digest) == {}, "it never came to the commit"
    digest = bench.approved()
    await bench.executor().run(digest)
    ((way, why),) = bench.journal.ways_back(digest).values()
    assert (way.shard, way.source, way.destination, way.token, why) == ("s1", "h3", "h1", 3, "")
    bench.journal.verify_chain()


async def test_a_source_that_could_not_take_it_back_is_said_before_the_commit(bench: Bench) -> None:
    rules = (msgspec.structs.replace(bench.fleet.shards[0], avoid=(Label("s2"),)), *bench.fleet.shards[1:])
    bench.fleet = msgspec.structs.replace(bench.fleet, shards=rules)
    status = await bench.executor().run(bench.approved())
    assert status.state is P.SUCCEEDED, "a broken rule is repaired, although there is no way back"
    ((_, why),) = bench.journal.ways_back(status.digest).values()
    assert why == "s1 must not be beside s2, which is on h1 now"
    assert any("no way back: s1 must not be beside s2" in e.text for e in bench.journal.events())


async def test_an_undo_is_a_plan_in_reverse_order_that_waits_for_approval(bench: Bench) -> None:
    digest = bench.approved(*CHAIN)
    executor = bench.executor()
    await executor.run(digest)
    made = executor.undo(digest, author=OPERATOR, reason="wrong one")
    plan, status = bench.journal.plan(made.digest)
    assert (status.state, plan.author, plan.summary) == (P.PROPOSED, OPERATOR, "undo plan 1: wrong one")
    assert [(a.id, a.shard, a.source, a.destination, a.after) for a in plan.actions] == [
        (1, "s3", "h1", "h2", ()), (2, "s1", "h3", "h1", (1,)),
    ]  # fmt: skip
    assert bench.journal.state_of(digest) is P.SUCCEEDED, "nothing has happened yet"
    assert await approve_and_run(bench, made.digest) is P.SUCCEEDED
    assert bench.journal.state_of(digest) is P.UNDONE
    bench.at_rest("s1", "h1")
    bench.at_rest("s3", "h2")


async def test_an_undo_that_fails_leaves_the_plan_partial_and_can_be_tried_again(bench: Bench) -> None:
    digest = bench.approved()
    await bench.executor().run(digest)
    made = bench.executor().undo(digest, author=OPERATOR)
    assert await approve_and_run(bench, made.digest, ("verify:after", "error")) is P.FAILED
    assert bench.journal.state_of(digest) is P.PARTIAL
    bench.at_rest("s1", "h3")
    again = bench.executor().undo(digest, author=OPERATOR)
    assert await approve_and_run(bench, again.digest) is P.SUCCEEDED
    assert bench.journal.state_of(digest) is P.UNDONE
    bench.at_rest("s1", "h1")


async def test_only_what_was_done_and_is_still_so_is_undone(bench: Bench) -> None:
    digest = bench.approved(an_action(1), an_action(2, "s2", destination="h2"), an_action(3, "s3", "h2", "h1"))
    bench.journal.set_action(digest, 3, ActionState.SKIPPED)
    await bench.executor().run(digest)
    token = bench.journal.placement().owners[Label("s2")].token
    await bench.executor().run(bench.approved(an_action(1, "s2", "h2", "h3", token=token), author="other"))
    made = bench.executor().undo(digest, author=OPERATOR)
    assert [a.shard for a in bench.journal.plan(made.digest)[0].actions] == ["s1"]


async def test_what_is_in_the_way_is_said_and_nothing_is_proposed(bench: Bench) -> None:
    digest = bench.approved()
    with pytest.raises(SidestepError, match="is APPROVED: only a plan that has run"):
        bench.executor().undo(digest, author=OPERATOR)
    await bench.executor().run(digest)
    bench.states["h1"] = "CORDONED"
    with pytest.raises(SidestepError, match="cannot be undone now: h1 is CORDONED"):
        bench.executor().undo(digest, author=OPERATOR)
    assert len(bench.journal.plans()) == 1


async def test_nothing_is_undone_to_where_a_constraint_forbids_it_or_cannot_be_judged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plan took away from a forbidden host does not come back to it."""

    class NotThere:
        def __init__(self, about: About) -> None:
            self.about = about

        def forbidden(self) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros(len(self.about.names), dtype=np.int64), self.about.host_names[None] == "h1"

    policy = msgspec.structs.replace(bench.fleet.policy, constraints=(Label("theirs"),))
    bench.fleet = msgspec.structs.replace(bench.fleet, policy=policy)
    monkeypatch.setattr(undo, "CONSTRAINTS", {"theirs": NotThere})
    there = await bench.executor().run(bench.approved(an_action(1, "s3", "h2", "h1")))
    assert there.state is P.STALE and there.note == "constraint theirs forbids s3 on h1", "approved, and not begun"
    status = await bench.executor().run(bench.approved())
    assert status.state is P.SUCCEEDED
    ((_, why),) = bench.journal.ways_back(status.digest).values()
    assert why == "constraint theirs forbids s1 on h1"
    with pytest.raises(SidestepError, match="cannot be undone now: constraint theirs forbids s1 on h1"):
        bench.executor().undo(status.digest, author=OPERATOR)
    monkeypatch.setattr(undo, "CONSTRAINTS", {})
    with pytest.raises(SidestepError, match="constraint theirs cannot be judged"):
        bench.executor().undo(status.digest, author=OPERATOR)
    bench.fleet = msgspec.structs.replace(bench.fleet, policy=msgspec.structs.replace(policy, constraints=()))
    assert bench.executor().undo(status.digest, author=OPERATOR).state is P.PROPOSED
