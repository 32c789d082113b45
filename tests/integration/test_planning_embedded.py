"""Questions to the planner of a daemon that is a process of its own, over real hosts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from test_daemon_embedded import Stage, end, measured, picture
from test_daemon_embedded import stage as stage  # noqa: PLC0414 - a fixture

from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.protocol import ListPlans, PlanList
from sidestep.autopilot.protocol_plans import (
    AskWhy,
    AskWhyNot,
    DrainView,
    FindHost,
    GetPlanning,
    HostView,
    NewPlan,
    Planning,
    TryDrain,
    WhyNotView,
    WhyView,
)
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.questions import PlanAnswer

pytestmark = pytest.mark.fleet


async def asked(client: AsyncClient, request: Any) -> Any:
    """The answer, once the first forecast is there."""
    for _ in range(100):
        try:
            return await client.call(request)
        except SidestepError as error:
            if "no forecast yet" not in str(error):
                raise
            await asyncio.sleep(0.2)
    raise AssertionError("there never was a forecast")


async def plan(client: AsyncClient, **wanted: Any) -> PlanAnswer:
    job = await asked(client, NewPlan(**wanted))
    while job.state in {"queued", "running"}:
        job = await client.call(GetPlanning(job.job, 10.0))
        assert isinstance(job, Planning)
    assert job.answer is not None, job
    return job.answer


async def test_a_live_fleet_is_asked_what_if_and_where_to(stage: Stage) -> None:
    """S1.13, S1.28: the same answers as the planner's, of real hosts, while the daemon goes on."""
    daemon = await stage.daemon()
    client = await AsyncClient.connect(stage.socket)
    await picture(client, measured)
    found = await asked(client, FindHost(cpu=0.5, memory=64 << 20))
    assert isinstance(found, HostView) and {offer.host for offer in found.best.offers} == {"a", "b"}
    none = await client.call(FindHost(cpu=50.0, memory=0))
    assert isinstance(none, HostView) and {refused.reason.code for refused in none.best.refusals} == {"NO_ROOM"}

    before = await client.call(ListPlans())
    answer = await plan(client, what_if=("lose=a",))
    if answer.plan is None:
        assert answer.blocks, "the forecast may not be confident yet; then it says so"
    else:
        assert [(a.shard, a.destination) for a in answer.plan.actions] == [("tally-0", "b")]
    after = await client.call(ListPlans())
    assert isinstance(before, PlanList) and isinstance(after, PlanList) and after.plans == before.plans

    view = await client.call(AskWhy("tally-0"))
    assert isinstance(view, WhyView) and view.why.host == "a" and view.why.reason.text
    against = await client.call(AskWhyNot("tally-0", "a"))
    assert isinstance(against, WhyNotView) and [o.reason.code for o in against.why_not.obstacles] == ["HERE"]
    drained = await client.call(TryDrain("a"))
    assert isinstance(drained, DrainView) and drained.preflight.shards == 1
    assert drained.preflight.possible or drained.preflight.blocks
    await client.aclose()
    assert await end(daemon) == 0
