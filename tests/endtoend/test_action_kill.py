"""An action of a plugin on a real fleet, seen by the kernel: done, taken back, and the daemon killed in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ground import Ground, watched

from sidestep.autopilot.protocol import PlanView
from sidestep.autopilot.protocol_actions import ActionList, ListActions, ProposeAction
from sidestep.fleet.machines import ActionState, PlanState

pytestmark = [
    pytest.mark.fleet,
    pytest.mark.slow,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core cannot be divided"),
]

SHARD = "kv-01"
EXAMPLE = Path(__file__).parents[2] / "plugins" / "examples" / "cores"
DECLARED = """
[action.fewer]
plugin = "cores"
shards = ["kv-01"]
params = { cores = 1 }
"""


@pytest.fixture(scope="module")
def acting() -> Iterator[Ground]:
    """A fleet whose daemons have the example package beside sidestep, as ``pip install`` would put it there."""
    before = os.environ.get("PYTHONPATH")
    with tempfile.TemporaryDirectory(prefix="ss-") as folder:
        info = Path(folder) / "site" / "sidestep_cores-0.1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sidestep-cores\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text("[sidestep.actions]\ncores = sidestep_cores:Cores\n")
        paths = [str(EXAMPLE / "src"), str(info.parent), *([before] if before else [])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        (Path(folder) / "faults").mkdir()
        fleet = Ground(Path(folder), hosts=2, shards=4)
        fleet.file.write_text(fleet.file.read_text() + DECLARED)
        try:
            yield fleet
        finally:
            fleet.close()
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before


def cores(ground: Ground) -> tuple[int, int]:
    """Pid of the shard's only process, and how many cores the kernel lets it use."""
    ((_, pid),) = ground.serving(SHARD)
    return pid, len(os.sched_getaffinity(pid))


def propose(ground: Ground, *, lift: bool) -> PlanView:
    ground.until(watched)
    view = ground.call(ProposeAction("fewer", SHARD, lift, "a test asks for it"))
    assert isinstance(view, PlanView)
    return view


def in_force(ground: Ground) -> list[tuple[str, str]]:
    listed = ground.call(ListActions())
    assert isinstance(listed, ActionList)
    assert [(one.name, one.problem) for one in listed.actions] == [("fewer", "")]
    return [(str(one.shard), str(one.applied.says)) for one in listed.standing]


def killed(ground: Ground, daemon: subprocess.Popen[bytes], point: str, *, lift: bool) -> PlanView:
    """The plan as it was approved, after ``kill -9`` of its daemon at that point."""
    armed = ground.folder / "faults" / f"{SHARD}@{point}"
    reached = armed.with_name(f"{armed.name}.reached")
    view = propose(ground, lift=lift)
    armed.write_text("block")
    ground.approve(view)
    until = time.monotonic() + 60.0
    while not reached.exists():
        assert time.monotonic() < until, ground.status(view.digest).status
        time.sleep(0.02)
    daemon.kill()
    assert daemon.wait(60) == -signal.SIGKILL
    armed.unlink(missing_ok=True)
    reached.unlink(missing_ok=True)
    return view


def after(ground: Ground, view: PlanView) -> tuple[PlanState, ActionState, str]:
    """What the next daemon has made of it, and what it has said."""
    (said,) = (line for line in ground.log() if f"plan {view.plan.number}: the daemon ended while" in line)
    status = ground.status(view.digest).status
    return status.state, status.actions[0].state, said


def test_a_killed_daemon_leaves_it_in_force_or_not_as_its_journal_says(acting: Ground) -> None:
    """S2.23 S2.24 S2.27 X5: the kernel and the journal agree after every kill, and the shard runs on all the time."""
    ground, every, fault = acting, len(os.sched_getaffinity(0)), f"pause@{acting.folder / 'faults'}"
    with ground.daemon(fault=fault) as daemon:
        ground.until(watched)
        pid, before = cores(ground)
        assert before == every
        view = killed(ground, daemon, "apply:after", lift=False)
    assert cores(ground) == (pid, 1), "it was done, and nobody has written that down"

    with ground.daemon(fault=fault) as daemon:
        state, action, said = after(ground, view)
        assert (state, action) == (PlanState.FAILED, ActionState.ABORTED) and "taking back apply" in said
        assert cores(ground) == (pid, every)
        view = killed(ground, daemon, "commit:recorded", lift=False)

    with ground.daemon(fault=fault) as daemon:
        state, action, said = after(ground, view)
        assert (state, action) == (PlanState.SUCCEEDED, ActionState.DONE) and "going forward" in said
        assert cores(ground) == (pid, 1)
        view = killed(ground, daemon, "verify:after", lift=True)
    assert cores(ground) == (pid, every)

    with ground.daemon():
        assert after(ground, view)[1] is ActionState.ABORTED
        assert cores(ground) == (pid, 1) and in_force(ground) == [(SHARD, "runs on 1 core only")]
        view = propose(ground, lift=True)
        ground.approve(view)
        ground.wait(view.digest, PlanState.SUCCEEDED)
        assert cores(ground) == (pid, every) and not in_force(ground)


def test_it_is_listed_and_proposed_on_the_command_line_with_every_command_that_runs(acting: Ground) -> None:
    def sidestep(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sidestep", *words, "--socket", str(acting.socket)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with acting.daemon():
        acting.until(watched)
        listed = sidestep("actions")
        assert listed.returncode == 0 and "fewer" in listed.stdout and "ready" in listed.stdout
        shown = sidestep("plan", "act", "fewer", SHARD, "--reason", "a test")
        assert shown.returncode == 0, shown.stderr
        assert "runs on 1 core only" in shown.stdout and "taskset -a -c -p" in shown.stdout
        plan: dict[str, Any] = json.loads(sidestep("plan", "act", "fewer", SHARD, "--json").stdout)["plan"]
        (action,) = plan["actions"]
        assert (action["kind"], action["applied"]["plugin"], action["applied"]["cpu"]) == ("apply", "cores", 1.0)
        refused = sidestep("plan", "lift", "fewer", SHARD)
        assert refused.returncode == 1 and "is not in force" in refused.stderr
        unknown = sidestep("plan", "act", "more", SHARD)
        assert unknown.returncode == 2 and "declared are fewer" in unknown.stderr
