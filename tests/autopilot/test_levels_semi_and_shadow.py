"""Levels between nothing and everything: semi by criteria, shadow on paper, the most cautious of all that concern."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from loop_doubles import Scene
from msgspec.structs import replace

from sidestep.autopilot.levels import Held, Levels
from sidestep.autopilot.levels_decide import criteria, decide
from sidestep.autopilot.levels_governor import Governor
from sidestep.autopilot.levels_view import autopilot_view
from sidestep.autopilot.loop_words import unproven
from sidestep.console.headless.levels import status_lines
from sidestep.fleet.actions import Applied
from sidestep.fleet.config import dump_fleet, parse_fleet
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState

OPS = Label("ops")


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path)
    watching = asyncio.create_task(scene.world.run())
    await scene.tick()
    yield scene
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    scene.journal.close()


def go_by(scene: Scene, **changed: object) -> None:
    fleet = scene.loop._parts.fleet
    fleet = replace(fleet, policy=replace(fleet.policy, **changed))
    scene.loop.switch(fleet)
    scene.proposals.switch(fleet)


async def test_semi_approves_what_meets_the_criteria_and_says_so(scene: Scene) -> None:
    """Glossary: semi; workflows 4."""
    go_by(scene, semi_priority=5, semi_freeze=0.0, semi_bytes=0, semi_probability=0.5)
    scene.loop.level = "semi"
    scene.oracle.peak = 2.9
    await scene.tick()
    plan, status = scene.newest()
    assert scene.executor.ran == [plan.digest()] and "level semi" in status.reason


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"semi_probability": 0.99}, "level semi from 0.99"),
        ({"semi_lead_least": 600.0}, "ahead, level semi from 10m"),
        ({"semi_lead_most": 1.0}, "ahead, level semi up to 1s"),
    ],
)
async def test_semi_leaves_the_rest_to_people_with_the_reason(
    scene: Scene, changed: dict[str, float], said: str
) -> None:
    go_by(scene, semi_priority=5, semi_freeze=0.0, semi_bytes=0, **changed)
    scene.loop.level = "semi"
    scene.oracle.peak = 2.9
    await scene.tick(3)
    assert scene.executor.ran == [] and scene.states() == [PlanState.PROPOSED]
    lines = [line for line in scene.said.getvalue().splitlines() if "waits for approval" in line]
    assert len(lines) == 1 and said in lines[0]


async def test_every_criterion_counts(scene: Scene) -> None:
    scene.oracle.peak = 2.9
    await scene.tick()
    plan = scene.newest()[0]
    heavy = replace(plan, actions=(replace(plan.actions[0], priority=4, bytes=2 << 30, freeze_ms=2500.0),))
    policy = Policy(semi_priority=3, semi_bytes=1 << 30, semi_freeze=1.0, semi_probability=0.0)
    text = "; ".join(criteria(heavy, policy))
    for part in ("it carries", "priority 4, level semi up to 3", "freezes 2500 ms, level semi at most 1000 ms"):
        assert part in text
    assert criteria(heavy, replace(policy, semi_priority=5, semi_bytes=0, semi_freeze=0.0)) == []


async def test_what_users_lose_by_waits_for_a_person_and_taking_it_back_for_nobody(scene: Scene) -> None:
    """S3.24: actions of plugins; that nothing is hot is no chance that has to be proven."""
    scene.oracle.peak = 2.9
    await scene.tick()
    plan = scene.newest()[0]
    policy = Policy(semi_priority=5, semi_bytes=0, semi_freeze=0.0, semi_probability=0.0)
    nap = Applied(name=Label("nap"), plugin=Label("hook"), params="{}", says=Label("naps"), validate=":", execute="a",
                  verify="b", revert="c", seconds=1.0, loss=0.5)  # fmt: skip
    acts = [replace(plan.actions[0], kind=kind, applied=nap, evidence=None) for kind in ("apply", "lift")]
    first, second = (replace(plan, actions=(action,)) for action in acts)
    assert "users lose 50% of" in "; ".join(criteria(first, policy))
    assert criteria(replace(first, actions=(replace(acts[0], applied=replace(nap, loss=0.0)),)), policy) == []
    assert criteria(second, policy) == []
    assert unproven(first, ()) and not unproven(second, ())


async def test_a_cautious_level_of_one_app_holds_in_a_fleet_at_level_full(scene: Scene) -> None:
    scene.loop.level = "full"
    scene.loop.governor.set_level("app", "a", "advise", actor=OPS, reason="young")
    scene.oracle.peak = 2.9
    await scene.tick(3)
    assert scene.executor.ran == []
    assert scene.said.getvalue().count("waits for approval: level advise of app a") == 1
    scene.loop.governor.set_level("app", "a", "", actor=OPS, reason="grown")
    await scene.tick()
    assert len(scene.executor.ran) == 1


async def test_for_what_is_off_nothing_is_proposed(scene: Scene) -> None:
    scene.loop.governor.set_level("app", "a", "off", actor=OPS, reason="")
    scene.oracle.peak = 2.9
    await scene.tick(3)
    assert scene.states() == []


async def test_trust_and_levels_hold_together(scene: Scene) -> None:
    scene.oracle.peak = 2.9
    await scene.tick()
    plan, contention = scene.newest()[0], scene.loop.picture.contention if scene.loop.picture else ()
    for allowed, does in (("full", "approve"), ("advise", "wait"), ("shadow", "shadow")):
        found = decide(plan, Held("full", "fleet"), allowed, (plan.policy,), contention=contention, now=0.0)
        assert found.does == does


async def test_shadow_notes_what_it_would_have_approved_and_later_what_came_of_it(scene: Scene, tmp_path: Path) -> None:
    """Glossary: shadow; computed, never done, compared with what happened."""
    scene.loop.governor.attach(state=tmp_path)
    scene.loop.level = "shadow"
    scene.oracle.peak = 2.9
    await scene.tick(2)
    assert scene.executor.ran == [] and scene.states() == [PlanState.PROPOSED]
    shadow = scene.loop.governor.shadow
    assert [(row.number, row.against, row.end) for row in shadow.rows] == [(1, "", "")]
    scene.oracle.peak = 0.5
    await scene.tick(75, cpu=2.7)
    row = shadow.rows[0]
    assert (row.end, row.came) == ("measured", True)
    assert {(m.host, m.dimension): m.measured for m in row.measured}["h1", "cpu"] == pytest.approx(0.9, abs=0.01)
    said = scene.said.getvalue()
    assert said.count("shadow: plan 1 would have been approved") == 1
    assert "shadow: plan 1 was not run; its contention came: h1 cpu 90% measured" in said
    again = Governor(scene.loop._parts.fleet, scene.journal, scene.log, scene.clock)
    again.attach(state=tmp_path)
    assert again.shadow.rows == shadow.rows
    told = status_lines(autopilot_view(again), 0.0)
    assert told[-1] == "shadow: plan #1 would have been approved; its contention came"


async def test_shadow_says_why_it_would_not_have_and_forgets_nothing_at_the_end(scene: Scene, tmp_path: Path) -> None:
    scene.loop.governor.attach(state=tmp_path)
    scene.loop.level = "shadow"
    scene.oracle.peak, scene.oracle.proven = 2.9, False
    await scene.tick()
    assert "not proven" in scene.loop.governor.shadow.rows[0].against
    again = Governor(scene.loop._parts.fleet, scene.journal, scene.log, scene.clock)
    again.attach(state=tmp_path)
    assert [row.end for row in again.shadow.rows] == ["lost"]
    scene.approvals.approve(scene.newest()[0].digest(), actor=OPS, reason="by hand")
    await scene.tick()
    assert scene.loop.governor.shadow.rows[0].end == "acted"


def test_levels_of_apps_shards_and_hosts_are_declared_in_the_fleet_file() -> None:
    """Glossary: automation level, per fleet, app, shard, host."""
    text = """
    [fleet]
    name = "f"
    level = "full"
    app_levels = {kv = "semi"}
    [hosts.h1]
    address = "10.0.0.1"
    level = "advise"
    [shards.kv-1]
    app = "kv"
    host = "h1"
    start = "true"
    level = "shadow"
    """
    fleet = parse_fleet(text, "fleet.toml")
    assert parse_fleet(dump_fleet(fleet), "fleet.toml") == fleet
    rows = {(row.scope, str(row.name)): row.level for row in Levels(fleet).rows()}
    assert rows == {("fleet", ""): "full", ("app", "kv"): "semi", ("host", "h1"): "advise", ("shard", "kv-1"): "shadow"}
    with pytest.raises(ConfigError, match="kv = turbo, which is none of off, shadow"):
        parse_fleet(text.replace('"semi"', '"turbo"'), "fleet.toml")
