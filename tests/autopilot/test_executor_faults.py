"""Errors and deadlines at every point of every step: the shard serves, on the side that the commit decides."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from move_doubles import Bench, FakePacing, FaultsAt, an_action

from sidestep.autopilot.journal_store import JournalError
from sidestep.fleet.errors import HostError, HostKeyRefused, HostUnreachable, ShardEnded
from sidestep.fleet.machines import MOVE_STEPS, ActionState, PlanState, StepName, StepState

#: the points at which the move is past its commit
AFTER = (
    "commit:after",
    "commit:recorded",
    *(f"{s}:{w}" for s in MOVE_STEPS[8:] for w in ("before", "after", "recorded")),
)
POINTS = [f"{s}:{w}" for s in MOVE_STEPS for w in ("before", "after", "recorded")]


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return await Bench(tmp_path).ready()


@pytest.mark.parametrize("kind", ["error", "stall"])
@pytest.mark.parametrize("point", POINTS)
async def test_a_fault_is_taken_back_before_the_commit_and_overcome_after_it(
    bench: Bench, point: str, kind: str
) -> None:
    """S2.27: before the commit point the source is thawed; after it there is only forward."""
    status = await bench.executor(FaultsAt((point, kind))).run(bench.approved())
    if point in AFTER:
        assert (status.state, status.actions[0].state) == (PlanState.SUCCEEDED, ActionState.DONE)
        bench.at_rest("s1", "h3")
    else:
        assert (status.state, status.actions[0].state) == (PlanState.FAILED, ActionState.ABORTED)
        assert ("did not end within" if kind == "stall" else point) in status.actions[0].note
        assert {s.state for s in status.actions[0].steps} <= {StepState.PENDING, StepState.UNDONE}
        bench.at_rest("s1", "h1")
    bench.journal.verify_chain()


async def test_the_thaw_is_first_then_steps_are_taken_back_newest_first_and_only_those_that_began(bench: Bench) -> None:
    await bench.executor(FaultsAt(("transfer:before", "error"))).run(bench.approved())
    back = [line for line in bench.backend.done if line.startswith("abort")]
    assert back == ["abort freeze", "abort transfer", "abort capture", "abort precopy", "abort prepare"]


async def test_the_status_and_the_log_say_host_step_command_and_log(bench: Bench) -> None:
    """A failure is never reported without its log."""
    bench.backend.fail["restore"] = HostError("h3", "restore", "exit status 3", command="load-app", tail="disk full")
    status = await bench.executor().run(bench.approved())
    for text in (status.actions[0].note, status.note, *(e.text for e in bench.journal.events() if e.kind == "error")):
        assert all(word in text for word in ("h3", "restore", "load-app", "disk full")), text


async def test_a_bug_in_a_backend_thaws_the_source_too(bench: Bench) -> None:
    bench.backend._transfer = lambda move, notes: {}["missing"]  # type: ignore[method-assign]
    status = await bench.executor().run(bench.approved())
    assert "KeyError: 'missing'" in status.actions[0].note
    bench.at_rest("s1", "h1")


async def test_dependents_are_cancelled_and_independent_actions_still_run(bench: Bench) -> None:
    digest = bench.approved(
        an_action(1), an_action(2, "s2", destination="h2", after=(1,)), an_action(3, "s3", "h2", "h1")
    )
    status = await bench.executor(FaultsAt(("verify:after", "error"))).run(digest)
    assert [a.state for a in status.actions] == [ActionState.ABORTED, ActionState.CANCELLED, ActionState.DONE]
    assert "it may only follow action 1, which is ABORTED" in status.actions[1].note
    assert status.state is PlanState.PARTIAL
    bench.at_rest("s1", "h1")
    bench.at_rest("s2", "h1")
    bench.at_rest("s3", "h1")


async def test_the_token_of_an_aborted_move_is_never_given_again(bench: Bench) -> None:
    """S2.27: a process left over from an aborted move can hold no token that anybody else holds."""
    await bench.executor(FaultsAt(("commit:before", "error"))).run(bench.approved())
    status = await bench.executor().run(bench.approved())
    assert status.state is PlanState.SUCCEEDED
    assert bench.journal.placement().owners["s1"].token == 3


async def test_a_dead_destination_gives_the_source_back_at_once(bench: Bench) -> None:
    """The users of a shard do not wait for a host that is not theirs."""
    bench.world.watch = lambda: bench.world.down.add("h3") if bench.backend.done[-1:] == ["restore"] else None
    status = await bench.executor().run(bench.approved())
    assert (status.state, status.actions[0].state) == (PlanState.FAILED, ActionState.ABORTED)
    assert "What is left on h3 waits: s1 from h1 to h3: abort" in status.actions[0].note
    assert bench.world.serving_host("s1") == "h1"
    assert not bench.router.held
    back = [line for line in bench.backend.done if line.startswith("abort")]
    assert back[0] == "abort freeze", "the thaw waited for the dead host"
    assert bench.pace.pauses == 0, "the plan waited for the dead host"
    assert bench.doubtful == {"h1", "h3"}, "nobody looks at the dead host when it comes back"


async def test_a_destination_that_died_before_the_commit_does_not_become_the_owner(bench: Bench) -> None:
    bench.world.watch = lambda: bench.world.down.add("h3") if bench.backend.done[-1:] == ["verify"] else None
    status = await bench.executor().run(bench.approved())
    assert status.actions[0].state is ActionState.ABORTED
    assert "commit: h3: connect: no route to host" in status.actions[0].note
    assert bench.world.serving_host("s1") == "h1" == bench.journal.placement().owners["s1"].host


async def test_a_destination_that_falls_silent_before_the_commit_does_not_become_the_owner(bench: Bench) -> None:
    """A host that hangs keeps its connection for a while."""
    bench.world.silent.add("h3")
    status = await bench.executor().run(bench.approved())
    assert (status.state, status.actions[0].state) == (PlanState.FAILED, ActionState.ABORTED)
    assert "commit: did not end within" in status.actions[0].note
    bench.at_rest("s1", "h1")


async def test_a_clean_up_that_fails_on_a_destination_that_answers_is_insisted_on(bench: Bench) -> None:
    bench.backend.fail |= {
        "verify": HostError("h3", "verify", "another digest"),
        "abort restore": HostError("h3", "abort restore", "process group 7 does not die"),
    }
    bench.pace = FakePacing(during=bench.backend.fail.clear)
    status = await bench.executor().run(bench.approved())
    assert status.actions[0].state is ActionState.ABORTED
    assert bench.pace.pauses == 1
    bench.at_rest("s1", "h1")


async def test_a_source_that_does_not_answer_is_insisted_on_until_it_serves(bench: Bench) -> None:
    bench.world.watch = lambda: bench.world.down.add("h1") if bench.backend.done[-1:] == ["capture"] else None
    bench.pace = FakePacing(during=bench.world.down.clear)
    status = await bench.executor().run(bench.approved())
    assert (status.actions[0].state, bench.pace.pauses) == (ActionState.ABORTED, 1)
    bench.world.watch = lambda: None
    bench.at_rest("s1", "h1")


async def test_a_thaw_that_fails_leaves_the_requests_held_and_calls_a_person(bench: Bench) -> None:
    """A request sent to a shard that may be frozen is lost; held, it is only late."""
    bench.backend.fail["transfer"] = HostError("h1", "transfer", "broken pipe")
    bench.backend.fail["abort freeze"] = HostUnreachable(
        "h1", "abort freeze", "connection lost", command="kill -CONT 7"
    )
    digest = bench.approved(an_action(1), an_action(2, "s2", destination="h2"))
    executor = bench.executor()
    status = await executor.run(digest)
    first, second = status.actions
    assert (status.state, first.state, second.state) == (
        PlanState.FAILED, ActionState.FAILED_NEEDS_HUMAN, ActionState.CANCELLED,
    )  # fmt: skip
    assert "requests to s1 are held" in first.note
    assert "kill -CONT 7" in first.note
    assert "needs a person" in second.note
    assert "s1" in bench.router.held
    assert executor.moving == {"s1"}, "a shard in this state must not be planned with"
    assert bench.pace.pauses > 5, "it was not insisted"


async def test_after_the_commit_a_host_that_stays_away_calls_a_person_and_nothing_goes_back(bench: Bench) -> None:
    bench.backend.fail["resume"] = HostError("h3", "resume", "exit status 1", command="resume-app", tail="no licence")
    status = await bench.executor().run(bench.approved())
    action = status.actions[0]
    assert (status.state, action.state) == (PlanState.PARTIAL, ActionState.FAILED_NEEDS_HUMAN)
    assert all(word in action.note for word in ("h3", "resume", "resume-app", "no licence", "is not taken back"))
    assert bench.journal.placement().owners["s1"].host == "h3"
    assert not any(line.startswith("abort") for line in bench.backend.done)
    assert bench.pace.now <= 60.0, "the insisting is bounded"


@pytest.mark.parametrize(
    "error",
    [HostKeyRefused("h3", "connect", "the host key changed"), ShardEnded("h3", "observe", "process 7 is dead")],
)
async def test_what_ends_the_same_again_is_not_insisted_on(bench: Bench, error: HostError) -> None:
    """A key stays refused, and a process that has ended stays dead: whoever can help is told at once."""
    bench.backend.fail["observe"] = error
    status = await bench.executor().run(bench.approved())
    assert status.actions[0].state is ActionState.FAILED_NEEDS_HUMAN
    assert bench.pace.pauses == 0


async def test_a_router_that_is_away_after_the_commit_is_waited_for(bench: Bench) -> None:
    def back() -> None:
        bench.router.broken = False

    bench.pace = FakePacing(during=back)
    bench.world.watch = lambda: setattr(bench.router, "broken", bench.backend.done[-1:] == ["verify"])
    status = await bench.executor().run(bench.approved())
    assert (status.state, bench.pace.pauses) == (PlanState.SUCCEEDED, 1)
    bench.at_rest("s1", "h3")


async def test_a_full_disk_stops_no_thaw(bench: Bench) -> None:
    """The journal cannot be written any more: the shard serves again, and the next start finishes the books."""
    digest = bench.approved()

    def fill() -> None:
        if bench.backend.done[-1:] == ["capture"]:
            bench.journal._db.execute("PRAGMA query_only = ON")

    bench.world.watch = fill
    with pytest.raises(JournalError, match="readonly"):
        await bench.executor().run(digest)
    assert bench.world.serving_host("s1") == "h1"
    assert not bench.router.held
    bench.world.watch = lambda: None
    bench.reborn()
    (status,) = await bench.executor().recover()
    assert status.state is PlanState.FAILED
    bench.at_rest("s1", "h1")


async def test_the_plan_is_stale_when_a_shard_of_its_hosts_moved_after_the_approval(bench: Bench) -> None:
    """What runs is what was approved, on the basis it was approved on."""
    digest = bench.approved(an_action(1, "s2", "h1", "h3"))
    bench.journal._db.execute("UPDATE owner SET host = 'h2', token = 9 WHERE shard = 's1'")
    status = await bench.executor().run(digest)
    assert status.state is PlanState.STALE
    assert "shard s1: was on h1 (token 1), now on h2 (token 9)" in status.note
    assert bench.backend.done == []


async def test_the_plan_is_stale_when_one_capacity_changed(bench: Bench) -> None:
    digest = bench.approved()
    bench.cpus["h3"] = 1.0
    status = await bench.executor().run(digest)
    assert (status.state, status.note) == (PlanState.STALE, "host h3: cpu was 2.0, now 1.0")
    assert bench.backend.done == []


async def test_an_approved_plan_that_waited_too_long_expires(bench: Bench) -> None:
    digest = bench.approved()
    bench.now += 301.0
    status = await bench.executor().run(digest)
    assert (status.state, bench.backend.done) == (PlanState.EXPIRED, [])


async def test_each_action_is_checked_again_before_it_begins(bench: Bench) -> None:
    digest = bench.approved(an_action(1), an_action(2, "s2", destination="h2"))
    bench.world.watch = lambda: bench.states.update(h2="SUSPECT") if bench.backend.done[-1:] == ["verify"] else None
    status = await bench.executor().run(digest)
    assert [a.state for a in status.actions] == [ActionState.DONE, ActionState.CANCELLED]
    assert "host h2: state was READY, now SUSPECT" in status.actions[1].note
    assert status.state is PlanState.PARTIAL
    bench.at_rest("s2", "h1")


async def test_a_commit_that_loses_is_taken_back(bench: Bench) -> None:
    """S2.8: somebody else gave the shard a newer token between the first step and the commit."""
    bench.world.watch = lambda: (
        bench.journal._db.execute("UPDATE owner SET token = 40 WHERE shard = 's1'")
        if bench.backend.done[-1:] == ["verify"]
        else None
    )
    status = await bench.executor().run(bench.approved())
    assert status.actions[0].state is ActionState.ABORTED
    assert "shard s1 has token 40 on h1, expected token 1" in status.actions[0].note
    assert bench.journal.step_state(status.digest, 1, StepName.COMMIT) is StepState.UNDONE
    bench.world.watch = lambda: None
    bench.at_rest("s1", "h1")


def test_a_commit_is_one_transaction(tmp_path: Path) -> None:
    """S2.27: a failure anywhere inside leaves owner, generation, endpoint and step as they were."""
    bench = Bench(tmp_path)
    digest = bench.approved()
    bench.journal.begin_action(digest, 1)
    bench.journal._db.execute(
        "CREATE TRIGGER boom BEFORE UPDATE ON action WHEN new.state = 'COMMITTED'"
        " BEGIN SELECT RAISE(ABORT, 'boom'); END"
    )
    before = bench.journal.placement()
    with pytest.raises(JournalError, match="boom"):
        bench.journal.commit_move(digest=digest, action=1, shard="s1", to="h3", expected_token=1)  # type: ignore[arg-type]
    assert bench.journal.placement() == before
    assert not bench.journal.committed(digest, 1)
    assert bench.journal.status(digest).actions[0].state is ActionState.RUNNING
    with sqlite3.connect(bench.path) as other:
        assert other.execute("SELECT host, token FROM owner WHERE shard = 's1'").fetchone() == ("h1", 1)
    other.close()
