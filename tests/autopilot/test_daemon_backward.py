"""What a move left on a host that did not answer is taken back there once it does."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from move_doubles import Bench, an_action
from msgspec.structs import replace

from sidestep.autopilot.daemon_backward import Backward
from sidestep.autopilot.daemon_log import Log
from sidestep.fleet.machines import ActionState, PlanState, StepName, StepState
from sidestep.fleet.plans import PlanStatus


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = await Bench(tmp_path).ready()
    yield bench
    bench.journal.close()


class Clearing:
    """A daemon's look at hosts that answer."""

    def __init__(self, bench: Bench) -> None:
        self.busy: set[str] = set()
        self.said = io.StringIO()
        self.backward = Backward(
            bench.fleet,
            bench.journal,
            {"process": bench.backend},  # type: ignore[dict-item]
            bench._transport,  # type: ignore[arg-type]
            Log(bench.journal, stream=self.said),
            lambda: frozenset(self.busy),
        )


async def given_up(bench: Bench, after: str = "restore") -> PlanStatus:
    """A move of s1 from h1 to h3, which falls silent for good after that step."""
    bench.world.watch = lambda: bench.world.down.add("h3") if bench.backend.done[-1:] == [after] else None
    status = await bench.executor().run(bench.approved())
    assert status.actions[0].state is ActionState.ABORTED
    bench.world.watch = lambda: None
    bench.backend.done.clear()
    return status


async def test_a_host_that_answers_again_keeps_nothing_of_a_move_that_was_given_up(bench: Bench) -> None:
    """S2.27: a capsule has the state of the shard in it, and a promised port is nobody else's."""
    status = await given_up(bench)
    assert "What is left on h3 waits" in status.actions[0].note
    assert ("h3", "s1") in bench.world.processes and bench.world.scratch
    clearing = Clearing(bench)
    assert await clearing.backward.clear(["h1", "h2"]) == set() and not bench.backend.done
    bench.world.down.clear()
    assert await clearing.backward.clear(["h3"]) == set()
    assert bench.backend.done == ["abort prepare"]
    bench.at_rest("s1", "h1")
    states = {step.name: step.state for step in bench.journal.status(status.digest).actions[0].steps}
    assert {states[name] for name in (StepName.PREPARE, StepName.TRANSFER, StepName.RESTORE)} == {StepState.UNDONE}
    assert await clearing.backward.clear(["h3"]) == set() and bench.backend.done == ["abort prepare"]
    assert (
        f"h3: taken back what plan {bench.journal.plan(status.digest)[0].number} left of s1" in clearing.said.getvalue()
    )


async def test_a_daemon_that_was_started_since_knows_of_it(bench: Bench) -> None:
    await given_up(bench, "transfer")
    bench.reborn()
    bench.world.down.clear()
    assert await Clearing(bench).backward.clear(["h3"]) == set()
    bench.at_rest("s1", "h1")


async def test_a_host_that_is_silent_again_is_tried_again_and_said_once(bench: Bench) -> None:
    await given_up(bench)
    clearing = Clearing(bench)
    for _ in range(2):
        assert await clearing.backward.clear(["h3"]) == {"h3"}
    assert clearing.said.getvalue().count("no route to host") == 1
    bench.world.down.clear()
    clearing.busy = {"s1"}
    assert await clearing.backward.clear(["h3"]) == {"h3"}, "another action is about to move it"
    assert clearing.said.getvalue().count("no route to host") == 1
    clearing.busy = set()
    assert await clearing.backward.clear(["h3"]) == set()


async def test_a_backend_that_fails_or_hangs_there_keeps_nobody_from_being_looked_at(bench: Bench) -> None:
    await given_up(bench)
    bench.world.down.clear()
    clearing, abort = Clearing(bench), bench.backend.abort

    async def hangs(*_: object) -> None:
        await asyncio.Event().wait()

    async def fails(*_: object) -> None:
        raise KeyError("missing")

    for way, says in ((fails, "KeyError"), (hangs, "did not end within")):
        bench.backend.abort = way  # type: ignore[assignment]
        assert await clearing.backward.clear(["h3"]) == {"h3"}
        assert f"s1 from h1 to h3: taking back what was left: {says}" in clearing.said.getvalue()
    bench.backend.abort = abort  # type: ignore[method-assign]
    assert await clearing.backward.clear(["h3"]) == set()


async def test_a_host_that_hangs_over_one_of_them_is_asked_for_no_other_in_the_same_look(bench: Bench) -> None:
    await given_up(bench)
    for shard in ("s1", "s2"):
        assert (await bench.executor().run(bench.approved(an_action(shard=shard)))).actions[0].state == "ABORTED"
    assert len(bench.journal.half_taken_back()) == 3
    bench.backend.done.clear()
    clearing = Clearing(bench)
    assert await clearing.backward.clear(["h3"]) == {"h3"} and bench.backend.done == ["abort prepare"]
    bench.world.down.clear()
    assert await clearing.backward.clear(["h3"]) == set() and not bench.journal.half_taken_back()


async def test_it_is_taken_back_also_where_the_shard_has_moved_on_since(bench: Bench) -> None:
    """The planner finds another host at once; nothing is said to the first one's source, which is not its owner."""
    await given_up(bench)
    on = bench.approved(an_action(destination="h2"))
    assert (await bench.executor().run(on)).state is PlanState.SUCCEEDED
    bench.backend.done.clear()
    bench.world.down.clear()
    assert await Clearing(bench).backward.clear(["h3"]) == set()
    assert bench.backend.done == ["abort prepare"]
    bench.at_rest("s1", "h2")


async def test_nothing_is_done_where_the_shard_has_come_since(bench: Bench) -> None:
    """Its own move has cleared up; what is there is the shard."""
    status = await given_up(bench)
    bench.world.down.clear()
    assert (await bench.executor().run(bench.approved())).state is PlanState.SUCCEEDED
    bench.backend.done.clear()
    assert await Clearing(bench).backward.clear(["h3"]) == set()
    assert not bench.backend.done and not bench.journal.half_taken_back()
    assert bench.journal.status(status.digest).actions[0].state is ActionState.ABORTED


async def test_what_is_not_in_the_fleet_file_any_more_is_left_alone(bench: Bench) -> None:
    await given_up(bench)
    bench.world.down.clear()
    for less in (
        {"shards": tuple(s for s in bench.fleet.shards if s.name != "s1")},
        {"hosts": tuple(h for h in bench.fleet.hosts if h.name != "h1")},
    ):
        whole, bench.fleet = bench.fleet, replace(bench.fleet, **less)
        assert await Clearing(bench).backward.clear(["h3"]) == set() and not bench.backend.done
        bench.fleet = whole
