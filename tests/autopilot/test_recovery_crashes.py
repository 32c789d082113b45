"""Crashes at every point of every step, then a new daemon on the same journal: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from move_doubles import Bench, Crash, FakePacing, FaultsAt, an_action

from sidestep.autopilot.recovery import Way, decide
from sidestep.fleet.errors import HostUnreachable
from sidestep.fleet.machines import MOVE_STEPS, ActionState, PlanState, StepName, StepState
from sidestep.fleet.plans import ActionStatus, StepStatus

POINTS = [f"{s}:{w}" for s in MOVE_STEPS for w in ("before", "after", "recorded")]
COMMIT = POINTS.index("commit:after")
BACK = [f"abort-{s}:{w}" for s in reversed(MOVE_STEPS[:8]) for w in ("before", "after")]


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return await Bench(tmp_path).ready()


async def crash(bench: Bench, digest: str, *faults: tuple[str, str]) -> None:
    with pytest.raises(Crash):
        await bench.executor(FaultsAt(*faults)).run(digest)
    bench.reborn()


@pytest.mark.parametrize("point", POINTS)
async def test_after_a_crash_the_journal_decides_the_side(bench: Bench, point: str) -> None:
    """S2.27: committed goes forward, anything else goes back, whatever was recorded of the last step."""
    await crash(bench, bench.approved(), (point, "crash"))
    executor = bench.executor()
    (status,) = await executor.recover()
    forward = POINTS.index(point) >= COMMIT
    assert status.actions[0].state is (ActionState.DONE if forward else ActionState.ABORTED)
    assert status.state is (PlanState.SUCCEEDED if forward else PlanState.FAILED)
    bench.at_rest("s1", "h3" if forward else "h1")
    said = [e.text for e in bench.journal.events() if e.kind == "daemon" and "the daemon ended while" in e.text]
    assert len(said) == 1
    assert ("going forward" if forward else "taking back") in said[0]
    assert executor.moving == frozenset()
    assert await executor.recover() == (), "there is nothing left to recover"
    bench.journal.verify_chain()


@pytest.mark.parametrize("point", BACK)
async def test_a_crash_while_taking_back_is_taken_back_too(bench: Bench, point: str) -> None:
    await crash(bench, bench.approved(), ("commit:before", "error"), (point, "crash"))
    (status,) = await bench.executor().recover()
    assert status.actions[0].state is ActionState.ABORTED
    assert "commit:before" in status.actions[0].note, "the first cause is kept"
    bench.at_rest("s1", "h1")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(POINTS + BACK), min_size=2, max_size=5))
def test_any_number_of_crashes_in_a_row_ends_at_rest(points: list[str]) -> None:
    """Each restart may crash as well; the last one finds its way from the journal alone."""

    async def story(folder: Path) -> None:
        bench = await Bench(folder).ready()
        digest = bench.approved(an_action(1), an_action(2, "s3", "h2", "h1"))
        with contextlib.suppress(Crash):
            await bench.executor(FaultsAt((points[0], "crash"))).run(digest)
        for point in points[1:]:
            bench.reborn()
            with contextlib.suppress(Crash):
                await bench.executor(FaultsAt((point, "crash"))).recover()
        bench.reborn()
        await bench.executor().recover()
        status = bench.journal.status(digest)
        assert status.state in {PlanState.SUCCEEDED, PlanState.PARTIAL, PlanState.FAILED}
        moved = [a.state is ActionState.DONE for a in status.actions]
        bench.at_rest("s1", "h3" if moved[0] else "h1")
        bench.at_rest("s3", "h1" if moved[1] else "h2")
        bench.journal.verify_chain()
        bench.journal.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))


async def test_actions_that_had_not_begun_are_not_begun_by_a_restart(bench: Bench) -> None:
    digest = bench.approved(an_action(1), an_action(2, "s2"))
    await crash(bench, digest, ("observe:after", "crash"))
    (status,) = await bench.executor().recover()
    assert [a.state for a in status.actions] == [ActionState.DONE, ActionState.CANCELLED]
    assert status.state is PlanState.PARTIAL
    assert "had not begun" in status.note
    bench.at_rest("s1", "h3")
    bench.at_rest("s2", "h1")


async def test_a_plan_that_was_only_approved_stays_approved_and_can_run(bench: Bench) -> None:
    """A restart forgets no approved plan, and starts none unchecked."""
    digest = bench.approved()
    bench.reborn()
    executor = bench.executor()
    assert await executor.recover() == ()
    assert bench.journal.status(digest).state is PlanState.APPROVED
    bench.cpus["h1"] = 1.0
    assert (await executor.run(digest)).state is PlanState.STALE


async def test_a_host_that_is_away_at_the_restart_is_waited_for(bench: Bench) -> None:
    await crash(bench, bench.approved(), ("capture:after", "crash"))
    bench.world.down.add("h1")
    bench.pace = FakePacing(during=bench.world.down.clear)
    (status,) = await bench.executor().recover()
    assert status.actions[0].state is ActionState.ABORTED
    assert bench.pace.pauses == 1
    bench.at_rest("s1", "h1")


@pytest.mark.parametrize(("point", "host"), [("capture:after", "h1"), ("commit:after", "h3")])
async def test_a_host_that_stays_away_calls_a_person_in_bounded_time(bench: Bench, point: str, host: str) -> None:
    await crash(bench, bench.approved(), (point, "crash"))
    bench.world.down.add(host)
    executor = bench.executor()
    (status,) = await executor.recover()
    assert status.actions[0].state is ActionState.FAILED_NEEDS_HUMAN
    assert f"{host}: " in status.actions[0].note
    assert "no route to host" in status.actions[0].note
    assert "s1" in bench.router.held
    assert executor.moving == {"s1"}
    assert bench.pace.now <= 60.0


async def test_a_router_that_forgot_gets_its_table_again(bench: Bench) -> None:
    """S1.22: routes are applied again after a restart even if they were once recorded as applied."""
    await crash(bench, bench.approved(), ("resume:before", "crash"))
    assert bench.router.table is not None
    bench.router.table = msgspec.structs.replace(
        bench.router.table,
        generation=1,
        routes=tuple(msgspec.structs.replace(r, token=1) for r in bench.router.table.routes),
    )
    await bench.executor().recover()
    assert bench.router.table.generation == 2
    bench.at_rest("s1", "h3")


@pytest.mark.parametrize(("point", "state"), [
    ("prepare:before", ActionState.FAILED_NEEDS_HUMAN), ("route:before", ActionState.FAILED_NEEDS_HUMAN),
])  # fmt: skip
async def test_a_host_that_is_no_longer_declared_is_said_by_name(bench: Bench, point: str, state: ActionState) -> None:
    await crash(bench, bench.approved(), (point, "crash"))
    bench.fleet = msgspec.structs.replace(bench.fleet, hosts=bench.fleet.hosts[:2])
    (status,) = await bench.executor().recover()
    assert status.actions[0].state is state
    assert "h3 is no longer declared in fleet.toml" in status.actions[0].note


async def test_the_freeze_is_measured_across_a_restart(bench: Bench) -> None:
    await crash(bench, bench.approved(), ("transfer:after", "crash"))
    bench.now += 12.0
    (status,) = await bench.executor().recover()
    assert status.actions[0].freeze_ms == pytest.approx(12000.0)


async def test_an_error_while_recovering_is_insisted_on(bench: Bench) -> None:
    await crash(bench, bench.approved(), ("resume:after", "crash"))
    bench.backend.fail["observe"] = HostUnreachable("h3", "observe", "connection lost")
    bench.pace = FakePacing(during=bench.backend.fail.clear)
    (status,) = await bench.executor().recover()
    assert status.state is PlanState.SUCCEEDED
    bench.at_rest("s1", "h3")


def test_the_decision_follows_from_the_commit_row_alone() -> None:
    """Every combination of how far two neighbouring steps were recorded."""
    for at, (last, state) in itertools.product(
        range(len(MOVE_STEPS)), [(s, s) for s in (StepState.RUNNING, StepState.DONE, StepState.FAILED)]
    ):
        steps = tuple(
            StepStatus(name=name, state=StepState.DONE if i < at else last if i == at else StepState.PENDING)
            for i, name in enumerate(MOVE_STEPS)
        )
        past = at > 7 or (at == 7 and state is StepState.DONE)
        running = ActionState.COMMITTED if past else ActionState.RUNNING
        decision = decide(an_action(), ActionStatus(id=1, state=running, steps=steps))
        if past:
            assert decision.way is Way.FORWARD
            assert decision.steps[0] is StepName.ROUTE
            assert set(MOVE_STEPS[at + (state is StepState.DONE) :]) <= set(decision.steps) | {StepName.COMMIT}
        else:
            assert decision.way is Way.BACK
            assert decision.steps == tuple(reversed(MOVE_STEPS[: at + 1]))
