"""From silence to a plan: the loop over real world, journal and planner loses a host (S2.21)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace as changed
from pathlib import Path

import pytest
from loop_doubles import Scene
from msgspec.structs import replace

from sidestep.autopilot.failover.watch import LossWatch
from sidestep.fleet.inventory import FailoverSpec, FleetSpec
from sidestep.fleet.machines import HostState, PlanState, ShardState

SPEC = FailoverSpec(grace=15.0, quarantine=60.0)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path)
    watching = asyncio.create_task(scene.world.run())
    equip(scene, scene.loop._parts.fleet)
    await scene.tick(3)
    yield scene
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    scene.journal.close()


def equip(scene: Scene, fleet: FleetSpec, **policy: object) -> None:
    """s1 may restart elsewhere, s2 waits, s3 is pinned."""
    shards = tuple(replace(s, failover="restart" if s.name != "s2" else "wait") for s in fleet.shards)
    rules = replace(fleet.policy, **{"kinds": ("migrate", "failover"), **policy})
    fleet = replace(fleet, shards=shards, failover=SPEC, policy=rules)
    losses = LossWatch(fleet, scene.world, scene.journal, scene.clock, scene.log)
    scene.loop._parts = changed(scene.loop._parts, losses=losses)
    scene.loop.switch(fleet)
    scene.proposals.switch(fleet)


async def without(scene: Scene, seconds: int, *gone: str) -> None:
    """Seconds of the loop without these hosts."""
    for _ in range(seconds):
        for name, host in scene.hosts.items():
            if name not in gone:
                host.give(0.3)
        await scene.time.advance(1.0)
        await scene.loop.tick()


def said(scene: Scene) -> str:
    picture = scene.loop.picture
    assert picture is not None
    return "\n".join(picture.alerts)


async def test_a_lost_host_is_proposed_to_be_left_and_everything_else_is_told(scene: Scene) -> None:
    """Level advise proposes; who waits or is pinned is told with the reason."""
    await without(scene, 20, "h1")
    assert scene.states() == [], "DEAD is not lost yet"
    await without(scene, 10, "h1")
    plan, status = scene.newest()
    assert [(a.kind, a.shard, a.source) for a in plan.actions] == [("failover", "s1", "h1")]
    action = plan.actions[0]
    assert (action.priority, action.reason.code, action.latest_start, action.freeze_ms) == (1, "FAILS_OVER", 0.0, 0.0)
    assert status.state is PlanState.PROPOSED
    assert "s2 waits for it" in said(scene) and "s3 is pinned to it" in said(scene)
    assert any(fact.host == "h1" and fact.state == "DEAD" for fact in plan.basis.hosts)


@pytest.mark.parametrize("level", ["semi", "full"])
async def test_unproven_chances_and_criteria_of_contention_keep_no_failover(scene: Scene, level: str) -> None:
    """That a host is lost is no prediction."""
    equip(scene, scene.loop._parts.fleet, semi_priority=1, semi_probability=0.99, semi_bytes=1, semi_freeze=0.001)
    scene.oracle.proven = False
    scene.loop.level = level  # type: ignore[assignment]
    await without(scene, 30, "h1")
    plan, status = scene.newest()
    assert scene.executor.ran == [plan.digest()], scene.said.getvalue()[-600:]
    assert f"level {level}" in status.reason


async def test_lost_hosts_wait_for_no_oracle(scene: Scene) -> None:
    scene.oracle.error = RuntimeError("no oracle")
    await without(scene, 30, "h1")
    assert [(a.kind, a.shard) for a in scene.newest()[0].actions] == [("failover", "s1")]


async def test_while_the_brake_holds_nothing_is_planned_and_it_is_said(scene: Scene) -> None:
    """Lesson 10."""
    await without(scene, 40, "h1", "h2")
    assert scene.states() == []
    assert "failover brake: 2 of 3 hosts are DEAD" in said(scene)


async def test_without_the_kind_in_the_policy_it_is_only_told(scene: Scene) -> None:
    equip(scene, scene.loop._parts.fleet, kinds=("migrate",))
    await without(scene, 30, "h1")
    assert scene.states() == []
    assert "failover is off" in said(scene)


async def test_a_proposal_is_stale_once_the_host_is_back_and_the_host_is_in_quarantine(scene: Scene) -> None:
    await without(scene, 30, "h1")
    await without(scene, 3)
    assert scene.states()[0] is PlanState.STALE
    picture = scene.loop.picture
    assert picture is not None
    assert picture.snapshot.hosts.states[0] is HostState.QUARANTINED
    assert "nothing new is placed there before" in picture.snapshot.hosts.reasons[0]
    await without(scene, 65)
    picture = scene.loop.picture
    assert picture is not None and picture.snapshot.hosts.states[0] is HostState.READY


async def test_nothing_new_is_planned_onto_a_host_in_quarantine(scene: Scene) -> None:
    await without(scene, 30, "h2")
    await without(scene, 3)
    scene.oracle.peak = 2.9
    await scene.tick(3)
    plan, _ = scene.newest()
    assert {a.destination for a in plan.actions} == {"h3"}


async def test_a_poisoned_shard_is_shown_and_planned_nowhere(scene: Scene) -> None:
    """Lesson 11."""
    losses = scene.loop._parts.losses
    assert losses is not None
    scene.journal.host_lost("h9", heard=1.0, reason="x", shards={}, poisoned={"s1": "it killed h8 and h9"})  # type: ignore[dict-item]
    equip(scene, scene.loop._parts.fleet)
    await without(scene, 30, "h1")
    picture = scene.loop.picture
    assert picture is not None and picture.snapshot.shards.states[0] is ShardState.POISONED
    assert scene.states() == []
    assert "s1 is poisoned: it killed h8 and h9" in said(scene)
