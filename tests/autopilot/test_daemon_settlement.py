"""What runs where at the start: kept, started, stopped or left alone, by the tokens."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from world_doubles import small_fleet

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_shards import Settlement
from sidestep.autopilot.journal import Journal
from sidestep.backends.base import ShardObservation
from sidestep.fleet.actions import Applied
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState
from sidestep.fleet.placement import Owner

HOSTS = ("h1", "h2", "h3")
NAP = Applied(name=Label("nap"), plugin=Label("hook"), params="{}", says=Label("naps"), validate=":", execute="a",
              verify="b", revert="c", seconds=1.0, loss=0.0)  # fmt: skip


class Host:
    def __init__(self, name: str) -> None:
        self.host = name
        self.up = True

    async def connect(self) -> None:
        if not self.up:
            raise HostUnreachable(self.host, "connect", "no route")


class Processes:
    """A backend that keeps processes in a dict of (host, shard), and fences as the contract says."""

    name = "process"
    capabilities = frozenset({"discover"})

    def __init__(self) -> None:
        self.run: dict[tuple[str, str], tuple[int, ShardState]] = {}
        self.fences: dict[tuple[str, str], int] = {}
        self.started: list[tuple[str, str, int]] = []
        self.stopped: list[tuple[str, str]] = []
        self.refuse = ""

    def put(self, host: str, shard: str, token: int, state: ShardState = ShardState.RUNNING) -> None:
        self.run[host, shard] = (token, state)

    async def discover(self, transport: Host) -> tuple[ShardObservation, ...]:
        return tuple(self._seen(host, shard, *at) for (host, shard), at in self.run.items() if host == transport.host)

    async def start(self, transport: Host, shard: ShardSpec, token: int, address: str) -> ShardObservation:
        if shard.name == self.refuse:
            raise HostError(transport.host, "start", "the command failed")
        at = (transport.host, str(shard.name))
        assert self.fences.get(at, 0) <= token, "fenced"
        assert self.run.get(at, (token, ShardState.RUNNING))[0] == token, "another token runs there"
        self.run[at] = (token, ShardState.RUNNING)
        self.started.append((*at, token))
        return self._seen(*at, token, ShardState.RUNNING)

    async def stop(self, transport: Host, shard: ShardSpec, token: int) -> None:
        at = (transport.host, str(shard.name))
        assert self.run[at][0] <= token, "a newer token is not stopped"
        del self.run[at]
        self.fences[at] = token
        self.stopped.append(at)

    @staticmethod
    def _seen(host: str, shard: str, token: int, state: ShardState) -> ShardObservation:
        return ShardObservation(
            shard=Label(shard), host=Label(host), state=state, token=token, pid=1, started=1, address="::1", port=7000
        )


class Scene:
    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "journal.db")
        self.said = io.StringIO()
        self.busy: set[str] = set()
        self.hosts = {name: Host(name) for name in HOSTS}
        self.backend = Processes()
        self.settlement = Settlement(
            small_fleet(),
            self.journal,
            {"process": self.backend},  # type: ignore[dict-item]
            lambda name: self.hosts[name],  # type: ignore[arg-type, return-value]
            Log(self.journal, stream=self.said),
            busy=lambda: frozenset(self.busy),
        )

    def own(self, **tokens: int) -> None:
        """Shards of the first host with these tokens in the journal."""
        self.journal.adopt({Label(s): Owner(Label("h1"), t) for s, t in tokens.items()}, Label("test"))

    def running(self) -> set[tuple[str, str, int]]:
        return {(h, s, token) for (h, s), (token, state) in self.backend.run.items() if state is ShardState.RUNNING}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.journal.close()


async def test_on_the_first_start_declared_shards_are_started_where_they_are_declared(scene: Scene) -> None:
    """S3.9: create."""
    await scene.settlement.settle(HOSTS)
    assert scene.running() == {("h1", "s1", 1), ("h1", "s2", 1), ("h1", "s3", 1)}
    assert scene.settlement.settled == set(HOSTS)
    assert scene.journal.endpoint("s1") == ("::1", 7000)


async def test_settling_again_changes_nothing(scene: Scene) -> None:
    await scene.settlement.settle(HOSTS)
    before, generation = list(scene.backend.started), scene.journal.placement().generation
    await scene.settlement.settle(HOSTS)
    assert scene.backend.started == before and scene.journal.placement().generation == generation


async def test_running_shards_that_the_journal_does_not_know_are_adopted_where_they_run(scene: Scene) -> None:
    scene.backend.put("h2", "s1", 5)
    await scene.settlement.settle(HOSTS)
    assert scene.journal.placement().owners[Label("s1")] == Owner(Label("h2"), 5)
    assert ("h1", "s1") not in scene.backend.run


async def test_of_two_unknown_copies_the_newer_one_is_kept_and_the_older_one_stopped(scene: Scene) -> None:
    scene.backend.put("h2", "s1", 5)
    scene.backend.put("h3", "s1", 4)
    await scene.settlement.settle(HOSTS)
    assert ("h2", "s1", 5) in scene.running() and scene.backend.stopped == [("h3", "s1")]
    assert scene.backend.fences["h3", "s1"] == 5


async def test_the_owners_process_is_kept_and_an_older_copy_is_fenced(scene: Scene) -> None:
    """S2.27: an owner with an older token is no owner."""
    scene.own(s1=5)
    scene.backend.put("h1", "s1", 5)
    scene.backend.put("h2", "s1", 3)
    await scene.settlement.settle(HOSTS)
    assert {r for r in scene.running() if r[1] == "s1"} == {("h1", "s1", 5)}
    assert not [s for s in scene.backend.started if s[1] == "s1"]


async def test_a_host_that_comes_back_with_a_dead_old_owner_is_fenced_once(scene: Scene) -> None:
    """S2.21: its lease ran out while it was away, and no late order may start it again."""
    scene.own(s1=5)
    scene.backend.put("h1", "s1", 5)
    scene.backend.put("h2", "s1", 3, ShardState.FAILED)
    await scene.settlement.settle(HOSTS)
    assert scene.backend.fences["h2", "s1"] == 5
    assert "h2: fenced s1: token 3 is older than 5" in scene.said.getvalue()
    await scene.settlement.settle(HOSTS)
    assert scene.backend.stopped == [("h2", "s1")]


@pytest.mark.parametrize("state", [ShardState.FROZEN, ShardState.FAILED])
async def test_an_owners_process_that_does_not_serve_is_started_with_the_owners_token(
    scene: Scene, state: ShardState
) -> None:
    scene.own(s1=5)
    scene.backend.put("h1", "s1", 5, state)
    await scene.settlement.settle(HOSTS)
    assert ("h1", "s1", 5) in scene.running()


@pytest.mark.parametrize(("state", "kept"), [(ShardState.FROZEN, True), (ShardState.FAILED, False)])
async def test_what_a_plugin_has_done_to_a_process_ends_with_it_and_only_with_it(
    scene: Scene, state: ShardState, kept: bool
) -> None:
    scene.own(s1=5)
    scene.backend.put("h1", "s1", 5, state)
    with scene.journal._transaction() as db:
        db.execute("INSERT INTO standing VALUES ('s1', 'nap', 5, 0.0, ?)", (msgspec.json.encode(NAP).decode(),))
    assert [one.applied for one in scene.journal.standing()] == [NAP]
    await scene.settlement.settle(HOSTS)
    assert bool(scene.journal.standing()) is kept
    assert ("nap of s1 has ended with its process" in scene.said.getvalue()) is not kept


async def test_an_older_process_on_the_owners_host_gives_way(scene: Scene) -> None:
    scene.own(s1=5)
    scene.backend.put("h1", "s1", 2)
    await scene.settlement.settle(HOSTS)
    assert scene.backend.stopped == [("h1", "s1")] and ("h1", "s1", 5) in scene.running()


async def test_a_process_newer_than_the_journal_is_neither_stopped_nor_doubled(scene: Scene) -> None:
    """An old journal that was put in place must not destroy what runs."""
    scene.own(s1=5)
    scene.backend.put("h2", "s1", 9)
    await scene.settlement.settle(HOSTS)
    assert {r for r in scene.running() if r[1] == "s1"} == {("h2", "s1", 9)}
    assert scene.said.getvalue().count("is this an old journal?") == 1


async def test_a_host_that_does_not_answer_is_left_for_later_and_its_shards_start_nowhere_else(scene: Scene) -> None:
    scene.own(s1=5, s2=5, s3=5)
    scene.hosts["h1"].up = False
    await scene.settlement.settle(HOSTS)
    assert scene.running() == set() and scene.settlement.settled == {"h2", "h3"}
    scene.hosts["h1"].up = True
    await scene.settlement.settle(("h1",))
    assert {r[1] for r in scene.running()} == {"s1", "s2", "s3"} and "h1" in scene.settlement.settled


async def test_one_shard_that_does_not_start_leaves_the_others_started_and_is_tried_again(scene: Scene) -> None:
    scene.backend.refuse = "s2"
    await scene.settlement.settle(HOSTS)
    assert {r[1] for r in scene.running()} == {"s1", "s3"}
    assert "h1" not in scene.settlement.settled and "the command failed" in scene.said.getvalue()
    scene.backend.refuse = ""
    await scene.settlement.settle(("h1",))
    assert {r[1] for r in scene.running()} == {"s1", "s2", "s3"} and "h1" in scene.settlement.settled


async def test_a_shard_that_moves_is_left_alone(scene: Scene) -> None:
    scene.own(s1=5)
    scene.backend.put("h1", "s1", 5, ShardState.FROZEN)
    scene.backend.put("h2", "s1", 3)
    scene.busy = {"s1"}
    await scene.settlement.settle(HOSTS)
    assert scene.backend.run["h1", "s1"] == (5, ShardState.FROZEN) and ("h2", "s1") in scene.backend.run


async def test_a_process_that_is_not_declared_is_said_and_left_alone(scene: Scene) -> None:
    scene.backend.put("h1", "stranger", 1)
    await scene.settlement.settle(HOSTS)
    assert ("h1", "stranger", 1) in scene.running() and "left alone" in scene.said.getvalue()


async def test_a_shard_that_vanished_from_a_fine_host_is_not_started_there_until_its_folder_is_back(
    scene: Scene,
) -> None:
    """S2.27: somebody took it away, with its state; a second one that begins with nothing helps nobody."""
    await scene.settlement.settle(HOSTS)
    before = list(scene.backend.started)
    del scene.backend.run["h1", "s1"]
    for _ in range(2):
        scene.settlement.doubt(("h1",), moved=False)
        await scene.settlement.settle(("h1",))
        assert scene.backend.started == before and "h1" not in scene.settlement.settled
    assert scene.said.getvalue().count("s1 served here and is gone with its pid file") == 1
    scene.backend.put("h1", "s1", 1, ShardState.FAILED)
    await scene.settlement.settle(("h1",))
    assert ("h1", "s1", 1) in scene.running() and "h1" in scene.settlement.settled


async def test_a_shard_that_died_or_that_a_move_or_a_lost_host_ended_is_started_again(scene: Scene) -> None:
    await scene.settlement.settle(HOSTS)
    scene.backend.put("h1", "s1", 1, ShardState.FAILED)
    scene.settlement.doubt(("h1",), moved=False)
    await scene.settlement.settle(("h1",))
    assert ("h1", "s1", 1) in scene.running()
    for ended in (scene.settlement.doubt, scene.settlement.lost):
        del scene.backend.run["h1", "s1"]
        ended(("h1",))
        await scene.settlement.settle(("h1",))
        assert ("h1", "s1", 1) in scene.running()


async def test_a_shard_whose_start_failed_has_not_vanished(scene: Scene) -> None:
    await scene.settlement.settle(HOSTS)
    scene.backend.put("h1", "s1", 1, ShardState.FAILED)
    scene.backend.refuse = "s1"
    scene.settlement.doubt(("h1",), moved=False)
    await scene.settlement.settle(("h1",))
    del scene.backend.run["h1", "s1"]  # as a start that fails leaves it
    scene.backend.refuse = ""
    await scene.settlement.settle(("h1",))
    assert ("h1", "s1", 1) in scene.running()
