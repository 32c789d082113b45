"""Failover at every point of every step: crashes, errors, stalls, and a host that comes back (S2.21)."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

import pytest
from failover_doubles import LostBench, rescue
from hypothesis import given, settings
from hypothesis import strategies as st
from move_doubles import Crash, FakePacing, FaultsAt, an_action
from msgspec.structs import replace

from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.machines import FAILOVER_STEPS, ActionState, PlanState, StepName, StepState

POINTS = [f"{s}:{w}" for s in FAILOVER_STEPS for w in ("before", "after", "recorded")]
COMMIT = POINTS.index("commit:after")
BEFORE = FAILOVER_STEPS[: FAILOVER_STEPS.index(StepName.COMMIT)]
BACK = [f"abort-{s}:{w}" for s in reversed((*BEFORE, StepName.COMMIT)) for w in ("before", "after")]


@pytest.fixture
async def bench(tmp_path: Path) -> LostBench:
    return await LostBench(tmp_path).lose()


def ended(bench: LostBench, action: ActionState, *, forward: bool) -> None:
    assert action is (ActionState.DONE if forward else ActionState.ABORTED)
    if forward:
        bench.saved()
    else:
        bench.waits()
    bench.journal.verify_chain()


async def test_a_shard_comes_back_elsewhere_with_its_capsule_after_its_owner_is_fenced(bench: LostBench) -> None:
    """S2.21: fencing first, then restore; nothing is asked of the lost host."""
    status = await bench.executor().run(bench.approved(rescue(), rescue(2, "s2", destination="h2")))
    assert status.state is PlanState.SUCCEEDED
    assert [s.name for s in status.actions[0].steps] == list(FAILOVER_STEPS)
    bench.saved("s1", "h3")
    bench.saved("s2", "h2")
    assert bench.fencer.fenced == [("h1", "s1", 1), ("h1", "s2", 1)]
    assert bench.rescue.brought == [("h1", "s1", bench.now), ("h1", "s2", bench.now)]
    assert bench.rescue.gone == [17.0, 17.0], "20 s after its last sample it was known that it had ended 3 s ago"
    resume = next(s for s in status.actions[0].steps if s.name is StepName.RESUME)
    assert "served again after 20 s" in resume.detail
    assert not {"freeze", "capture", "release"} & set(bench.backend.done)


async def test_a_shard_that_says_restart_begins_with_nothing(tmp_path: Path) -> None:
    bench = await LostBench(tmp_path, "restart").lose()
    status = await bench.executor().run(bench.approved(rescue()))
    assert status.state is PlanState.SUCCEEDED
    assert bench.rescue.brought == [("h1", "s1", None)]
    bench.saved()


@pytest.mark.parametrize("kind", ["error", "stall", "crash"])
@pytest.mark.parametrize("point", POINTS)
async def test_any_fault_is_taken_back_before_the_commit_and_overcome_after_it(
    bench: LostBench, point: str, kind: str
) -> None:
    """S2.21, S2.27: after a crash the journal decides the side; never are there two owners."""
    if kind == "stall":
        bench.policy = replace(bench.policy, step_deadline=1.0)
    digest = bench.approved(rescue())
    if kind == "crash":
        with pytest.raises(Crash):
            await bench.executor(FaultsAt((point, kind))).run(digest)
        bench.reborn()
        (status,) = await bench.executor().recover()
    else:
        status = await bench.executor(FaultsAt((point, kind))).run(digest)
    ended(bench, status.actions[0].state, forward=POINTS.index(point) >= COMMIT)


@pytest.mark.parametrize("point", BACK)
async def test_a_crash_while_taking_back_is_taken_back_too(bench: LostBench, point: str) -> None:
    with pytest.raises(Crash):
        await bench.executor(FaultsAt(("commit:before", "error"), (point, "crash"))).run(bench.approved(rescue()))
    bench.reborn()
    (status,) = await bench.executor().recover()
    ended(bench, status.actions[0].state, forward=False)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(POINTS + BACK), min_size=2, max_size=5))
def test_any_number_of_crashes_in_a_row_ends_at_rest(points: list[str]) -> None:
    async def story(folder: Path) -> None:
        bench = await LostBench(folder).lose()
        digest = bench.approved(rescue(), rescue(2, "s2", destination="h2"))
        with contextlib.suppress(Crash):
            await bench.executor(FaultsAt((points[0], "crash"))).run(digest)
        for point in points[1:]:
            bench.reborn()
            with contextlib.suppress(Crash):
                await bench.executor(FaultsAt((point, "crash"))).recover()
        bench.reborn()
        await bench.executor().recover()
        for action, shard, host in zip(bench.journal.status(digest).actions, ("s1", "s2"), ("h3", "h2"), strict=True):
            if action.state is ActionState.DONE:
                bench.saved(shard, host)
            else:
                bench.waits(shard)
        bench.journal.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))


@pytest.mark.parametrize("step", BEFORE)
async def test_a_host_that_comes_back_before_the_commit_keeps_its_shards(bench: LostBench, step: StepName) -> None:
    """Its state in memory may still be there, and is newer than any capsule."""

    def back() -> None:
        if bench.backend.done[-1:] == [str(step)] or (step is StepName.FENCE and bench.fencer.fenced):
            bench.rescue.why = "it is back"

    bench.world.watch = back
    if step in (StepName.FENCE, StepName.TRANSFER):  # no step of the backend's: look when the next one begins
        bench.rescue.forbids = lambda host, shard: "it is back" if bench.fencer.fenced else ""  # type: ignore[method-assign]
    status = await bench.executor().run(bench.approved(rescue()))
    assert status.actions[0].state is ActionState.ABORTED
    assert "h1: it is back" in status.actions[0].note
    assert bench.doubtful >= {"h1", "h3"}, "nobody settles the host that came back"
    bench.waits()


async def test_a_host_that_comes_back_after_the_commit_has_lost_its_shards(bench: LostBench) -> None:
    digest = bench.approved(rescue())
    with pytest.raises(Crash):
        await bench.executor(FaultsAt(("commit:after", "crash"))).run(digest)
    bench.reborn()
    bench.rescue.why, bench.states["h1"] = "it is back", "QUARANTINED"
    bench.world.down.clear()
    (status,) = await bench.executor().recover()
    assert status.state is PlanState.SUCCEEDED
    bench.saved()


async def test_a_host_that_is_back_before_an_action_begins_cancels_it(bench: LostBench) -> None:
    digest = bench.approved(rescue(), rescue(2, "s2", destination="h2", after=(1,)))
    bench.world.watch = lambda: bench.states.update(h1="READY") if bench.backend.done[-1:] == ["observe"] else None
    status = await bench.executor().run(digest)
    assert [a.state for a in status.actions] == [ActionState.DONE, ActionState.CANCELLED]
    assert "host h1: state was DEAD, now READY" in status.actions[1].note


async def test_the_brake_keeps_an_approved_failover_from_beginning(bench: LostBench) -> None:
    """Lesson 10."""
    bench.rescue.why = "7 of 12 hosts cannot be seen"
    status = await bench.executor().run(bench.approved(rescue()))
    assert status.actions[0].state is ActionState.CANCELLED
    assert "7 of 12 hosts cannot be seen" in status.actions[0].note
    assert bench.backend.done == []


async def test_nothing_starts_where_the_old_owner_may_still_serve(bench: LostBench) -> None:
    """A network that is cut is no proof: without one the shard waits."""
    bench.world.processes["h1", "s1"] = process = type(bench.world.processes["h2", "s3"])(1, "serving")
    process.writes = list(bench.world.acknowledged["s1"])
    status = await bench.executor().run(bench.approved(rescue()))
    assert status.actions[0].state is ActionState.ABORTED
    assert "its lease may still run" in status.actions[0].note
    assert "restore" not in bench.backend.done
    assert "s1" not in bench.router.held
    assert bench.world.serving_host("s1") == "h1"
    assert bench.fencer.released == ["h1"], "what else runs there would end with its lease"


async def test_a_shard_without_a_capsule_is_not_brought_up_empty(bench: LostBench) -> None:
    bench.capsules.refs.clear()
    status = await bench.executor().run(bench.approved(rescue()))
    assert status.actions[0].state is ActionState.ABORTED
    assert "s1 has no complete capsule" in status.actions[0].note
    assert bench.fencer.fenced == []


async def test_the_capsule_that_was_chosen_is_the_one_that_comes_after_a_newer_one_appears(bench: LostBench) -> None:
    chosen = bench.capsules.refs["s1"]

    def newer() -> None:
        if bench.backend.done[-1:] == ["prepare"]:
            bench.capsules.newest = lambda shard: None  # type: ignore[method-assign,assignment,return-value]

    bench.world.watch = newer
    status = await bench.executor().run(bench.approved(rescue()))
    assert status.state is PlanState.SUCCEEDED
    assert bench.journal.notes(status.digest, 1)["digest"] == chosen[0].digest


async def test_requests_that_cannot_be_held_keep_no_shard_from_coming_back(bench: LostBench) -> None:
    hold = bench.router.hold

    async def hang(shard: str, deadline: float, *, firm: bool) -> None:
        raise HostError("router", "hold", "it does not answer")

    bench.router.hold = hang  # type: ignore[method-assign]
    status = await bench.executor().run(bench.approved(rescue()))
    assert status.state is PlanState.SUCCEEDED
    fence = next(s for s in status.actions[0].steps if s.name is StepName.FENCE)
    assert "it does not answer" in fence.detail
    bench.router.hold = hold  # type: ignore[method-assign]
    bench.saved()


async def test_a_destination_that_dies_before_the_commit_is_not_waited_for(bench: LostBench) -> None:
    bench.world.watch = lambda: bench.world.down.add("h3") if bench.backend.done[-1:] == ["restore"] else None
    status = await bench.executor().run(bench.approved(rescue()))
    assert status.actions[0].state is ActionState.ABORTED
    assert bench.pace.pauses == 0
    assert not bench.router.held
    assert bench.doubtful == {"h1", "h3"}


async def test_after_the_commit_a_silent_destination_is_insisted_on(bench: LostBench) -> None:
    bench.backend.fail["resume"] = HostUnreachable("h3", "resume", "connection lost")
    bench.pace = FakePacing(during=bench.backend.fail.clear)
    status = await bench.executor().run(bench.approved(rescue()))
    assert status.state is PlanState.SUCCEEDED
    bench.saved()


async def test_without_a_fencer_a_failover_is_left_to_people(bench: LostBench) -> None:
    bench.fencer = None  # type: ignore[assignment]
    status = await bench.executor().run(bench.approved(rescue()))
    assert status.actions[0].state is ActionState.CANCELLED
    assert "nobody here can fence" in status.actions[0].note


async def test_a_failover_is_undone_by_an_ordinary_move_once_the_host_is_back(bench: LostBench) -> None:
    status = await bench.executor().run(bench.approved(rescue()))
    bench.states["h1"] = "READY"
    bench.world.down.clear()
    executor = bench.executor()
    made = executor.undo(status.digest, author="operator")  # type: ignore[arg-type]
    plan, _ = bench.journal.plan(made.digest)
    assert [(a.kind, a.source, a.destination) for a in plan.actions] == [("migrate", "h3", "h1")]


async def test_a_shard_is_saved_whose_host_was_lost_in_the_middle_of_a_move(tmp_path: Path) -> None:
    """Its requests were held by the move, which nobody could take back."""
    bench = await LostBench(tmp_path).ready()
    bench.capsules.take("s1", "h1", at=bench.now)

    def plug() -> None:
        if bench.backend.done[-1:] == ["capture"]:
            bench.world.down.add("h1")
            bench.world.processes.pop(("h1", "s1"), None)

    bench.world.watch = plug
    executor = bench.executor()
    status = await executor.run(bench.approved(an_action()))
    assert status.actions[0].state is ActionState.FAILED_NEEDS_HUMAN
    assert executor.moving == {"s1"} and "s1" in bench.router.held
    bench.world.watch = lambda: None
    bench.world.scratch.clear()
    bench.world.acknowledged["s1"] = list(bench.capsules.refs["s1"][1])
    bench.states["h1"] = "DEAD"
    executor.served(["s1"])
    assert executor.moving == frozenset()
    status = await executor.run(bench.approved(rescue()))
    assert status.state is PlanState.SUCCEEDED
    bench.saved()


async def test_moves_and_failovers_run_side_by_side_in_one_plan(bench: LostBench) -> None:
    status = await bench.executor().run(bench.approved(rescue(), an_action(2, "s3", "h2", "h3")))
    assert [a.state for a in status.actions] == [ActionState.DONE, ActionState.DONE]
    assert all(s.state is StepState.DONE for a in status.actions for s in a.steps)
    bench.saved("s1", "h3")
    assert bench.world.serving_host("s3") == "h3"
