"""A real process gives way on one host and comes back on another, with both drivers, through the executor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from moving import shard_spec

from sidestep.autopilot.executor import Executor
from sidestep.autopilot.journal import Journal
from sidestep.fleet.inventory import FleetSpec, HostSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.placement import Owner
from sidestep.fleet.plans import Action, Basis, Limits, Plan, PlanStatus, Reason

pytestmark = pytest.mark.openssh
WHO = Label("test")
POLICY = Policy(observe=0.0)


class Queue:
    """The two hosts with a journal and an executor."""

    def __init__(self, pair: Any, folder: Path, driver: str, spec: ShardSpec | None = None) -> None:
        self.pair, self.spec = pair, spec or shard_spec(driver, pair.port)
        self.journal = Journal(folder / "journal.db")
        self.journal.adopt({self.spec.name: Owner(Label("a"), 7)}, WHO)
        by_name = {"a": pair.source, "b": pair.destination}
        addresses = {"a": pair.source_address, "b": pair.destination_address}
        hosts = tuple(HostSpec(name=Label(name), address=at, cpu=2.0, memory=1 << 30) for name, at in addresses.items())
        fleet = FleetSpec(name=WHO, source="fleet.toml", hosts=hosts, shards=(self.spec,), policy=POLICY)
        self.executor = Executor(
            fleet=fleet, journal=self.journal, backend_for=lambda _: pair.backend,
            transport_for=lambda name: by_name[name], router=None, present=lambda plan: plan.basis,
        )  # fmt: skip

    async def run(self, kind: str, source: str, destination: str) -> PlanStatus:
        placement, name = self.journal.placement(), self.spec.name
        token = placement.owners[name].token if name in placement.owners else placement.queued[name]
        action = Action(
            id=1, kind=kind, shard=name, source=Label(source), destination=Label(destination), token=token, priority=2,  # type: ignore[arg-type]
            reason=Reason("TEST", Label("")), limits=Limits(cpu=0.1, memory=1) if kind == "preempt" else None,
        )  # fmt: skip
        plan = Plan(
            number=self.journal.next_number(), fleet=WHO, created=1.0, expires=9e9, author=WHO, snapshot=1,
            forecast="f", policy=POLICY, basis=Basis((), ()), actions=(action,),
        )  # fmt: skip
        digest = self.journal.add(plan).digest
        self.journal.set_state(digest, PlanState.APPROVED, actor=WHO)
        return await self.executor.run(digest)


@pytest.mark.parametrize("driver", ["hook", "restart"])
async def test_a_process_gives_way_and_comes_back_elsewhere_with_its_state(
    pair: Any, tmp_path: Path, driver: str
) -> None:
    """S5.10, S5.19: one owner at most, and nothing of the shard but its capsule where it was."""
    pair.destination_address = pair.source_address = "127.0.0.1"
    queue = Queue(pair, tmp_path, driver)
    await pair.start(queue.spec)
    assert await pair.at_source("add 41") == "41"

    status = await queue.run("preempt", "a", "")
    assert status.state is PlanState.SUCCEEDED, status.note
    with pytest.raises(OSError):
        await pair.at_source("get")
    assert await pair.backend.discover(pair.source) == ()
    (one,) = queue.journal.queue()
    assert Path(one.path).name == f"parked.{one.token}" and Path(one.path).stat().st_size == one.bytes
    assert {f.name for f in pair.source_dir.iterdir()} <= {"fence", "log", Path(one.path).name}

    status = await queue.run("place", "", "b")
    assert status.state is PlanState.SUCCEEDED, status.note
    pair.notes["port"] = str(queue.journal.endpoints()[queue.spec.name][1])
    assert await pair.at_destination("add") == "42"
    (seen,) = await pair.backend.discover(pair.destination)
    assert seen.token == queue.journal.placement().owners[queue.spec.name].token > one.token
    assert await pair.backend.discover(pair.source) == () and not Path(one.path).exists()
    assert (pair.source_dir / "fence").read_text().strip() == str(seen.token)


async def test_one_that_comes_back_to_its_own_host_finds_its_state_there(pair: Any, tmp_path: Path) -> None:
    queue = Queue(pair, tmp_path, "hook")
    await pair.start(queue.spec)
    assert await pair.at_source("add 41") == "41"
    for kind, source, destination in (("preempt", "a", ""), ("place", "", "a")):
        status = await queue.run(kind, source, destination)
        assert status.state is PlanState.SUCCEEDED, status.note
    pair.port = queue.journal.endpoints()[queue.spec.name][1]
    assert await pair.at_source("add") == "42"
    assert {f.name for f in pair.source_dir.iterdir()} <= {"fence", "loaded", "log", "pid", "state"}
    assert queue.journal.queue() == ()
