"""The control loop over real journal, planner and world: proposals live and die, levels act, trouble is survived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from loop_doubles import POLICY, STEPS, Scene
from world_doubles import settle

from sidestep.autopilot.frames import SHOWN_STEPS, frame_of
from sidestep.autopilot.levels_acting import BRAKE
from sidestep.autopilot.loop_proposals import Proposals
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import NoPlan, Plan


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path)
    watching = asyncio.create_task(scene.world.run())
    await scene.tick()
    yield scene
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    scene.journal.close()


async def test_no_contention_is_answered_with_reasons(scene: Scene) -> None:
    assert scene.states() == []
    assert scene.loop.picture is not None and scene.loop.picture.no_plan is not None
    assert scene.loop.picture.no_plan.reasons[0].code == "NO_CONTENTION"


async def test_predicted_contention_is_said_once_and_proposed_once(scene: Scene) -> None:
    """S1.1, S3.14: the plan is there before the load is."""
    scene.oracle.peak = 2.9
    await scene.tick(10)
    assert scene.states() == [PlanState.PROPOSED]
    said = scene.said.getvalue()
    assert said.count("h1 cpu will be over 80% in 21s, p=") == 1
    assert said.count("plan 1 proposed") == 1
    assert scene.executor.ran == []


async def test_a_proposal_that_can_no_longer_run_in_time_gives_way_to_one_that_can(scene: Scene) -> None:
    """What an operator may approve is what the executor would begin."""
    scene.oracle.peak = 2.9
    await scene.tick()
    first = scene.newest()[0]
    while scene.clock.wall() <= first.actions[0].latest_start:
        assert scene.states() == [PlanState.PROPOSED]
        await scene.tick()
    newest, status = scene.newest()
    assert (newest.number, status.state) == (2, PlanState.PROPOSED)
    assert newest.actions[0].latest_start > scene.clock.wall()
    assert [(a.shard, a.destination) for a in newest.actions] == [(a.shard, a.destination) for a in first.actions]
    assert scene.journal.plan(first.digest())[1].state is PlanState.SUPERSEDED


async def test_proposals_that_are_soon_too_late_do_not_follow_each_other_every_tick(scene: Scene) -> None:
    scene.oracle.peak, scene.oracle.ahead = 2.9, 12
    for _ in range(30):
        await scene.tick()
    made = [plan.created for plan, _ in scene.journal.plans(10)]
    assert len(made) == 3 and min(-np.diff(made)) >= 10.0


async def test_a_proposal_that_can_no_longer_run_in_time_ends_where_nothing_helps_now(scene: Scene) -> None:
    scene.oracle.peak = 2.9
    await scene.tick()
    scene.proposals._planner = lambda *args, **more: NoPlan(created=0.0, snapshot=0, forecast="", reasons=())
    await scene.tick(9)
    assert scene.states() == [PlanState.PROPOSED]
    await scene.tick(3)
    assert scene.states() == [PlanState.SUPERSEDED]
    assert scene.newest()[1].note.startswith("too late: to end in time it had to begin")


async def test_a_proposal_is_taken_back_once_contention_is_gone_for_good(scene: Scene) -> None:
    scene.oracle.peak = 2.9
    await scene.tick()
    scene.oracle.peak = 0.5
    await scene.tick(3)
    assert scene.states() == [PlanState.PROPOSED], "a short gap of the forecast takes nothing back"
    await scene.tick(4)
    assert scene.states() == [PlanState.SUPERSEDED]
    assert "no longer predicted" in scene.newest()[1].note
    await scene.tick(8)
    assert scene.said.getvalue().count("h1 cpu: contention is no longer predicted") == 1


async def test_a_proposal_is_not_taken_from_under_the_eyes_of_its_reader(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.oracle.peak, scene.oracle.ahead = 2.9, 50  # soon, but not so soon that it would be too late before
    await scene.tick()
    shown, _ = scene.newest()
    real = scene.proposals._planner

    def better(*args: object, **more: object) -> Plan | NoPlan:
        made = real(*args, **{**more, "previous": None})
        if not isinstance(made, Plan):
            return made
        other = msgspec.structs.replace(made.actions[0], destination=Label("h3"))
        return msgspec.structs.replace(made, actions=(other,))

    monkeypatch.setattr(scene.proposals, "_planner", better)
    await scene.tick(20)
    assert scene.newest()[0].digest() == shown.digest(), "a better one waits while the first is read"
    await scene.tick(15)
    assert scene.newest()[0].actions[0].destination == "h3"
    assert scene.states().count(PlanState.PROPOSED) == 1


async def test_a_proposal_expires(scene: Scene) -> None:
    scene.oracle.peak = 2.9
    await scene.tick()
    await scene.time.advance(POLICY.expire)
    await scene.tick()
    assert scene.states()[0] is PlanState.EXPIRED


async def test_a_proposal_that_the_world_outran_becomes_stale_with_the_differences(scene: Scene) -> None:
    scene.oracle.peak = 2.9
    await scene.tick()
    plan, _ = scene.newest()
    destination = plan.actions[0].destination
    for _ in range(5):  # the destination says nothing, the others do
        for name in ("h1", "h2", "h3"):
            if name != destination:
                scene.hosts[name].give(0.9)
        await scene.time.advance(1.0)
    await scene.loop.tick()
    status = scene.journal.plan(plan.digest())[1]
    assert status.state is PlanState.STALE and f"host {destination}: state was READY, now SUSPECT" in status.note


async def test_a_rejected_plan_is_not_proposed_again_and_again(scene: Scene) -> None:
    scene.oracle.peak = 2.9
    await scene.tick()
    scene.approvals.reject(scene.newest()[0].digest(), actor=Label("ops"), reason="not tonight")
    await scene.tick(20)
    assert scene.states() == [PlanState.REJECTED]


async def test_level_off_observes_and_proposes_nothing(scene: Scene) -> None:
    scene.loop.level = "off"
    scene.oracle.peak = 2.9
    await scene.tick(3)
    assert scene.states() == [] and scene.loop.picture is not None and scene.loop.picture.contention


async def test_level_full_approves_with_the_policy_as_the_reason_and_runs_it(scene: Scene) -> None:
    scene.loop.level = "full"
    scene.oracle.peak = 2.9
    await scene.tick()
    plan, status = scene.newest()
    assert scene.executor.ran == [plan.digest()]
    assert (status.state, status.approved_by) == (PlanState.SUCCEEDED, "autopilot")
    assert "policy proactive" in status.reason and "level full" in status.reason


async def test_level_full_leaves_what_is_not_proven_to_people(scene: Scene) -> None:
    """S3.5, S5.6: a chance that has not proved right on this very series moves nothing by itself."""
    scene.loop.level = "full"
    scene.oracle.peak, scene.oracle.proven = 2.9, False
    await scene.tick(3)
    assert (scene.states(), scene.executor.ran) == ([PlanState.PROPOSED], [])
    assert scene.said.getvalue().count("waits for approval: the chances of h1 cpu are not proven yet") == 1
    scene.oracle.proven = True
    await scene.tick()
    assert len(scene.executor.ran) == 1


async def test_a_series_that_cannot_be_forecast_counts_only_as_it_is_measured_and_that_is_said(scene: Scene) -> None:
    """S5.22: whatever is predicted of it, there is no contention until it is measured."""
    scene.oracle.peak, scene.oracle.reactive = 2.9, True
    await scene.tick(2, cpu=0.9)
    picture = scene.loop.picture
    assert picture is not None and picture.contention == ()
    assert picture.oracle == "reactive: h1 cpu cannot be forecast, only what is measured counts"
    await scene.tick(2, cpu=2.7)
    assert scene.loop.picture is not None
    assert [(str(c.host), c.dimension, c.probability) for c in scene.loop.picture.contention] == [("h1", "cpu", 1.0)]


async def test_level_full_acts_on_what_is_measured_of_a_series_that_cannot_be_forecast(scene: Scene) -> None:
    """S5.22: the fallback is to react; a host over its limit needs no proof of anything."""
    scene.loop.level = "full"
    scene.oracle.peak, scene.oracle.reactive, scene.oracle.proven = 2.9, True, False
    await scene.tick(2, cpu=0.9)
    assert scene.executor.ran == []
    await scene.tick(2, cpu=2.7)
    assert len(scene.executor.ran) == 1 and "waits for approval" not in scene.said.getvalue()


async def test_a_forecast_of_an_earlier_snapshot_says_how_old_it_is(scene: Scene) -> None:
    scene.oracle.behind = 3
    await scene.tick()
    assert scene.loop.picture is not None
    assert scene.loop.picture.oracle == "late: the forecast is 3.0 s old"


async def test_level_full_does_not_act_on_a_forecast_without_confidence(scene: Scene) -> None:
    """S3.5: no autopilot before enough windows were seen."""
    scene.loop.level = "full"
    scene.oracle.peak, scene.oracle.confidence = 2.9, "insufficient"
    await scene.tick(3)
    assert scene.executor.ran == []
    assert scene.loop.picture is not None and scene.loop.picture.no_plan is not None
    assert scene.loop.picture.no_plan.reasons[0].code == "INSUFFICIENT"
    assert scene.loop.picture.contention == () and "will be over" not in scene.said.getvalue()
    frame = frame_of(scene.loop.picture)
    assert (frame.confidence, frame.contention) == ("insufficient", ()) and frame.future_steps > 0
    assert np.isnan(np.frombuffer(frame.risk, "<f4")).all()


async def test_nothing_is_proposed_while_a_plan_runs_and_what_it_touched_settles(scene: Scene) -> None:
    scene.executor.go.clear()
    scene.oracle.peak = 2.9
    await scene.tick()
    plan, _ = scene.newest()
    scene.approvals.approve(plan.digest(), actor=Label("ops"), reason="")
    await scene.tick(3)
    assert scene.states() == [PlanState.RUNNING] and scene.runs.running
    scene.executor.go.set()
    await settle()
    assert not scene.runs.running
    touched = {n for a in plan.actions for n in (a.shard, a.source, a.destination)}
    assert scene.runs.settling() == touched
    await scene.tick(3)
    assert len(scene.states()) == 1, "hosts that settle are not planned for"
    await scene.time.advance(POLICY.settle)
    assert scene.runs.settling() == frozenset()


async def test_plans_that_fail_take_level_full_back_to_advise(scene: Scene) -> None:
    """The brake: self-healing that fails stops itself and asks for people."""
    scene.loop.level = "full"
    scene.executor.fail = True
    scene.oracle.peak = 2.9
    for _ in range(BRAKE + 2):
        await scene.tick()
        await scene.time.advance(POLICY.settle + 1)
    assert len(scene.executor.ran) == BRAKE
    assert scene.loop.level == "advise"
    assert "did not succeed" in scene.said.getvalue()


async def test_the_outcome_is_measured_to_the_end_of_the_horizon(scene: Scene) -> None:
    """predicted without, predicted with, and what came."""
    scene.loop.level = "full"
    scene.oracle.peak = 2.9
    await scene.tick()
    plan, _ = scene.newest()
    scene.loop.level = "off"
    await scene.tick(30, cpu=1.2)
    assert scene.journal.plan(plan.digest())[1].outcome == ()
    await scene.tick(35, cpu=0.6)
    outcome = {(m.host, m.dimension): m for m in scene.journal.plan(plan.digest())[1].outcome}
    assert outcome["h1", "cpu"].measured == pytest.approx(1.2 / 3.0, abs=0.01)
    assert outcome["h1", "cpu"].predicted_without > 0.8 > outcome["h1", "cpu"].predicted_with
    assert "h1 cpu: 40% measured" in scene.said.getvalue()


async def test_an_approval_of_an_outrun_plan_makes_it_stale_and_runs_nothing(scene: Scene) -> None:
    scene.oracle.peak = 2.9
    await scene.tick()
    plan, _ = scene.newest()
    await scene.time.advance(6)  # every host is silent now
    with pytest.raises(SidestepError, match="STALE"):
        scene.approvals.approve(plan.digest(), actor=Label("ops"), reason="")
    assert scene.states() == [PlanState.STALE] and scene.executor.ran == []


async def test_an_oracle_that_fails_leaves_the_picture_and_is_said_once(scene: Scene) -> None:
    """S1.26: the oracle never blocks observation."""
    scene.oracle.error = RuntimeError("no worker")
    await scene.tick(5)
    picture = scene.loop.picture
    assert picture is not None and picture.forecast is None and "no worker" in picture.oracle
    assert picture.snapshot.hosts.use[0, 0] == 0.9
    frame = frame_of(picture)
    assert frame.future_steps == 0 and np.isnan(np.frombuffer(frame.risk, "<f4")).all()
    assert scene.said.getvalue().count("no worker") == 1
    scene.oracle.error = None
    await scene.tick()
    assert scene.loop.picture is not None and scene.loop.picture.forecast is not None


async def test_a_fallback_forecast_is_named_on_the_picture(scene: Scene) -> None:
    scene.oracle.fallback = "worker starting"
    await scene.tick()
    assert scene.loop.picture is not None and scene.loop.picture.oracle == "fallback: fake: worker starting"


async def test_a_planner_that_fails_leaves_the_picture(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Proposals, "consider", broken)
    before = scene.loop.picture
    await scene.tick()
    assert scene.loop.picture is not before
    assert "planning failed: RuntimeError: a bug" in scene.said.getvalue()


async def test_late_ticks_are_left_out_and_counted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """S4.21: a tick that takes too long does not make the next ones pile up."""
    ticks: list[float] = []

    async def tick() -> None:
        ticks.append(scene.time.now)
        if len(ticks) == 2:
            scene.time.now += 3.5

    monkeypatch.setattr(scene.loop, "tick", tick)
    start = scene.time.now
    running = asyncio.create_task(scene.loop.run())
    await settle()
    await scene.time.advance(8.5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [round(t - start, 1) for t in ticks[:4]] == [0.0, 1.0, 5.0, 6.0]
    assert scene.loop.missed == 3


async def test_a_frame_has_every_column_in_its_documented_shape(scene: Scene) -> None:
    assert scene.loop.picture is not None
    frame = frame_of(scene.loop.picture)
    hosts, shards, dimensions, planned = 3, 3, 6, 2
    assert len(frame.allocatable) == len(frame.use) == 4 * hosts * dimensions and len(frame.age) == 4 * hosts
    assert len(frame.shard_host) == len(frame.shard_bytes) == len(frame.shard_priority) == 4 * shards
    assert len(frame.shard_use) == 4 * shards * planned
    assert len(frame.host_state) == hosts and len(frame.shard_state) == shards
    assert len(frame.past) == 2 * hosts * planned * frame.past_steps
    assert len(frame.future) == 2 * hosts * planned * frame.future_steps * 5
    assert frame.future_steps * frame.future_step == STEPS and frame.future_steps == SHOWN_STEPS
    future = np.frombuffer(frame.future, "<f2").reshape(hosts, planned, SHOWN_STEPS, 5)
    assert future[0, 0, -1] == pytest.approx(0.5 / 3 * np.array([0.97, 0.98333, 0.99667, 1.01, 1.02333]), rel=0.01)
    assert len(frame.risk) == 4 * hosts * planned
