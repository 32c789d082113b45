"""Shards give way and come back step by step: crashes and errors at every point leave one truth about each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from move_doubles import OPERATOR, Crash, FaultsAt
from queue_doubles import QueueBench

from sidestep.autopilot.capsules.base import CapsuleRef
from sidestep.autopilot.capsules.catalogue import Capsule, Copy
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.queue.hands import PARKED
from sidestep.fleet.errors import HostError, SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import (
    PLACE_STEPS,
    PREEMPT_STEPS,
    ActionState,
    PlanState,
    StepName,
    StepState,
)
from sidestep.fleet.placement import Owner, PlacementConflict
from sidestep.fleet.plans import Action, PlanStatus, Reason
from sidestep.fleet.questions import HostRefusal
from sidestep.fleet.queue import Look

WHEN = ("before", "after", "recorded")


def points(steps: tuple[StepName, ...]) -> list[tuple[str, bool]]:
    """Every point of these steps, and whether it is past the commit."""
    at = steps.index(StepName.COMMIT)
    return [
        (f"{step}:{when}", row > at or (row == at and when != "before"))
        for row, step in enumerate(steps) for when in WHEN
    ]  # fmt: skip


@pytest.fixture
async def bench(tmp_path: Path) -> QueueBench:
    made = QueueBench(tmp_path)
    await made.ready()
    return made


async def ran(bench: QueueBench, *actions: Action) -> PlanStatus:
    status = await bench.executor().run(bench.approved(*actions))
    assert status.state is PlanState.SUCCEEDED, status.note
    return status


async def crashed(bench: QueueBench, point: str, *actions: Action) -> None:
    with pytest.raises(Crash):
        await bench.executor(FaultsAt((point, "crash"))).run(bench.approved(*actions))
    bench.reborn()
    await bench.executor().recover()


class Copies:
    """A copy of what s3 waits with."""

    def __init__(self, bench: QueueBench) -> None:
        one = bench.journal.waiting("s3")
        assert one is not None
        self.world, self.bytes = bench.world, bench.world.parked[str(one.host), one.path]
        self.ref = CapsuleRef(
            shard=one.shard, seq=9, token=one.token, digest=one.digest, bytes=one.bytes, taken=one.since,
            hosts=(Label("h1"),),
        )  # fmt: skip

    def newest(self, shard: str) -> CapsuleRef:
        return self.ref

    async def bring(self, ref: CapsuleRef, destination: Any, path: str) -> str:
        self.world.scratch[destination.host, path] = self.bytes
        return "from h1"


# -- giving way


async def test_a_shard_that_gives_way_waits_with_its_state_and_comes_back_with_it(bench: QueueBench) -> None:
    """S5.10, S5.19: paused, put into a capsule, and resumed elsewhere."""
    await ran(bench, bench.preempt())
    bench.waits("s3")
    one = bench.journal.waiting("s3")
    assert one is not None and (one.cause, one.host, one.cpu, one.memory) == ("preempted", "h2", 0.5, 1 << 20)
    assert one.bytes > 0 and bench.journal.endpoint("s3") is None
    status = await ran(bench, bench.place())
    assert [s.name for s in status.actions[0].steps] == list(PLACE_STEPS)
    bench.serves("s3", "h3")
    bench.nothing_left()
    assert bench.world.fences["h2", "s3"] == bench.token("s3")
    bench.journal.verify_chain()


async def test_a_shard_comes_back_to_the_host_that_it_left(bench: QueueBench) -> None:
    await ran(bench, bench.preempt())
    await ran(bench, bench.place(destination="h2"))
    bench.serves("s3", "h2")
    bench.nothing_left()


async def test_a_shard_is_placed_from_a_copy_of_its_capsule_when_the_host_that_it_left_is_lost(
    bench: QueueBench,
) -> None:
    """S5.10, S5.15."""
    shards = [msgspec.structs.replace(s, replicas=1) if s.name == "s3" else s for s in bench.fleet.shards]
    bench.fleet = msgspec.structs.replace(bench.fleet, shards=tuple(shards))
    await ran(bench, bench.preempt())
    one, bench.capsules = bench.journal.waiting("s3"), Copies(bench)
    assert one is not None and one.copies == ()
    copies = (Copy(host=Label("h1"), path="p", state="good", checked=1.0),)
    known = Capsule(
        shard=one.shard, seq=9, token=one.token, digest=one.digest, bytes=one.bytes, taken=1.0, complete=True,
        copies=copies,
    )  # fmt: skip
    bench.journal.put_capsules((known, msgspec.structs.replace(known, seq=8, digest="another")))
    one = bench.journal.waiting("s3")
    assert one is not None and one.copies == ("h1",) and bench.journal.queue()[0] == one
    bench.world.down = {"h2"}
    status = await bench.executor().run(bench.approved(bench.place()))
    said = {step.name: step.detail for step in status.actions[0].steps}
    assert "capsule 9, from h1, since h2: is not connected" in said[StepName.TRANSFER], status.note
    assert status.state is PlanState.SUCCEEDED and bench.world.serving_host("s3") == "h3"
    assert bench.world.processes["h3", "s3"].writes == bench.world.acknowledged["s3"]


async def test_a_shard_that_never_ran_starts_where_it_is_placed(bench: QueueBench) -> None:
    """S5.8"""
    status = await ran(bench, bench.place(shard="s4", destination="h2"))
    bench.serves("s4", "h2")
    assert bench.journal.endpoint("s4") == ("h2", 7000)
    said = {s.name: s.detail for s in status.actions[0].steps}
    assert said[StepName.TRANSFER] == said[StepName.VERIFY] == "it never ran: nothing is to come"


@pytest.mark.parametrize(("point", "past"), points(PREEMPT_STEPS))
async def test_a_crash_while_a_shard_gives_way_leaves_it_serving_or_waiting(
    bench: QueueBench, point: str, past: bool
) -> None:
    """S2.27: before the commit it serves, after it it waits with all its state, never both."""
    await crashed(bench, point, bench.preempt())
    if past:
        bench.waits("s3")
    else:
        bench.serves("s3", "h2")
        bench.nothing_left(but_a_copy=point == "capture:after")
        await ran(bench, bench.preempt())  # which removes that copy
        assert len(bench.world.parked) == 1
    bench.journal.verify_chain()


@pytest.mark.parametrize(("point", "past"), points(PLACE_STEPS))
@pytest.mark.parametrize("shard", ["s3", "s4"])
async def test_a_crash_while_a_shard_is_placed_leaves_it_waiting_or_serving(
    bench: QueueBench, point: str, past: bool, shard: str
) -> None:
    if shard == "s3":
        await ran(bench, bench.preempt())
    await crashed(bench, point, bench.place(shard=shard))
    if past:
        bench.serves(shard, "h3")
        bench.nothing_left()
    else:
        bench.waits(shard)
    bench.journal.verify_chain()


@pytest.mark.parametrize("kind", ["error", "stall"])
@pytest.mark.parametrize(("point", "past"), points(PREEMPT_STEPS))
async def test_trouble_while_a_shard_gives_way_is_taken_back_or_overcome(
    bench: QueueBench, point: str, past: bool, kind: str
) -> None:
    status = await bench.executor(FaultsAt((point, kind))).run(bench.approved(bench.preempt()))
    assert status.actions[0].state is (ActionState.DONE if past else ActionState.ABORTED)
    if past:
        bench.waits("s3")
    else:
        bench.serves("s3", "h2")
        bench.nothing_left(but_a_copy=point == "capture:after")
        assert {s.state for s in status.actions[0].steps} <= {StepState.PENDING, StepState.UNDONE}


@pytest.mark.parametrize(("point", "past"), points(PLACE_STEPS))
async def test_trouble_while_a_shard_is_placed_is_taken_back_or_overcome(
    bench: QueueBench, point: str, past: bool
) -> None:
    await ran(bench, bench.preempt())
    status = await bench.executor(FaultsAt((point, "error"))).run(bench.approved(bench.place()))
    assert status.actions[0].state is (ActionState.DONE if past else ActionState.ABORTED)
    if past:
        bench.serves("s3", "h3")
    else:
        bench.waits("s3")


async def test_a_place_that_was_taken_back_can_be_tried_again(bench: QueueBench) -> None:
    await ran(bench, bench.preempt())
    await bench.executor(FaultsAt(("verify:after", "error"))).run(bench.approved(bench.place()))
    await ran(bench, bench.place(destination="h1"))
    bench.serves("s3", "h1")


# -- plans of several actions


async def test_a_place_begins_once_who_gives_way_is_gone(bench: QueueBench) -> None:
    status = await ran(bench, bench.preempt(1), bench.place(2, "s4", "h2", after=(1,)))
    assert [a.state for a in status.actions] == [ActionState.DONE, ActionState.DONE]
    bench.waits("s3")
    bench.serves("s4", "h2")


async def test_nothing_is_placed_if_who_should_give_way_does_not(bench: QueueBench) -> None:
    digest = bench.approved(bench.preempt(1), bench.place(2, "s4", "h2", after=(1,)))
    status = await bench.executor(FaultsAt(("capture:after", "error"))).run(digest)
    assert [a.state for a in status.actions] == [ActionState.ABORTED, ActionState.CANCELLED]
    bench.serves("s3", "h2")
    bench.waits("s4")


async def test_both_are_undone_by_their_reverse_in_reverse_order(bench: QueueBench) -> None:
    """The undo of a preempt is a place, and the other way round."""
    status = await ran(bench, bench.preempt(1), bench.place(2, "s4", "h2", after=(1,)))
    undo = bench.executor().undo(status.digest, author=OPERATOR)
    plan, _ = bench.journal.plan(undo.digest)
    assert [(a.kind, a.shard, a.source, a.destination, a.after) for a in plan.actions] == [
        ("preempt", "s4", "h2", "", ()), ("place", "s3", "", "h2", (1,)),
    ]  # fmt: skip
    assert plan.basis.waiting == {"s3"}
    bench.journal.set_state(undo.digest, PlanState.APPROVED, actor=OPERATOR)
    assert (await bench.executor().run(undo.digest)).state is PlanState.SUCCEEDED
    bench.serves("s3", "h2")
    bench.waits("s4")
    assert bench.journal.state_of(status.digest) is PlanState.UNDONE


# -- what does not begin


async def test_a_shard_with_keys_does_not_give_way(bench: QueueBench) -> None:
    """The routing table is total: requests for its keys would have nowhere to go."""
    status = await bench.executor().run(bench.approved(bench.preempt(shard="s1", source="h1")))
    assert status.actions[0].state is ActionState.CANCELLED and "s1 has keys" in status.actions[0].note
    assert bench.backend.done == []


async def test_a_place_of_who_was_placed_meanwhile_does_not_begin(bench: QueueBench) -> None:
    first, second = bench.place(1, "s4", "h2"), bench.place(1, "s4", "h3")
    later = bench.approved(second)
    other = bench.plan(first, author="somebody")
    bench.journal.add(other)
    bench.journal.set_state(other.digest(), PlanState.APPROVED, actor=OPERATOR)
    await bench.executor().run(other.digest())
    status = await bench.executor().run(later)
    assert status.state is PlanState.STALE and "shard s4: was in the queue (token 0), now on h2" in status.note
    bench.serves("s4", "h2")


async def test_a_host_that_fails_after_the_commit_needs_a_person_and_the_capsule_stays(bench: QueueBench) -> None:
    bench.backend.fail["release"] = HostError("h2", "release", "exit status 9")
    status = await bench.executor().run(bench.approved(bench.preempt()))
    assert status.actions[0].state is ActionState.FAILED_NEEDS_HUMAN
    assert "s3 waits in the queue, its state is on h2" in status.actions[0].note
    assert bench.dead("h2").state == "frozen" and bench.world.parked


# -- the ledger


def test_the_same_deployment_twice_is_one(bench: QueueBench) -> None:
    """S5.20: idempotent with a deployment id."""
    before = bench.journal.waiting("s4")
    bench.now += 50.0
    assert bench.journal.submit({Label("s4"): "file:s4"}, OPERATOR) == ((Label("s4"), "known"),)
    assert bench.journal.waiting("s4") == before
    with pytest.raises(SidestepError, match="is that of shard s4, not s3"):
        bench.journal.submit({Label("s3"): "file:s4"}, OPERATOR)
    with pytest.raises(SidestepError, match="it runs on h2"):
        bench.journal.submit({Label("s3"): "another"}, OPERATOR)
    with pytest.raises(SidestepError, match="waits already"):
        bench.journal.submit({Label("s4"): "another"}, OPERATOR)


async def test_a_deployment_that_was_placed_is_not_queued_again(bench: QueueBench) -> None:
    await ran(bench, bench.place(shard="s4", destination="h2"))
    assert bench.journal.submit({Label("s4"): "file:s4"}, OPERATOR) == ((Label("s4"), "known"),)
    assert bench.journal.waiting("s4") is None


def test_what_the_planner_saw_is_kept_over_a_restart(bench: QueueBench) -> None:
    """S5.18: persistent, with reasons per host."""
    reasons = (
        HostRefusal(host=Label(""), reason=Reason("NO_VICTIM", Label("no host has room"))),
        HostRefusal(host=Label("h1"), reason=Reason("NO_ROOM", Label("needs 1.00 cores more cpu"))),
    )
    bench.journal.looked([Look(shard=Label("s4"), reasons=reasons), Look(shard=Label("s3"), reasons=reasons)], 5.0)
    bench.reborn()
    (one,) = bench.journal.queue()
    assert one.reasons == reasons and one.looked == 5.0 and one.reason.code == "NO_VICTIM"


def test_who_waits_gets_no_owner_but_by_a_place(bench: QueueBench) -> None:
    with pytest.raises(PlacementConflict, match="only a place"):
        bench.journal.adopt({Label("s4"): Owner(Label("h1"), 5)}, OPERATOR)


async def test_the_row_the_owner_and_the_step_are_written_together_or_not_at_all(bench: QueueBench) -> None:
    digest = bench.approved(bench.preempt())
    bench.journal.begin_action(digest, 1)
    for step in (StepName.FREEZE, StepName.CAPTURE):
        bench.journal.begin_step(digest, 1, step)
    generation = bench.journal.placement().generation
    with pytest.raises(PlacementConflict):
        bench.journal.commit_preempt(digest=digest, action=1, shard=Label("s3"), source=Label("h2"), expected_token=99)
    assert bench.journal.waiting("s3") is None and bench.journal.placement().generation == generation
    assert not bench.journal.committed(digest, 1)
    for _ in range(2):  # done twice it is the same
        after = bench.journal.commit_preempt(
            digest=digest, action=1, shard=Label("s3"), source=Label("h2"), expected_token=1
        )
    assert after.generation > generation and Label("s3") in after.queued
    assert bench.journal.notes(digest, 1).get(PARKED) is None
    assert Journal(bench.path).placement() == after
