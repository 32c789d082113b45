"""``kill -9`` of the daemon at every step of a running move, under real load."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle

import pytest
from ground import Ground

from sidestep.autopilot.protocol import PlanView
from sidestep.backends.routing.client import UnixRouter
from sidestep.fleet.machines import MOVE_STEPS, ActionState, PlanState, StepName

pytestmark = [pytest.mark.fleet, pytest.mark.slow]

#: every step when it has acted, and all three moments around the commit; docs/faults.md has the other cells
POINTS = [
    f"{step}:{moment}"
    for step in MOVE_STEPS
    for moment in ("before", "after", "recorded")
    if moment == "after" or step is StepName.COMMIT
]
COMMIT = list(StepName).index(StepName.COMMIT)


def committed(point: str) -> bool:
    """Whether a daemon killed there has passed the commit point."""
    step, moment = point.split(":")
    index = list(StepName).index(StepName(step))
    return index > COMMIT or (index == COMMIT and moment != "before")


class Lives:
    """One daemon after the other on one journal: each puts right what the last one left, and is killed in its turn."""

    def __init__(self, ground: Ground) -> None:
        self.ground, self.folder = ground, ground.folder / "faults"
        self.folder.mkdir()
        self._open = ExitStack()
        self._daemon: subprocess.Popen[bytes] | None = None

    def live(self) -> None:
        """Have a daemon."""
        if self._daemon is None:
            self._daemon = self._open.enter_context(self.ground.daemon(fault=f"pause@{self.folder}"))

    def kill_at(self, shard: str, point: str, view: PlanView) -> None:
        """``kill -9`` while it stands at that point of the approved plan."""
        armed = self.folder / f"{shard}@{point}"
        reached, until = armed.with_name(f"{armed.name}.reached"), time.monotonic() + 60.0
        armed.write_text("block")  # nothing at all happens in it any more
        assert self._daemon is not None
        try:
            self.ground.approve(view)
            while not reached.exists():
                assert time.monotonic() < until, f"{point} is not reached: {self.ground.status(view.digest).status}"
                time.sleep(0.02)
        finally:  # also of one that fails: the next is not to inherit it
            self._daemon.kill()
            assert self._daemon.wait(60) == -signal.SIGKILL
            armed.unlink(missing_ok=True)
            reached.unlink(missing_ok=True)
            self.end()

    def end(self) -> None:
        """Have none."""
        self._open.close()
        self._daemon = None


@pytest.fixture(scope="module")
def lives(ground: Ground) -> Iterator[Lives]:
    """With every request of the whole module audited at its end."""
    lives = Lives(ground)
    try:
        yield lives
        lives.live()
        audit = asyncio.run(UnixRouter(ground.router).audit())
    finally:
        lives.end()
    assert audit["requests"] > 100
    assert (audit["lost"], audit["duplicated"]) == (0, 0), audit


shards = cycle(["kv-01", "kv-02", "kv-03", "kv-04"])


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_daemon_leaves_the_shard_running_exactly_once(lives: Lives, point: str) -> None:
    """S2.23 S2.24 S2.25 S2.26 S2.27 S2.28 S3.23: before the commit point back, after it only forward."""
    ground, shard = lives.ground, next(shards)
    lives.live()
    ((source, _),) = ground.serving(shard)
    destination = {"h1": "h2", "h2": "h1"}[source]
    view = ground.propose(shard, destination)
    lives.kill_at(shard, point, view)
    lives.live()
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
