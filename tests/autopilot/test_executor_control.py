"""Pause, resume, cancel and hold: what runs, what has not begun, and what is past its commit."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from move_doubles import OPERATOR, Bench, an_action
from test_executor_side_by_side import wide

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.executor import Executor
from sidestep.autopilot.executor_control import PlanControl
from sidestep.autopilot.hold import Hold
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.machines import MOVE_STEPS, ActionState, PlanState, StepName
from sidestep.fleet.plans import PlanStatus

A, P = ActionState, PlanState
BEFORE = [f"{s}:before" for s in MOVE_STEPS[:8]]
TWO = (an_action(1), an_action(2, "s2", destination="h2", after=(1,)))


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return wide(await Bench(tmp_path).ready())


class At:
    """Does something once at a point of the first action."""

    def __init__(self, point: str, do: Callable[[], object]) -> None:
        self.point, self.do, self.done = point, do, False

    async def at(self, point: str) -> None:
        if point == self.point and not self.done:
            self.done = True
            self.do()


class Desk:
    """A control over one executor; plans that it starts run as tasks."""

    def __init__(self, bench: Bench, point: str = "", do: Callable[[Desk], object] = lambda desk: None) -> None:
        self.bench, self.tasks = bench, list[asyncio.Task[PlanStatus]]()
        self.hold = Hold(bench.path.parent)
        self.executor: Executor = bench.executor(At(point, lambda: do(self)), held=self.hold.why)
        self.control = PlanControl(
            journal=bench.journal, executor=self.executor, hold=self.hold,
            log=Log(bench.journal, stream=io.StringIO()), start=self.start,
        )  # fmt: skip

    def start(self, digest: str) -> None:
        self.tasks.append(asyncio.ensure_future(self.executor.run(digest)))

    def plan(self) -> str:
        return self.bench.journal.plans()[0][1].digest

    def states(self) -> list[ActionState]:
        return [a.state for a in self.bench.journal.status(self.plan()).actions]

    async def until(self, wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(30.0):
            while not wanted():
                await asyncio.sleep(0.005)

    async def ended(self) -> PlanStatus:
        return (await asyncio.gather(*self.tasks))[-1]


def pause(desk: Desk) -> None:
    desk.control.pause(desk.plan(), actor=OPERATOR, reason="lunch")


def cancel(desk: Desk) -> None:
    desk.control.cancel(desk.plan(), actor=OPERATOR, reason="wrong one")


async def test_a_pause_lets_what_runs_end_and_begins_nothing_more(bench: Bench) -> None:
    desk = Desk(bench, "capture:before", pause)
    desk.start(bench.approved(*TWO))
    await desk.until(lambda: desk.states()[0] is A.DONE)
    await asyncio.sleep(0.02)
    assert desk.states() == [A.DONE, A.PENDING]
    assert bench.journal.status(desk.plan()).state is P.PAUSED
    assert desk.executor.moving == {"s2"}
    assert desk.executor.busy == frozenset(), "a host that comes back may be settled meanwhile"
    desk.control.resume(desk.plan(), actor=OPERATOR)
    status = await desk.ended()
    assert (status.state, desk.states()) == (P.SUCCEEDED, [A.DONE, A.DONE])
    acts = [line for line in (e.text for e in bench.journal.events()) if "PAUSED" in line]
    assert acts == ["plan 1 PAUSED; lunch"]


async def test_a_pause_with_nothing_left_to_begin_ends_with_the_plan(bench: Bench) -> None:
    desk = Desk(bench, "capture:before", pause)
    desk.start(bench.approved(an_action(1)))
    assert (await desk.ended()).state is P.SUCCEEDED


async def test_a_paused_plan_stays_paused_over_a_restart_and_goes_on(bench: Bench) -> None:
    """A restart neither forgets a plan nor ends it."""
    desk = Desk(bench, "observe:before", pause)
    desk.start(bench.approved(*TWO))
    await desk.until(lambda: desk.states()[0] is A.DONE)
    await desk.executor.stop()
    assert (await desk.ended()).state is P.PAUSED
    bench.reborn()
    desk = Desk(bench)
    (status,) = await desk.executor.recover()
    assert (status.state, desk.states()) == (P.PAUSED, [A.DONE, A.PENDING])
    assert desk.executor.moving == {"s2"}
    desk.control.resume(desk.plan(), actor=OPERATOR)
    assert (await desk.ended()).state is P.SUCCEEDED
    bench.at_rest("s2", "h2")


async def test_a_paused_plan_can_be_cancelled_after_a_restart(bench: Bench) -> None:
    desk = Desk(bench, "observe:before", pause)
    desk.start(bench.approved(*TWO))
    await desk.until(lambda: desk.states()[0] is A.DONE)
    await desk.executor.stop()
    bench.reborn()
    desk = Desk(bench)
    await desk.executor.recover()
    cancel(desk)
    assert (await desk.ended()).state is P.PARTIAL
    assert desk.states() == [A.DONE, A.CANCELLED]
    assert desk.executor.moving == frozenset()


@pytest.mark.parametrize("point", BEFORE)
async def test_a_cancel_takes_back_what_is_not_committed(bench: Bench, point: str) -> None:
    """S2.27: and says so beforehand."""
    said: list[list[str]] = []

    def tell(desk: Desk) -> None:
        said.append([e.will for e in desk.control.effects(desk.plan())])
        cancel(desk)

    desk = Desk(bench, point, tell)
    desk.start(bench.approved(*TWO))
    status = await desk.ended()
    if point == "commit:before":  # the step that runs is finished, and this one is past the commit then
        assert (status.state, desk.states()) == (P.PARTIAL, [A.DONE, A.CANCELLED])
        bench.at_rest("s1", "h3")
    else:
        assert (status.state, desk.states()) == (P.CANCELLED, [A.ABORTED, A.CANCELLED])
        assert "the plan was cancelled" in status.actions[0].note
        bench.at_rest("s1", "h1")
    assert said == [["back", "cancelled"]]
    bench.at_rest("s2", "h1")


@pytest.mark.parametrize("point", ["commit:recorded", "route:before", "resume:after", "release:before"])
async def test_a_cancel_finishes_what_is_committed(bench: Bench, point: str) -> None:
    said: list[list[str]] = []

    def tell(desk: Desk) -> None:
        said.append([e.will for e in desk.control.effects(desk.plan())])
        cancel(desk)

    desk = Desk(bench, point, tell)
    desk.start(bench.approved(*TWO))
    status = await desk.ended()
    assert (status.state, desk.states()) == (P.PARTIAL, [A.DONE, A.CANCELLED])
    assert said == [["finished", "cancelled"]]
    bench.at_rest("s1", "h3")


async def test_a_cancelled_plan_is_ended_by_the_next_start_if_the_daemon_dies(bench: Bench) -> None:
    digest = bench.approved(*TWO)
    bench.journal.set_state(digest, P.RUNNING, actor=OPERATOR)
    bench.journal.begin_action(digest, 1)
    bench.journal.begin_step(digest, 1, StepName.PREPARE)
    bench.journal.set_state(digest, P.CANCELLING, actor=OPERATOR)
    bench.reborn()
    (status,) = await bench.executor().recover()
    assert (status.state, [a.state for a in status.actions]) == (P.CANCELLED, [A.ABORTED, A.CANCELLED])
    bench.at_rest("s1", "h1")


async def test_an_approved_plan_is_cancelled_before_it_began(bench: Bench) -> None:
    desk = Desk(bench)
    desk.hold.begin(actor="ann")
    desk.start(bench.approved(*TWO))
    await asyncio.sleep(0.01)
    cancel(desk)
    assert ((await desk.ended()).state, desk.states()) == (P.CANCELLED, [A.CANCELLED, A.CANCELLED])
    assert bench.backend.done == []


@pytest.mark.parametrize(("act", "done"), [("pause", "paused"), ("resume", "resumed"), ("cancel", "cancelled")])
async def test_a_plan_in_another_state_is_refused_with_the_states_that_can(bench: Bench, act: str, done: str) -> None:
    desk = Desk(bench)
    digest = bench.journal.add(bench.plan()).digest
    with pytest.raises(SidestepError, match=f"plan 1 is PROPOSED and cannot be {done}") as caught:
        getattr(desk.control, act)(digest, actor=OPERATOR)
    assert "only a plan that is" in caught.value.hint


@pytest.mark.parametrize("point", BEFORE[:-1])
async def test_a_hold_takes_back_what_is_not_committed_and_begins_nothing(bench: Bench, point: str) -> None:
    """Whatever step runs, the next one does not begin."""
    desk = Desk(bench, point, lambda desk: desk.control.hold_all(actor="ann", reason="network work"))
    desk.start(bench.approved(an_action(1), an_action(2, "s3", "h2", "h1"), an_action(3, "s2", destination="h2")))
    await desk.until(lambda: bool(desk.hold.why()) and not {A.RUNNING, A.ABORTING} & set(desk.states()))
    await asyncio.sleep(0.02)
    assert A.DONE not in desk.states()
    bench.at_rest("s1", "h1")
    assert bench.journal.status(desk.plan()).state is P.RUNNING or A.PENDING not in desk.states()
    desk.control.release(actor="ann")
    await desk.ended()
    assert "held by ann: network work" in bench.journal.status(desk.plan()).actions[0].note


async def test_a_held_plan_begins_when_it_is_released_and_not_before(bench: Bench) -> None:
    desk = Desk(bench)
    (bench.path.parent / "hold").touch()  # by hand
    desk.start(bench.approved(*TWO))
    await asyncio.sleep(0.02)
    assert bench.journal.status(desk.plan()).state is P.APPROVED
    assert desk.control.release(actor="ann", reason="done").startswith("released: held by the file")
    assert (await desk.ended()).state is P.SUCCEEDED


async def test_a_plan_that_was_held_too_long_expires(bench: Bench) -> None:
    desk = Desk(bench)
    desk.hold.begin(actor="ann")
    desk.start(bench.approved(*TWO))
    await asyncio.sleep(0.01)
    bench.now += 301.0
    desk.control.release(actor="ann")
    assert ((await desk.ended()).state, bench.backend.done) == (P.EXPIRED, [])


async def test_a_hold_is_in_both_logs_with_who_and_why(bench: Bench) -> None:
    desk = Desk(bench)
    assert desk.control.hold_all(actor="ann", reason="network work") == "held by ann: network work"
    assert desk.control.hold_all(actor="bob") == "already held by ann: network work"
    desk.control.told(desk.hold.why())
    desk.control.release(actor="bob", reason="done")
    desk.control.told("")
    assert desk.control.release(actor="bob") == "nothing was held"
    log = "\n".join(e.text for e in bench.journal.events())
    assert "held by ann: network work: nothing new begins" in log
    assert "released: held by ann: network work; done" in log
    audit = b"".join(bench.journal.audit_lines()).decode()
    assert '"hold"' in audit and '"release"' in audit


async def test_a_hold_stops_no_recovery(bench: Bench) -> None:
    """What a dead daemon left is brought to where its shard serves: that is nothing new."""
    digest = bench.approved(*TWO)
    bench.journal.set_state(digest, P.RUNNING, actor=OPERATOR)
    bench.journal.begin_action(digest, 1)
    bench.journal.begin_step(digest, 1, StepName.PREPARE)
    bench.reborn()
    desk = Desk(bench)
    desk.hold.begin(actor="ann")
    (status,) = await desk.executor.recover()
    assert status.state is P.FAILED
    bench.at_rest("s1", "h1")
