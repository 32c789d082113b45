"""S2.27: what somebody else moved, copied or took away is told, planned for by nobody, and stopped by nobody."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from test_daemon_settlement import HOSTS, Host, Processes
from world_doubles import FakeTime, scripted_world, small_fleet

from sidestep.autopilot.approval import action_differences
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_shards import Settlement
from sidestep.autopilot.foreign import GONE, Foreign
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.world_columns import ShardFacts
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState
from sidestep.fleet.placement import Owner, Placement
from sidestep.fleet.plans import Action, Basis, HostFact, PlacementFact, Plan, Reason
from sidestep.fleet.snapshot import Snapshot


class Scene:
    """Three shards on h1, as the journal and the processes have it."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "journal.db")
        self.said = io.StringIO()
        self.busy: set[str] = set()
        self.backend = Processes()
        hosts = {name: Host(name) for name in HOSTS}
        self.settlement = Settlement(
            small_fleet(),
            self.journal,
            {"process": self.backend},  # type: ignore[dict-item]
            lambda name: hosts[name],  # type: ignore[arg-type, return-value]
            Log(self.journal, stream=self.said),
            busy=lambda: frozenset(self.busy),
        )
        self.journal.adopt({Label(s): Owner(Label("h1"), 4) for s in ("s1", "s2", "s3")}, Label("test"))
        for shard in ("s1", "s2", "s3"):
            self.backend.put("h1", shard, 4)

    @property
    def foreign(self) -> Foreign:
        return self.settlement.foreign


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.journal.close()


def plan_of(shard: str) -> Plan:
    """s1 to h3, decided while everything was where it belongs."""
    return Plan(
        number=1, fleet=Label("f"), created=0.0, expires=300.0, author=Label("planner"), snapshot=1, forecast="f",
        policy=Policy(), summary=Label("move"),
        basis=Basis(
            tuple(PlacementFact(Label(s), Label("h1"), 4) for s in ("s1", "s2", "s3")),
            (HostFact(Label("h1"), "READY", 4.0, 8), HostFact(Label("h3"), "READY", 4.0, 8)),
        ),
        actions=(
            Action(id=1, shard=Label(shard), source=Label("h1"), destination=Label("h3"), token=4, priority=2,
                   reason=Reason("contention", Label("hot"))),
        ),
    )  # fmt: skip


async def test_two_processes_with_equal_tokens_are_both_told_and_neither_is_stopped(scene: Scene) -> None:
    scene.backend.put("h2", "s1", 4)
    await scene.settlement.settle(HOSTS)
    assert not scene.backend.stopped and not scene.backend.started
    assert scene.foreign.shards == {"s1"}
    (notice,) = scene.foreign.notices()
    assert "s1 runs on h2 under the token of its owner h1" in notice and "by hand" in notice
    assert scene.said.getvalue().count("nobody here put it there") == 1
    assert "h2" not in scene.settlement.settled, "it is looked at again"
    await scene.settlement.settle(("h2",))
    assert scene.said.getvalue().count("nobody here put it there") == 1, "told once"


async def test_a_shard_that_was_taken_to_another_host_by_hand_is_not_started_a_second_time(scene: Scene) -> None:
    del scene.backend.run["h1", "s1"]
    scene.backend.put("h2", "s1", 4)
    await scene.settlement.settle(HOSTS)
    assert ("h1", "s1", 4) not in scene.backend.started and not scene.backend.stopped
    del scene.backend.run["h2", "s1"]  # somebody made up his mind
    await scene.settlement.settle(("h2",))
    await scene.settlement.settle(("h1",))
    assert ("h1", "s1", 4) in scene.backend.started and not scene.foreign.shards
    assert "s1 is where it was put again" in scene.said.getvalue()


async def test_an_older_token_is_a_leftover_and_a_move_of_ours_is_no_foreign_one(scene: Scene) -> None:
    scene.backend.put("h2", "s1", 3)
    scene.backend.put("h3", "s2", 4)
    scene.busy.add("s2")
    await scene.settlement.settle(HOSTS)
    assert scene.backend.stopped == [("h2", "s1")] and not scene.foreign.shards


async def test_a_newer_token_is_told_on_every_screen_until_it_is_gone(scene: Scene) -> None:
    scene.backend.put("h2", "s1", 99)
    await scene.settlement.settle(HOSTS)
    assert scene.settlement.disputed == {"s1"} == set(scene.foreign.shards)
    assert "is this an old journal?" in scene.foreign.notices()[0]
    del scene.backend.run["h2", "s1"]
    await scene.settlement.settle(HOSTS)
    assert not scene.settlement.disputed and not scene.foreign.shards


async def test_plans_that_rely_on_such_a_shard_no_longer_fit_and_say_why(scene: Scene) -> None:
    plan = plan_of("s1")
    present = Basis(plan.basis.placements, plan.basis.hosts)
    assert scene.foreign.marked(plan, present) == present
    scene.backend.put("h2", "s1", 4)
    await scene.settlement.settle(HOSTS)
    marked = scene.foreign.marked(plan, present)
    assert plan.basis.differences(marked) == (
        "shard s1: was on h1 (token 4), now on h1 and, put there by somebody else, on h2 (token 4)",
    )
    (line,) = action_differences(plan, plan.actions[0], 4, scene.journal.placement(), marked)
    assert "put there by somebody else, on h2" in line
    other = plan_of("s2")
    assert action_differences(other, other.actions[0], 4, scene.journal.placement(), marked) == ()


def snapshot_of(states: tuple[ShardState, ...]) -> Snapshot:
    world, _ = scripted_world(small_fleet(), FakeTime())
    journal = {Label(s): Owner(Label("h1"), 4) for s in ("s1", "s2", "s3")}
    made = world.snapshot(Placement(4, journal), ShardFacts(state_bytes={}, moving=frozenset()))
    return replace(made, shards=replace(made.shards, states=states))


RUN, STOP, AWAY = ShardState.RUNNING, ShardState.STOPPED, ShardState.DEGRADED


def test_a_shard_that_vanished_from_a_host_that_is_fine_is_told_until_it_is_back() -> None:
    said: list[tuple[str, str]] = []
    foreign = Foreign(lambda kind, text: said.append((kind, text)))
    foreign.look(snapshot_of((RUN, RUN, STOP)), (), 0.0)
    gone = snapshot_of((STOP, RUN, STOP))
    assert not foreign.look(gone, (), 1.0) and not foreign.look(gone, (), 1.0 + GONE - 0.1)
    assert foreign.look(gone, (), 1.0 + GONE) == {"s1"}, "s3 never ran, so it did not vanish"
    assert said == [("error", foreign.reasons()["s1"])] and "s1 vanished from h1" in said[0][1]
    plan = plan_of("s1")
    marked = foreign.marked(plan, Basis(plan.basis.placements, plan.basis.hosts))
    assert "it vanished from h1" in plan.basis.differences(marked)[0]
    assert foreign.look(snapshot_of((AWAY, RUN, STOP)), (), 20.0) == {"s1"}, "a host that is silent is no news"
    assert not foreign.look(snapshot_of((RUN, RUN, STOP)), (), 30.0)
    assert said[-1] == ("host", "s1 is where it was put again, and may be planned for")


def test_a_shard_in_a_move_and_one_on_a_lost_host_did_not_vanish() -> None:
    said: list[tuple[str, str]] = []
    foreign = Foreign(lambda kind, text: said.append((kind, text)))
    foreign.look(snapshot_of((RUN, RUN, RUN)), (), 0.0)
    for now in (1.0, 100.0):
        assert not foreign.look(snapshot_of((STOP, AWAY, RUN)), ("s1",), now)
    assert not said
