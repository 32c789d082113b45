"""From an order to a plan: the loop over real world, journal and planner empties hosts (workflow 3, lesson 9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace as changed
from pathlib import Path

import pytest
from loop_doubles import Scene
from msgspec.structs import replace

from sidestep.autopilot.host_orders import OrderBook
from sidestep.autopilot.protocol_hosts import CordonHosts, DrainHosts, GetHostOrders, HostOrders, UncordonHosts
from sidestep.autopilot.server import UnknownReference
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, PlanState
from sidestep.fleet.plans import Plan

AMY = Label("amy")


class Order(Scene):
    """The loop's scene with the orders of people, and how it ends."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fleet = self.loop._parts.fleet
        self.book = OrderBook(self.fleet, self.world, self.journal, self.clock, self.log)
        self.loop._parts = changed(self.loop._parts, orders=self.book)

    def ask(self, request: CordonHosts | DrainHosts | UncordonHosts | GetHostOrders) -> HostOrders:
        return self.book.answer(request, AMY)

    def shown(self) -> tuple[str, ...]:
        picture = self.loop.picture
        assert picture is not None
        return tuple(map(str, picture.snapshot.hosts.states))

    def reasons(self) -> tuple[str, ...]:
        picture = self.loop.picture
        assert picture is not None
        return tuple(map(str, picture.snapshot.hosts.reasons))

    def drains(self) -> set[tuple[str, str, str]]:
        plan: Plan = self.newest()[0]
        return {(str(a.shard), str(a.destination), str(a.reason.code)) for a in plan.actions}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Order]:
    scene = Order(tmp_path)
    watching = asyncio.create_task(scene.world.run())
    await scene.tick(3)
    yield scene
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    scene.journal.close()


async def test_hosts_that_are_drained_together_are_all_closed_before_anything_is_planned(scene: Order) -> None:
    """Lesson 9; the policy's kinds name migrate alone: what a person orders is planned all the same."""
    assert scene.fleet.policy.kinds == ("migrate",)
    said = scene.ask(DrainHosts(("h1", "h2"), "new kernel"))
    assert said.text == "h1 is being emptied; h2 is being emptied"
    assert scene.world.states()["h2"] is HostState.DRAINED, "it holds no shard"
    await scene.tick(2)
    assert scene.shown() == ("DRAINING", "DRAINED", "READY")
    assert scene.reasons()[0] == "drained by amy: new kernel"
    assert scene.newest()[1].state is PlanState.PROPOSED
    assert scene.drains() == {("s1", "h3", "DRAINS"), ("s2", "h3", "DRAINS")}, "s3 is pinned, and h2 is emptied next"
    (first, second) = scene.ask(GetHostOrders()).rows
    assert (first.host, first.wish, first.state, first.shards, first.by) == ("h1", "drain", "DRAINING", 3, "amy")
    assert (second.state, second.shards) == ("DRAINED", 0)


async def test_a_proposal_stands_while_the_order_does_and_is_stale_once_it_is_lifted(scene: Order) -> None:
    scene.ask(DrainHosts(("h1",)))
    await scene.tick(20)
    assert scene.states() == [PlanState.PROPOSED]
    assert scene.ask(UncordonHosts(("h1",), "not today")).text == "h1 accepts shards again"
    await scene.tick(10)
    assert scene.states() == [PlanState.STALE] and scene.shown()[0] == "READY"
    assert scene.ask(UncordonHosts(("h1",))).text == "h1 was not cordoned"


async def test_what_was_proposed_to_empty_a_host_is_taken_back_once_nothing_is_left_to_do(scene: Order) -> None:
    scene.ask(DrainHosts(("h1",)))
    await scene.tick(2)
    held = frozenset({"s1", "s2"})
    scene.loop._parts = changed(scene.loop._parts, moving=lambda: held)
    await scene.tick(40)
    assert scene.states() == [PlanState.SUPERSEDED]
    assert scene.newest()[1].note == "the planner finds nothing to do any more"


async def test_at_level_full_an_order_is_no_chance_that_has_to_prove_right(scene: Order) -> None:
    scene.oracle.proven = False
    scene.loop.level = "full"
    scene.ask(DrainHosts(("h1",)))
    await scene.tick(3)
    assert scene.executor.ran == [scene.newest()[0].digest()], scene.said.getvalue()[-600:]


async def test_of_a_plan_that_runs_nothing_more_begins_once_the_order_is_lifted(scene: Order) -> None:
    """What an action relies on is the state of its hosts; the executor asks for it before it begins each."""
    scene.ask(DrainHosts(("h1",)))
    await scene.tick(2)
    plan, _ = scene.newest()
    assert plan.basis.differences(scene.present(plan)) == ()
    scene.ask(UncordonHosts(("h1",)))
    assert plan.basis.differences(scene.present(plan)) == ("host h1: state was DRAINING, now READY",)


async def test_a_cordoned_host_gets_nothing_and_keeps_what_it_has(scene: Order) -> None:
    scene.ask(CordonHosts(("h2", "h2"), "bad disk"))
    await scene.tick(2)
    assert scene.shown() == ("READY", "CORDONED", "READY") and scene.states() == []
    scene.oracle.peak = 3.5
    await scene.tick(2)
    assert {at for _, at, _ in scene.drains()} == {"h3"}
    assert scene.ask(CordonHosts(("h2",), "bad disk")).text == "h2 accepts no new shards already"


async def test_the_timer_ends_an_order_also_after_a_restart(tmp_path: Path) -> None:
    scene = Order(tmp_path)
    until = scene.clock.wall() + 10.0
    scene.ask(DrainHosts(("h2",), "new kernel", until))
    scene.journal.close()
    scene = Order(tmp_path)
    watching = asyncio.create_task(scene.world.run())
    await scene.tick(5)
    (row,) = scene.ask(GetHostOrders()).rows
    assert (row.state, row.until, row.reason) == ("DRAINED", until, "new kernel")
    assert scene.shown()[1] == "DRAINED" and scene.reasons()[1].startswith("drained by amy until ")
    await scene.tick(6)
    assert scene.shown()[1] == "READY" and scene.ask(GetHostOrders()).rows == ()
    last = scene.journal.audit_lines()[-1].decode()
    assert '"uncordon"' in last and "its time is over" in last
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    scene.journal.close()


async def test_a_drain_comes_back_from_a_silence_as_a_drain(scene: Order) -> None:
    scene.ask(DrainHosts(("h2",)))
    for seconds, silent in ((15, True), (3, False)):
        for _ in range(seconds):
            for name, host in scene.hosts.items():
                if not (silent and name == "h2"):
                    host.give(0.3)
            await scene.time.advance(1.0)
            await scene.loop.tick()
        assert scene.shown()[1] == ("DEAD" if silent else "DRAINED")


@pytest.mark.parametrize(
    ("request_", "error", "said"),
    [
        (DrainHosts(()), UsageError, "no host is named"),
        (DrainHosts(("h1", "h9")), UnknownReference, "no host h9"),
        (CordonHosts(("h1",), "", 1.0), UsageError, "is past"),
        (CordonHosts(("h1",), "", float("nan")), UsageError, "until nan"),
        (UncordonHosts(("\x1b[2J",)), UnknownReference, "<1b>"),
    ],
)
async def test_an_order_that_cannot_be_names_what_is_wrong_and_changes_nothing(
    scene: Order, request_: CordonHosts | DrainHosts | UncordonHosts, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        scene.ask(request_)
    assert scene.journal.host_orders() == ()


async def test_what_the_fleet_file_closes_is_opened_there(scene: Order) -> None:
    hosts = tuple(replace(spec, cordoned=spec.name == "h2") for spec in scene.fleet.hosts)
    scene.loop.switch(replace(scene.fleet, hosts=hosts))
    with pytest.raises(UsageError, match="h2: cordoned in the fleet file"):
        scene.ask(UncordonHosts(("h2",)))
    scene.ask(DrainHosts(("h2",)))
    assert scene.ask(UncordonHosts(("h2",))).text == "h2 stays cordoned in the fleet file"
