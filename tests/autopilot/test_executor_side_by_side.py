"""Moves that run side by side: within the caps, each for itself, and all of them put right after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from move_doubles import NOW, Bench, Crash, FaultsAt, an_action

from sidestep.autopilot.journal_store import JournalError
from sidestep.fleet.errors import HostError
from sidestep.fleet.machines import ACTION, MOVE_STEPS, ActionState, PlanState, final
from sidestep.fleet.plans import Action

#: three moves that have nothing to do with each other, but for their hosts
THREE = (an_action(1), an_action(2, "s2", destination="h2"), an_action(3, "s3", "h2", "h1"))
ENDS = (("s1", "h1", "h3"), ("s2", "h1", "h2"), ("s3", "h2", "h1"))
POINTS = [f"{s}:{w}" for s in MOVE_STEPS for w in ("before", "after", "recorded")]


def wide(bench: Bench, **caps: int) -> Bench:
    """Without caps but these."""
    bench.policy = msgspec.structs.replace(
        bench.policy, **{"concurrent": 0, "concurrent_per_host": 0, "step_deadline": 2.0, **caps}
    )
    return bench


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return wide(await Bench(tmp_path).ready())


def count(bench: Bench) -> list[int]:
    """Notes, from now on, how many actions are under way after every change."""
    seen: list[int] = []

    def look() -> None:
        plans = bench.journal.plans_in(PlanState.RUNNING)
        states = [a.state for _, status in plans for a in status.actions]
        seen.append(sum(s is not ActionState.PENDING and not final(ACTION, s) for s in states))

    bench.world.watch = look
    return seen


async def test_independent_moves_run_at_the_same_time(bench: Bench) -> None:
    """S3.19 S2.27: each under its own token, in a higher generation each time."""
    seen = count(bench)
    status = await bench.executor().run(bench.approved(*THREE))
    assert status.state is PlanState.SUCCEEDED, status.note
    assert max(seen) == 3
    for shard, _, host in ENDS:
        bench.at_rest(shard, host)
    tokens = [owner.token for owner in bench.journal.placement().owners.values()]
    assert sorted(tokens) == [2, 3, 4]
    bench.journal.verify_chain()


ONE = ({"concurrent": 1}, {"concurrent_per_app": 1}, {"concurrent_per_host": 1})


@pytest.mark.parametrize(("caps", "most"), [({"concurrent": 2}, 2), *((caps, 1) for caps in ONE)])
async def test_no_more_than_the_policy_allows(bench: Bench, caps: dict[str, int], most: int) -> None:
    """S5.9: all three shards are of one app, and every two of the moves share a host."""
    seen = count(wide(bench, **caps))
    status = await bench.executor().run(bench.approved(*THREE))
    assert (status.state, max(seen)) == (PlanState.SUCCEEDED, most)


async def test_one_that_fails_takes_back_itself_alone(bench: Bench) -> None:
    faults = FaultsAt(("verify:after", "error"))
    status = await bench.executor(faults).run(bench.approved(*THREE))
    states = [a.state for a in status.actions]
    assert sorted(states) == [ActionState.ABORTED, ActionState.DONE, ActionState.DONE]
    assert status.state is PlanState.PARTIAL
    for (shard, source, destination), state in zip(ENDS, states, strict=True):
        bench.at_rest(shard, destination if state is ActionState.DONE else source)


async def test_a_person_is_waited_for_by_what_has_not_begun_and_not_by_what_runs(bench: Bench) -> None:
    bench.backend.fail["resume"] = HostError("h3", "resume", "exit status 1")
    wide(bench, concurrent=2)
    digest = bench.approved(*THREE[:2], an_action(3, "s3", "h2", "h1", after=(1,)))
    status = await bench.executor().run(digest)
    assert [a.state for a in status.actions] == [
        ActionState.FAILED_NEEDS_HUMAN, ActionState.FAILED_NEEDS_HUMAN, ActionState.CANCELLED,
    ]  # fmt: skip


async def test_a_full_disk_gives_every_shard_back(bench: Bench) -> None:
    digest = bench.approved(*THREE)

    def fill() -> None:
        if "capture" in bench.backend.done:
            bench.journal._db.execute("PRAGMA query_only = ON")

    bench.world.watch = fill
    with pytest.raises(JournalError, match="readonly"):
        await bench.executor().run(digest)
    assert [bench.world.serving_host(shard) for shard, _, _ in ENDS] == ["h1", "h1", "h2"]
    assert not bench.router.held
    bench.world.watch = lambda: None
    bench.reborn()
    (status,) = await bench.executor().recover()
    assert status.state is PlanState.FAILED


async def test_a_move_that_came_too_late_is_cancelled_while_others_run(bench: Bench) -> None:
    """S3.8: with the reason, and with what was to follow it."""
    wide(bench, concurrent=1)

    def pass_time() -> None:
        bench.now += 1.0

    bench.world.watch = pass_time
    late = an_action(2, "s2", destination="h2", latest_start=NOW + 3)
    digest = bench.approved(an_action(1), late, an_action(3, "s3", "h2", "h1", after=(2,)))
    status = await bench.executor().run(digest)
    assert [a.state for a in status.actions] == [ActionState.DONE, ActionState.CANCELLED, ActionState.CANCELLED]
    assert "too late" in status.actions[1].note
    assert status.state is PlanState.PARTIAL


async def test_a_skipped_action_is_left_out_and_the_rest_succeeds(bench: Bench) -> None:
    digest = bench.approved(*THREE)
    bench.journal.set_action(digest, 2, ActionState.SKIPPED, note="not now")
    status = await bench.executor().run(digest)
    assert [a.state for a in status.actions] == [ActionState.DONE, ActionState.SKIPPED, ActionState.DONE]
    assert status.state is PlanState.SUCCEEDED
    bench.at_rest("s2", "h1")


async def test_strain_that_moves_bring_halves_them_and_clean_ones_bring_them_back(bench: Bench) -> None:
    """S3.20: a host that was under strain before is no reason: it is to be relieved."""
    bench.strains["h1"] = "tasks stand still for the processor"
    executor = bench.executor()
    bench.world.watch = lambda: bench.strains.update(h3="tasks stand still for memory")
    await executor.run(bench.approved(*THREE))
    said = [e.text for e in bench.journal.events() if "at a time from now on" in e.text]
    assert said == ["plan 1: at most 1 at a time from now on: h3: tasks stand still for memory"]
    assert executor._context.pace.allowed(4) == 1
    bench.world.watch = lambda: None
    bench.strains.clear()
    back = (Action(**{**msgspec.structs.asdict(a), "source": a.destination, "destination": a.source,
                      "token": bench.journal.placement().owners[a.shard].token}) for a in THREE)  # fmt: skip
    seen = count(bench)
    await executor.run(bench.approved(*back))
    assert seen[0] == 1
    assert executor._context.pace.allowed(4) == 4


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(POINTS), min_size=1, max_size=4))
def test_a_crash_with_several_moves_under_way_is_put_right_at_once(points: list[str]) -> None:
    """S2.27: whichever of them it hit; each goes where its own commit says."""

    async def story(folder: Path) -> None:
        bench = wide(await Bench(folder).ready())
        digest = bench.approved(*THREE)
        with contextlib.suppress(Crash):
            await bench.executor(FaultsAt((points[0], "crash"))).run(digest)
        promised = [bench.journal.token(digest, a) for a in (1, 2, 3)]
        for point in points[1:]:
            bench.reborn()
            with contextlib.suppress(Crash):
                await bench.executor(FaultsAt((point, "crash"))).recover()
        bench.reborn()
        executor = bench.executor()
        await executor.recover()
        status = bench.journal.status(digest)
        assert final(ACTION, status.actions[0].state)
        assert executor.moving == executor.busy == frozenset()
        for (shard, source, destination), action in zip(ENDS, status.actions, strict=True):
            bench.at_rest(shard, destination if action.state is ActionState.DONE else source)
            if action.state is ActionState.DONE:
                assert bench.journal.placement().owners[shard].token == promised[action.id - 1]  # type: ignore[index]
        bench.journal.verify_chain()
        bench.journal.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))
