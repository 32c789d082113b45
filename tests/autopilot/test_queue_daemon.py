"""The daemon and its queue: nobody who waits is started, old processes of them are fenced, screens say who waits."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import msgspec
import pytest
from loop_doubles import Scene as LoopScene
from queue_doubles import QueueBench
from test_daemon_settlement import HOSTS, Host, Processes
from world_doubles import FakeTime, scripted_world, settle, small_fleet

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_shards import Settlement
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.queue.desk import expected, view
from sidestep.autopilot.steps import routing_table
from sidestep.autopilot.world import ShardFacts
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState
from sidestep.fleet.newwork import SpeculativeWork
from sidestep.fleet.placement import Owner, Placement
from sidestep.fleet.queue import AGEING, Waiting


def waiting_fleet(**more: object) -> FleetSpec:
    """Of three shards the third begins in the queue."""
    fleet = small_fleet()
    third = msgspec.structs.replace(fleet.shards[2], queued=True, **more)
    return msgspec.structs.replace(fleet, shards=(*fleet.shards[:2], third))


class Scene:
    def __init__(self, folder: Path, fleet: FleetSpec) -> None:
        self.journal, self.said = Journal(folder / "journal.db"), io.StringIO()
        self.hosts, self.backend = {name: Host(name) for name in HOSTS}, Processes()
        self.settlement = Settlement(
            fleet, self.journal, {"process": self.backend}, lambda name: self.hosts[name],  # type: ignore[dict-item, arg-type, return-value]
            Log(self.journal, stream=self.said),
        )  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path, waiting_fleet())


# -- settlement


async def test_a_shard_that_is_declared_to_wait_is_not_started_and_waits_once(scene: Scene) -> None:
    """S5.18, S5.20: the same declaration, seen again after a restart, is the same deployment."""
    for _ in range(3):
        await scene.settlement.settle(HOSTS)
    assert {shard for _, shard, _ in scene.backend.started} == {"s1", "s2"}
    (one,) = scene.journal.queue()
    assert (one.shard, one.cause, one.token, one.deployment) == ("s3", "declared", 0, "file:s3")
    assert scene.settlement.settled == set(HOSTS)


async def test_a_shard_that_is_declared_to_wait_and_runs_already_is_taken_as_it_runs(scene: Scene) -> None:
    scene.backend.put("h2", "s3", 4)
    await scene.settlement.settle(HOSTS)
    assert scene.journal.placement().owners[Label("s3")] == Owner(Label("h2"), 4)
    assert scene.journal.queue() == () and not scene.backend.stopped


async def test_one_that_waits_and_is_found_on_a_host_that_comes_back_leaves_the_queue(scene: Scene) -> None:
    scene.hosts["h2"].up = False
    await scene.settlement.settle(HOSTS)
    assert [one.shard for one in scene.journal.queue()] == ["s3"]
    scene.hosts["h2"].up = True
    scene.backend.put("h2", "s3", 4)
    await scene.settlement.settle(("h2",))
    assert scene.journal.placement().owners[Label("s3")] == Owner(Label("h2"), 4)
    assert scene.journal.queue() == ()


def gone(scene: Scene, token: int) -> None:
    """The third shard has given way, and is fenced below that token."""
    scene.journal.submit({Label("s3"): "x"}, Label("test"))
    with scene.journal._transaction() as db:
        db.execute("UPDATE queued SET token = ?, cause = 'preempted', host = 'h1' WHERE shard = 's3'", (token,))


@pytest.mark.parametrize("state", [ShardState.RUNNING, ShardState.FROZEN, ShardState.FAILED])
async def test_an_older_process_of_one_that_gave_way_is_fenced(scene: Scene, state: ShardState) -> None:
    """S2.8: a shard that waits has no owner; who had it finds himself fenced."""
    gone(scene, 7)
    scene.backend.put("h2", "s3", 6, state)
    await scene.settlement.settle(HOSTS)
    assert scene.backend.stopped == [("h2", "s3")] and scene.backend.fences["h2", "s3"] == 7
    assert [one.shard for one in scene.journal.queue()] == ["s3"]


async def test_a_newer_process_of_one_that_gave_way_is_left_alone_and_told_of(scene: Scene) -> None:
    gone(scene, 7)
    scene.backend.put("h2", "s3", 9)
    await scene.settlement.settle(HOSTS)
    assert not scene.backend.stopped and scene.settlement.disputed == {"s3"}
    assert "is this an old journal?" in scene.said.getvalue()


# -- pictures and answers


def test_who_waits_is_pending_and_who_gave_way_is_stopped() -> None:
    world = scripted_world(small_fleet(), FakeTime())[0]
    placement = Placement(7, {Label("s1"): Owner(Label("h1"), 3)}, {Label("s2"): 0, Label("s3"): 5})
    shards = world.snapshot(placement, ShardFacts()).shards
    assert shards.states[1:] == (ShardState.PENDING, ShardState.STOPPED)
    assert shards.host.tolist() == [0, -1, -1] and not shards.movable[1:].any()
    later = Placement(8, {**placement.owners, Label("s3"): Owner(Label("h2"), 6)}, {Label("s2"): 0})
    assert world.snapshot(later, ShardFacts()).shards.host.tolist() == [0, -1, 1]


async def test_an_app_of_which_a_shard_waits_is_in_no_routing_table_and_others_are(tmp_path: Path) -> None:
    bench = QueueBench(tmp_path)
    keyed = msgspec.structs.replace(bench.fleet.shards[3], keys=(0, 65536))
    fleet = msgspec.structs.replace(bench.fleet, shards=(*bench.fleet.shards[:3], keyed))
    endpoints = bench.journal.endpoints()
    table = routing_table(fleet, bench.journal.placement(), endpoints)
    assert {route.app for route in table.routes} == {"kv"}
    with pytest.raises(KeyError):
        table.find("new", "key")
    placed = bench.journal.placement().place(Label("s4"), Label("h2"), expected_token=0, token=9)
    assert routing_table(fleet, placed, endpoints).find("new", "key").address == "h2"


def test_who_comes_next_is_shown_first() -> None:
    fleet = waiting_fleet(priority=5)
    queue = (
        Waiting(shard=Label("s2"), since=1000.0 - AGEING),
        Waiting(shard=Label("s3"), since=1000.0 - 20 * AGEING),
        Waiting(shard=Label("gone from the file"), since=0.0),
    )
    rows = view(fleet, queue, 1000.0).rows
    assert [(row.shard, row.waited) for row in rows] == [("s3", 20 * AGEING), ("s2", AGEING)]
    assert rows[0].benefit > rows[1].benefit and rows[0].reason.code == "NOT_LOOKED"


def test_expected_work_says_what_a_shard_of_its_app_will_need() -> None:
    """S4.13: where nobody declares it."""
    work = SpeculativeWork(
        name=Label("n"), app=Label("batch"), kind="seasonal", begins=0.0, lasts=1.0, chance=0.9,
        demand=((1.0, 2.0, 3.0), (10.0, 20.0, 30.0)), quota=1, expires=9.0, reason=Label("as last week"),
    )  # fmt: skip
    assert expected([work]) == {"batch": (2.0, 20.0)}
    assert expected([msgspec.structs.replace(work, demand=())]) == {}


# -- the loop


async def test_every_look_of_the_planner_leaves_its_reasons_in_the_queue(tmp_path: Path) -> None:
    """S5.18: why each host does not take it, as the planner last saw it."""
    scene = LoopScene(tmp_path)
    with scene.journal._transaction() as db:
        db.execute("DELETE FROM owner WHERE shard = 's3'")
    scene.journal.submit({Label("s3"): "file:s3"}, Label("test"))
    task = asyncio.create_task(scene.world.run())
    await settle()
    scene.oracle.peak = 1.0
    await scene.tick(2, cpu=0.3)
    (one,) = scene.journal.queue()
    assert one.reason.code == "KIND" and one.looked > 0
    assert one.reasons[0].host == "" and {why.host for why in one.reasons[1:]} == {"h1", "h2", "h3"}
    answer = scene.loop.picture.no_plan if scene.loop.picture else None
    assert answer is not None and [r.code for r in answer.reasons] == ["NO_CONTENTION", "QUEUE"]
    looked = one.looked
    await scene.tick(1, cpu=0.3)
    assert scene.journal.queue()[0].looked == looked, "what has not changed is not written again"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    scene.journal.close()
