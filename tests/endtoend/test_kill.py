"""``kill -9`` of the daemon at every point of every step of a running move, under real load."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from itertools import cycle

import pytest
from ground import Ground

from sidestep.backends.routing.client import UnixRouter
from sidestep.fleet.machines import MOVE_STEPS, ActionState, PlanState, StepName

pytestmark = [pytest.mark.fleet, pytest.mark.slow]

POINTS = [f"{step}:{moment}" for step in MOVE_STEPS for moment in ("before", "after", "recorded")]
COMMIT = list(StepName).index(StepName.COMMIT)


def committed(point: str) -> bool:
    """Whether a daemon killed there has passed the commit point."""
    step, moment = point.split(":")
    index = list(StepName).index(StepName(step))
    return index > COMMIT or (index == COMMIT and moment != "before")


@pytest.fixture(scope="module")
def audited(ground: Ground) -> Iterator[Ground]:
    """The ground, with every request of the whole module audited at its end."""
    yield ground
    with ground.daemon():
        audit = asyncio.run(UnixRouter(ground.router).audit())
    assert audit["requests"] > 100
    assert (audit["lost"], audit["duplicated"]) == (0, 0), audit


shards = cycle(["kv-01", "kv-02", "kv-03", "kv-04"])


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_daemon_leaves_the_shard_running_exactly_once(audited: Ground, point: str) -> None:
    """S2.23 S2.24 S2.25 S2.26 S2.27 S2.28 S3.23: before the commit point back, after it only forward."""
    ground, shard = audited, next(shards)
    with ground.daemon(fault=f"kill@{point}") as daemon:
        ((source, _),) = ground.serving(shard)
        destination = {"h1": "h2", "h2": "h1"}[source]
        view = ground.propose(shard, destination)
        ground.approve(view)
        assert daemon.wait(60) == -signal.SIGKILL
    with ground.daemon():
        after = ground.status(view.digest)
        (action,) = after.status.actions
        (said,) = (line for line in ground.log() if f"plan {view.plan.number}: the daemon ended while" in line)
        at = ground.serving(shard)
        assert len(at) == 1, f"{shard} runs {len(at)} times: {at}"
        if committed(point):
            assert after.status.state is PlanState.SUCCEEDED
            assert action.state is ActionState.DONE
            assert at[0][0] == destination
        else:
            assert after.status.state in {PlanState.FAILED, PlanState.PARTIAL}
            assert action.state is ActionState.ABORTED
            assert at[0][0] == source
        assert shard in said
        assert ("going forward" if committed(point) else "taking back") in said
