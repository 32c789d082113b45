"""What the daemon answers, over the real journal and planner: plans, moves, levels, demand, log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from loop_doubles import Scene
from msgspec.structs import replace
from world_doubles import small_fleet

from sidestep.autopilot.audit import read_line
from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.daemon_service import DaemonService
from sidestep.autopilot.protocol import (
    Approve,
    Done,
    GetDemand,
    GetLog,
    GetPlan,
    ListPlans,
    ProposeMove,
    Reject,
    Retry,
    SetLevel,
)
from sidestep.autopilot.protocol_resize import ProposeResize
from sidestep.autopilot.server import UnknownReference
from sidestep.fleet.errors import ConfigError, IllegalTransition, SidestepError, UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState

OPS = Label("ops")


class Desk(Scene):
    """The loop's scene with the service in front of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ended = False
        self.tried: list[str] = []
        self.service = DaemonService(
            fleet=small_fleet(),
            journal=self.journal,
            loop=self.loop,
            approvals=self.approvals,
            log=self.log,
            clock=self.clock,
            stop=self.stop,
            again=self.again,
        )

    def again(self, host: str) -> int:
        self.tried.append(host)
        return 0 if host == "h1" else 2

    def stop(self) -> None:
        self.ended = True


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    watching = asyncio.create_task(desk.world.run())
    await desk.tick(2)
    yield desk
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    desk.journal.close()


async def test_an_operators_move_is_a_proposal_of_the_operator_and_is_approved_by_digest(desk: Desk) -> None:
    view = await desk.service.propose_move(ProposeMove("s1", "h2", "maintenance"), OPS)
    assert (view.plan.author, view.status.state) == ("ops", PlanState.PROPOSED)
    assert [(a.shard, a.source, a.destination) for a in view.plan.actions] == [("s1", "h1", "h2")]
    assert (await desk.service.get_plan(GetPlan(view.digest[:8]))).plan == view.plan
    assert (await desk.service.list_plans(ListPlans())).plans[0].digest == view.digest
    await desk.service.approve(Approve(view.digest, "go"), OPS)
    await desk.tick()
    assert desk.executor.ran == [view.digest]


async def test_the_planners_silence_does_not_take_back_an_operators_proposal(desk: Desk) -> None:
    view = await desk.service.propose_move(ProposeMove("s1", "h2"), OPS)
    await desk.tick(30)
    assert desk.journal.plan(view.digest)[1].state is PlanState.PROPOSED


async def test_an_operators_resize_is_a_proposal_that_leaves_alone_what_it_does_not_name(desk: Desk) -> None:
    """S3.2: -1 leaves a limit as it is, and 0 is none."""
    with pytest.raises(SidestepError, match="backend process cannot resize s1"):
        await desk.service.propose_resize(ProposeResize("s1", cpu=1.0), OPS)
    sized = {"backend": "systemd", "limit_cpu": 2.0, "limit_read": 9 << 20, "limit_write": 1 << 20}
    shards = tuple(replace(shard, **sized) for shard in desk.service.fleet.shards)
    desk.service.fleet = replace(desk.service.fleet, shards=shards)
    view = await desk.service.propose_resize(ProposeResize("s1", read=0, write=5 << 20, reason="backup"), OPS)
    assert (view.plan.author, view.status.state) == ("ops", PlanState.PROPOSED)
    (action,) = view.plan.actions
    assert (action.kind, action.source, action.destination) == ("resize", "h1", "h1") and action.limits is not None
    assert (action.limits.cpu, action.limits.read, action.limits.write) == (2.0, 0, 5 << 20)
    assert (action.limits.read_before, action.limits.write_before) == (9 << 20, 1 << 20)
    with pytest.raises(UnknownReference, match="no shard s9"):
        await desk.service.propose_resize(ProposeResize("s9", cpu=1.0), OPS)


async def test_only_the_whole_digest_approves(desk: Desk) -> None:
    view = await desk.service.propose_move(ProposeMove("s1", "h2"), OPS)
    for ref in (view.digest[:12], str(view.plan.number)):
        with pytest.raises(UsageError, match="what runs is what was read"):
            await desk.service.approve(Approve(ref), OPS)
    assert desk.executor.ran == []


async def test_a_rejected_plan_cannot_be_rejected_or_approved_again(desk: Desk) -> None:
    view = await desk.service.propose_move(ProposeMove("s1", "h2"), OPS)
    await desk.service.reject(Reject(view.digest, "no"), OPS)
    with pytest.raises(IllegalTransition):
        await desk.service.reject(Reject(view.digest), OPS)
    with pytest.raises(SidestepError, match="REJECTED"):
        await desk.service.approve(Approve(view.digest), OPS)


@pytest.mark.parametrize(
    ("shard", "host", "said"), [("s9", "h2", "no shard s9"), ("s1", "h9", "no host h9"), ("\x1b[2J", "h2", "<1b>")]
)
async def test_what_does_not_exist_is_named(desk: Desk, shard: str, host: str, said: str) -> None:
    with pytest.raises(UnknownReference, match=said):
        await desk.service.propose_move(ProposeMove(shard, host), OPS)
    with pytest.raises(UnknownReference, match="no plan"):
        await desk.service.get_plan(GetPlan("f" * 12))


async def test_the_level_is_set_with_actor_and_reason_in_the_log(desk: Desk) -> None:
    await desk.service.set_level(SetLevel("off", "release night"), OPS)
    assert desk.loop.level == "off" and desk.service.welcome(OPS).level == "off"
    (event,) = [e for e in (await desk.service.get_log(GetLog())).events if "release night" in e.text]
    assert (event.actor, event.kind) == ("ops", "daemon")
    with pytest.raises(UsageError, match="no level turbo") as caught:
        await desk.service.set_level(SetLevel("turbo"), OPS)
    assert "off, shadow, advise, semi, full" in str(caught.value)


async def test_limits_are_checked(desk: Desk) -> None:
    for limit in (0, -1, 10**9):
        with pytest.raises(UsageError, match="limit"):
            await desk.service.list_plans(ListPlans(limit))
        with pytest.raises(UsageError, match="limit"):
            await desk.service.get_log(GetLog(limit=limit))


async def test_requests_before_the_first_picture_say_so(desk: Desk) -> None:
    desk.loop.picture = None
    with pytest.raises(SidestepError, match="no picture"):
        await desk.service.get_demand(GetDemand())
    assert desk.service.frame() is None


async def test_shutdown_is_logged_with_its_actor(desk: Desk) -> None:
    await desk.service.shutdown(OPS)
    assert desk.ended
    assert (await desk.service.get_log(GetLog())).events[-1].actor == "ops"


def test_a_fleet_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_fleet(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_fleet(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'[fleet]\nname = "caf\xe9"\n')
    with pytest.raises(ConfigError, match=r"latin\.toml:2: is not UTF-8"):
        load_fleet(tmp_path / "latin.toml")


async def test_refused_hosts_are_tried_again_when_somebody_asks(desk: Desk) -> None:
    assert await desk.service.retry(Retry(), OPS) == Done(Label("trying 2 refused hosts again"))
    assert await desk.service.retry(Retry("h1"), OPS) == Done(Label("h1 has not refused us"))
    assert desk.tried == ["", "h1"]


async def test_a_daemon_that_has_just_started_approves_and_proposes_nothing(desk: Desk) -> None:
    """S2.21: what it does not know yet would make every plan STALE, so it says that it is too early."""
    plan = (await desk.service.propose_move(ProposeMove("s1", "h2", "try"), OPS)).plan
    digest = plan.digest()
    desk.service.starting = "the daemon has just started"
    with pytest.raises(SidestepError, match="just started"):
        await desk.service.approve(Approve(digest, "now"), OPS)
    with pytest.raises(SidestepError, match="just started"):
        await desk.service.propose_move(ProposeMove("s1", "h2", "try"), OPS)
    frame = desk.service.frame()
    assert frame is not None and "just started" in frame.alerts[-1]
    assert desk.journal.state_of(digest) is PlanState.PROPOSED
    desk.service.starting = ""
    assert isinstance(await desk.service.approve(Approve(digest, "now"), OPS), Done)


async def test_a_key_that_a_person_accepted_is_written_down_and_the_host_tried_again(desk: Desk) -> None:
    """S3.23: `sidestep trust` beside a running daemon."""
    await desk.service.retry(Retry("h2", trusted="[127.0.0.1]:22 ssh-ed25519 SHA256:abc"), OPS)
    assert desk.tried == ["h2"]
    (line,) = [line for line in desk.journal.audit_lines() if b'"act":"trust"' in line]
    entry = read_line(line)
    assert (entry.actor, entry.subject) == (OPS, "h2") and "SHA256:abc" in entry.detail
