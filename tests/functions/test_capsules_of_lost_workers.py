"""A block whose host was lost goes on from its capsule, also where those that hold it are just between two workers."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sidestep.backends.functions.cluster import RESTARTS, Cluster
from sidestep.backends.functions.guarding import Saved
from sidestep.backends.functions.job import Block, Conductor, Wishes
from sidestep.backends.functions.running import WorkerLost

SEALED = b"sealed"


class Scene:
    """A cluster of three hosts that were reached, with workers where a test wants them; who carries is played."""

    def __init__(self, holders: set[str], workers: set[str]) -> None:
        sites: list[Any] = [SimpleNamespace(name=name) for name in ("h1", "h2", "h3")]
        self.cluster = Cluster(sites)
        for agent in self.cluster._agents.values():
            agent.alive = True
        self.cluster._workers = {host: (number, f"tls://{host}") for number, host in enumerate(sorted(workers))}
        self.conductor = Conductor(self.cluster)
        self.conductor.guard.bring = self.bring  # type: ignore[method-assign]
        self.saved = Saved(SimpleNamespace(shard="b1"), SEALED, 0.0, set(holders))  # type: ignore[arg-type]
        self.block = Block("b1", None, Wishes(), 0.0, saved=self.saved)  # type: ignore[arg-type]
        self.asked: list[tuple[set[str], str]] = []
        self.broken: set[str] = set()

    async def bring(self, saved: Saved, target: str) -> int:
        self.asked.append((set(saved.holders), target))
        self.cluster.address(target)
        if target in saved.holders or saved.holders & self.cluster.workers.keys() - self.broken:
            return 0
        raise WorkerLost("nobody holds it")

    async def brought(self, host: str) -> bytes:
        return await asyncio.wait_for(self.conductor._brought(self.block, host), 30)

    async def until_asked(self) -> None:
        while not self.asked:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)


async def test_a_holder_whose_worker_is_being_started_is_waited_for() -> None:
    """S2.21: the scheduler's host was lost, and with it every worker: the one that is back first holds nothing."""
    scene = Scene(holders={"h1", "h2"}, workers={"h3"})
    scene.cluster._agents["h1"].alive = False
    going = asyncio.create_task(scene.brought("h3"))
    await scene.until_asked()
    assert not going.done()
    scene.cluster._workers["h2"] = (9, "tls://h2")
    await scene.cluster._tell()
    assert await going == SEALED
    assert scene.block.saved is scene.saved


async def test_a_block_begins_anew_where_nobody_who_holds_its_capsule_can_come_back() -> None:
    scene = Scene(holders={"h1", "h2"}, workers={"h3"})
    scene.cluster._agents["h1"].alive = False
    scene.cluster._restarts["h2"] = RESTARTS + 1
    assert await scene.brought("h3") == b""
    assert scene.block.saved is None


async def test_whoever_is_there_and_cannot_give_it_is_not_asked_for_ever() -> None:
    scene = Scene(holders={"h1"}, workers={"h1", "h3"})
    scene.broken = {"h1"}
    assert await scene.brought("h3") == b""
    assert len(scene.asked) == 1


async def test_another_holder_that_comes_back_is_asked_after_one_that_could_not_give_it() -> None:
    scene = Scene(holders={"h1", "h2"}, workers={"h1", "h3"})
    scene.broken = {"h1"}
    going = asyncio.create_task(scene.brought("h3"))
    await scene.until_asked()
    scene.cluster._workers["h2"] = (9, "tls://h2")
    await scene.cluster._tell()
    assert await going == SEALED
    assert [holders for holders, _ in scene.asked] == [{"h1", "h2"}, {"h2"}]


@pytest.mark.parametrize("holders", [{"h1"}, {"h2"}])
async def test_a_host_that_is_lost_while_it_gets_the_capsule_does_not_cost_the_capsule(holders: set[str]) -> None:
    """The execution fails there in a moment, and the block goes on elsewhere from what it kept."""
    scene = Scene(holders=holders, workers={"h1"})
    assert await scene.brought("h3") == SEALED
    assert scene.block.saved is scene.saved
    assert scene.saved.holders == holders
