"""S2.23: a hold by signal stops the next step even while the daemon's whole loop is stuck in the present one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from operated import DEADLINE, Operated, until

from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.hold import Hold
from sidestep.autopilot.protocol import Approve, Done, GetPlan, PlanView, ProposeMove
from sidestep.fleet.machines import ActionState, StepName, StepState

pytestmark = pytest.mark.fleet

SHARD = '[shards.s1]\napp = "x"\nhost = "a"\nstart = "exec sleep 600"\n'


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Operated]:
    stage = Operated(tmp_path)
    await stage.open()
    stage.write(more=SHARD, policy="step_deadline = 60")
    yield stage
    await stage.close()


async def test_sigusr1_holds_while_the_loop_is_blocked_and_the_move_is_taken_back(stage: Operated) -> None:
    faults = stage.folder / "faults"
    faults.mkdir()
    process = await stage.daemon(SIDESTEP_FAULT=f"pause@{faults}")
    client = await AsyncClient.connect(stage.socket)
    view = await proposed(client)
    (faults / "s1@freeze:after").write_bytes(b"block")
    assert isinstance(await client.call(Approve(view.digest, "try")), Done)
    reached = faults / "s1@freeze:after.reached"
    await until(reached.exists)

    process.send_signal(signal.SIGUSR1)
    hold = Hold(stage.folder / "state")
    await until(lambda: bool(hold.why()))
    assert "signal" in hold.why()
    # the loop stands still all the while: nobody is even greeted
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await AsyncClient.connect(stage.socket)
    assert reached.exists() and "nothing new begins until it is released" not in stage.said()

    reached.unlink()
    ended = await settled(client, view.digest)
    (action,) = ended.status.actions
    assert action.state is ActionState.ABORTED, ended.status.note
    begun = {step.name for step in action.steps if step.state is not StepState.PENDING}
    assert StepName.FREEZE in begun and StepName.CAPTURE not in begun
    await until(lambda: "nothing new begins until it is released" in stage.said())
    await client.aclose()


async def proposed(client: AsyncClient) -> PlanView:
    """The move, as soon as the shard is seen running."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                answer = await client.call(ProposeMove("s1", "b", "try"))
            except Exception as error:
                assert "s1" in str(error) or "forecast" in str(error), error
                await asyncio.sleep(0.1)
                continue
            assert isinstance(answer, PlanView)
            return answer


async def settled(client: AsyncClient, digest: str) -> PlanView:
    async with asyncio.timeout(DEADLINE):
        while True:
            view = await client.call(GetPlan(digest))
            assert isinstance(view, PlanView)
            if view.status.state not in ("RUNNING", "APPROVED"):
                return view
            await asyncio.sleep(0.1)
