"""A host is emptied for maintenance: a daemon that is a process of its own, over real hosts (workflow 3)."""

from __future__ import annotations

import asyncio

import pytest
from test_daemon_embedded import DEADLINE, Stage, ask, end, measured, picture
from test_daemon_embedded import stage as stage  # noqa: PLC0414 - a fixture

from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.protocol import Approve, ListPlans, PlanList, PlanView, host_states
from sidestep.autopilot.protocol_hosts import DrainHosts, GetHostOrders, HostOrders, UncordonHosts
from sidestep.fleet.machines import PlanState

pytestmark = pytest.mark.fleet


async def newest(client: AsyncClient, *states: PlanState) -> PlanView:
    """The newest plan, once it is in one of these states."""
    async with asyncio.timeout(2 * DEADLINE):
        while True:
            answer = await client.call(ListPlans(1))
            assert isinstance(answer, PlanList)
            if answer.plans and answer.plans[0].status.state in states:
                return answer.plans[0]
            await asyncio.sleep(0.1)


async def test_a_host_is_emptied_and_stays_empty_over_a_restart_until_it_is_opened(stage: Stage) -> None:
    """The shard arrives with its state, and the host takes shards again when a person says so."""
    daemon = await stage.daemon()
    client = await AsyncClient.connect(stage.socket)
    await picture(client, measured)
    assert await ask(stage.hosts.hosts[0].address, stage.port, "add 41") == "41"
    said = await client.call(DrainHosts(("a",), "new kernel"))
    assert isinstance(said, HostOrders) and (said.rows[0].state, said.rows[0].shards) == ("DRAINING", 1)

    proposed = await newest(client, PlanState.PROPOSED)
    (action,) = proposed.plan.actions
    assert (action.shard, action.destination, action.reason.code) == ("tally-0", "b", "DRAINS")
    await client.call(Approve(proposed.digest, "go"))
    ended = await newest(client, PlanState.SUCCEEDED, PlanState.PARTIAL, PlanState.FAILED)
    assert ended.status.state is PlanState.SUCCEEDED, ended.status
    await picture(client, lambda f: host_states(f) == ("DRAINED", "READY"))
    assert await ask(stage.hosts.hosts[1].address, stage.port, "add") == "42"
    await client.aclose()
    assert await end(daemon) == 0

    await stage.daemon()
    client = await AsyncClient.connect(stage.socket)
    await picture(client, lambda f: host_states(f) == ("DRAINED", "READY"))
    stands = await client.call(GetHostOrders())
    assert isinstance(stands, HostOrders) and [(row.host, row.reason) for row in stands.rows] == [("a", "new kernel")]
    await client.call(UncordonHosts(("a",), "done"))
    await picture(client, lambda f: host_states(f) == ("READY", "READY"))
    await client.aclose()
