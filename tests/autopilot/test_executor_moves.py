"""Plans that run: what is done, in which order, and what the status says about it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from move_doubles import OPERATOR, Bench, an_action

from sidestep.fleet.errors import HostUnreachable, SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import MOVE_STEPS, ActionState, PlanState, StepName, StepState


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return await Bench(tmp_path).ready()


async def test_a_move_does_every_step_and_ends_on_the_destination(bench: Bench) -> None:
    """S2.23 to S2.28, S3.19 to S3.22: freeze, capture, transfer, restore, switch, resume, release."""
    digest = bench.approved()
    status = await bench.executor().run(digest)
    assert status.state is PlanState.SUCCEEDED
    assert [s.state for s in status.actions[0].steps] == [StepState.DONE] * len(MOVE_STEPS)
    assert bench.backend.done == [s for s in MOVE_STEPS if s not in {StepName.COMMIT, StepName.ROUTE}]
    bench.at_rest("s1", "h3")
    bench.at_rest("s2", "h1")
    assert bench.journal.placement().owners[Label("s1")].token == 2


@pytest.mark.parametrize("kind", ["deactivate", "activate"])
async def test_what_no_backend_can_run_is_never_run_as_a_move(bench: Bench, kind: str) -> None:
    """A host that is only believed dead would otherwise be joined by a second owner."""
    status = await bench.executor().run(bench.approved(an_action(kind=kind)))
    assert status.state is PlanState.FAILED
    assert status.actions[0].state is ActionState.CANCELLED
    assert f"no backend here can run {kind}" in status.actions[0].note
    assert bench.backend.done == []
    bench.at_rest("s1", "h1")


async def test_the_freeze_is_measured_from_hold_to_release_and_bytes_are_counted(bench: Bench) -> None:
    status = await bench.executor().run(bench.approved())
    assert status.actions[0].freeze_ms > 0.0
    assert status.actions[0].bytes > 0


async def test_the_router_gets_the_destination_and_its_token_in_the_new_generation(bench: Bench) -> None:
    """S1.22, S2.27: the table that is applied is the one that was committed."""
    await bench.executor().run(bench.approved())
    assert bench.router.table is not None
    route = next(r for r in bench.router.table.routes if r.shard == "s1")
    assert (route.address, route.port, route.token, bench.router.table.generation) == ("h3", 7000, 2, 2)


async def test_every_step_is_in_the_log_and_announced(bench: Bench) -> None:
    """S3.23: a journal row before and after each step, not one at the end."""
    await bench.executor().run(bench.approved())
    log = [e.text for e in bench.journal.events()]
    for step in MOVE_STEPS:
        assert any(f"action 1: {step} DONE" in line for line in log), step
    states = {s.actions[0].steps[0].state for s in bench.seen}
    assert states == {StepState.PENDING, StepState.RUNNING, StepState.DONE}
    bench.journal.verify_chain()


async def test_actions_run_in_their_order_and_get_rising_tokens(bench: Bench) -> None:
    digest = bench.approved(
        an_action(1), an_action(2, "s2", destination="h2"), an_action(3, "s3", "h2", "h1", after=(2,))
    )
    status = await bench.executor().run(digest)
    assert status.state is PlanState.SUCCEEDED
    for shard, host, token in (("s1", "h3", 2), ("s2", "h2", 3), ("s3", "h1", 4)):
        bench.at_rest(shard, host)
        assert bench.journal.placement().owners[Label(shard)].token == token


async def test_a_shard_may_be_parked_and_moved_on_in_one_plan(bench: Bench) -> None:
    digest = bench.approved(an_action(1), an_action(2, "s1", "h3", "h2", after=(1,)))
    status = await bench.executor().run(digest)
    assert status.state is PlanState.SUCCEEDED, status.note
    bench.at_rest("s1", "h2")


async def test_two_plans_never_run_at_the_same_time(bench: Bench) -> None:
    one = bench.approved(an_action(1))
    two = bench.approved(an_action(1, "s3", "h2", "h1"), author="other")
    executor = bench.executor()
    done = await asyncio.gather(executor.run(one), executor.run(two))
    # The first plan moved s1, on which the second relies: it may not run on a basis that is gone.
    assert [s.state for s in done] == [PlanState.SUCCEEDED, PlanState.STALE]


async def test_moving_names_the_shards_of_the_running_plan_only(bench: Bench) -> None:
    seen: list[frozenset[str]] = []
    executor = bench.executor()
    bench.world.watch = lambda: seen.append(executor.moving)
    await executor.run(bench.approved(an_action(1), an_action(2, "s2")))
    assert seen[0] == {"s1", "s2"}
    assert seen[-1] == {"s2"}
    assert executor.moving == frozenset()


@pytest.mark.parametrize("state", [PlanState.PROPOSED, PlanState.REJECTED])
async def test_only_an_approved_plan_runs(bench: Bench, state: PlanState) -> None:
    digest = bench.journal.add(bench.plan()).digest
    if state is PlanState.REJECTED:
        bench.journal.set_state(digest, state, actor=OPERATOR)
    with pytest.raises(SidestepError, match=f"is {state}: only an approved plan runs"):
        await bench.executor().run(digest)
    assert bench.backend.done == []


async def test_a_plan_that_ran_does_not_run_again(bench: Bench) -> None:
    digest = bench.approved()
    await bench.executor().run(digest)
    with pytest.raises(SidestepError, match="is SUCCEEDED"):
        await bench.executor().run(digest)


async def test_a_shard_without_keys_moves_without_the_router(bench: Bench) -> None:
    shards = tuple(msgspec.structs.replace(s, keys=None) for s in bench.fleet.shards)
    bench.fleet = msgspec.structs.replace(bench.fleet, shards=shards)
    bench.world.router, bench.router.broken = None, True
    status = await bench.executor().run(bench.approved())
    assert status.state is PlanState.SUCCEEDED, status.note
    assert bench.world.serving_host("s1") == "h3"


async def test_without_a_possible_routing_table_nothing_is_touched(bench: Bench) -> None:
    """What the commit will need is proved before the first step, not behind the commit."""
    broken = msgspec.structs.replace(bench.fleet.shards[2], keys=(50000, 65536))
    bench.fleet = msgspec.structs.replace(bench.fleet, shards=(*bench.fleet.shards[:2], broken))
    status = await bench.executor().run(bench.approved())
    assert (status.state, status.actions[0].state) == (PlanState.FAILED, ActionState.CANCELLED)
    assert "gap at key 40000" in status.actions[0].note
    assert bench.backend.done == []


class StopAt:
    """Tells the executor to stop while a step is running."""

    def __init__(self, point: str) -> None:
        self.point, self.executor = point, None
        self.stopped: asyncio.Task[None] | None = None

    async def at(self, point: str) -> None:
        if point == self.point:
            self.stopped = asyncio.ensure_future(self.executor.stop())
            await asyncio.sleep(0)


@pytest.mark.parametrize(("step", "home"), [(StepName.CAPTURE, "h1"), (StepName.ROUTE, "h3")])
async def test_stop_leaves_the_shard_serving_on_one_side(bench: Bench, step: StepName, home: str) -> None:
    """Whichever step is running, stopping ends with a shard that serves and a plan that has ended."""
    faults = StopAt(f"{step}:before")
    faults.executor = bench.executor(faults)
    status = await faults.executor.run(bench.approved(an_action(1), an_action(2, "s2")))
    assert faults.stopped is not None
    await faults.stopped
    assert status.state is (PlanState.FAILED if home == "h1" else PlanState.PARTIAL)
    assert status.actions[1].state is ActionState.CANCELLED
    assert "told to stop" in status.actions[1].note
    bench.at_rest("s1", home)
    bench.at_rest("s2", "h1")


async def test_what_stopping_cannot_put_right_is_left_to_the_next_start(bench: Bench) -> None:
    """A host that is away holds nobody up at the end, and nothing is forgotten."""
    faults = StopAt("route:before")
    faults.executor = bench.executor(faults)
    bench.world.watch = lambda: faults.stopped and bench.world.down.add("h3")
    bench.backend.fail["resume"] = HostUnreachable("h3", "resume", "connection lost")
    status = await faults.executor.run(bench.approved())
    assert (status.state, status.actions[0].state) == (PlanState.RUNNING, ActionState.COMMITTED)
    assert bench.pace.pauses == 0
    bench.world.watch = lambda: None
    bench.world.down.clear()
    bench.backend.fail.clear()
    bench.reborn()
    (status,) = await bench.executor().recover()
    assert status.state is PlanState.SUCCEEDED
    bench.at_rest("s1", "h3")
