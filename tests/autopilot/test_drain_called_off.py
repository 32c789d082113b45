"""A drain that is called off while its plan runs: what has begun ends, nothing more begins (workflow 3)."""

from __future__ import annotations

from pathlib import Path

import msgspec
from move_doubles import Bench, an_action

from sidestep.fleet.machines import ActionState, PlanState


async def test_the_move_that_has_begun_ends_and_the_next_one_does_not_begin(tmp_path: Path) -> None:
    """The state of the host that is emptied is what each action relies on; what moved stays where it is."""
    bench = await Bench(tmp_path).ready()
    bench.policy = msgspec.structs.replace(bench.policy, concurrent=1, step_deadline=2.0)
    bench.states["h1"] = "DRAINING"
    digest = bench.approved(an_action(1), an_action(2, "s2", destination="h2"))

    def lifted() -> None:
        if bench.journal.plan(digest)[1].actions[0].state is ActionState.RUNNING:
            bench.states["h1"] = "READY"

    bench.world.watch = lifted
    status = await bench.executor().run(digest)
    assert [action.state for action in status.actions] == [ActionState.DONE, ActionState.CANCELLED]
    assert "was DRAINING, now READY" in status.actions[1].note
    assert status.state is PlanState.PARTIAL
    bench.at_rest("s1", "h3")
    bench.at_rest("s2", "h1")


async def test_a_host_whose_last_shard_leaves_is_drained_while_the_move_still_runs(tmp_path: Path) -> None:
    """DRAINED from the commit on: the steps after it go on all the same."""
    bench = await Bench(tmp_path).ready()
    bench.states["h1"] = "DRAINING"
    digest = bench.approved(an_action(1))

    def left() -> None:
        if bench.journal.placement().owners["s1"].host != "h1":
            bench.states["h1"] = "DRAINED"

    bench.world.watch = left
    status = await bench.executor().run(digest)
    assert bench.states["h1"] == "DRAINED" and status.state is PlanState.SUCCEEDED, status.note
    bench.at_rest("s1", "h3")
