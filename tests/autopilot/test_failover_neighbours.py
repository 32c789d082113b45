"""What else has to know of lost hosts: caps, trust, settlement, states (S2.21)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from failover_doubles import LostBench, rescue
from move_doubles import Bench, an_action
from msgspec.structs import replace
from test_daemon_settlement import HOSTS, Scene

from sidestep.autopilot.executor_graph import Places, choose
from sidestep.autopilot.loop_words import unproven
from sidestep.autopilot.trust.evidence import evidence_of
from sidestep.autopilot.world_states import States
from sidestep.fleet.errors import IllegalTransition
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HOST, ActionState, HostState, PlanState, advance
from sidestep.fleet.plans import Reason


async def test_failovers_of_one_host_run_side_by_side(tmp_path: Path) -> None:
    """A lost host does nothing: it is no bottleneck."""
    bench = Bench(tmp_path)
    plan = bench.plan(rescue(), rescue(2, "s2", destination="h2"))
    states = dict.fromkeys((1, 2), ActionState.PENDING)
    both = choose(plan, states, places=Places.of(bench.fleet), limit=4, now=bench.now)
    assert [a.id for a in both.begin] == [1, 2]
    moves = bench.plan(an_action(), an_action(2, "s2", destination="h2"))
    assert len(choose(moves, states, places=Places.of(bench.fleet), limit=4, now=bench.now).begin) == 1


async def test_how_long_a_lost_shard_was_held_does_not_count_against_trust(tmp_path: Path) -> None:
    bench = await LostBench(tmp_path).lose()
    status = await bench.executor().run(bench.approved(rescue(freeze_ms=1.0, bytes=1)))
    assert status.state is PlanState.SUCCEEDED
    plan, status = bench.journal.plan(status.digest)
    found = evidence_of((), [(plan, status)], 10)
    assert (found.plans, found.succeeded, found.freeze_ratio, found.bytes_ratio) == (1, 1, None, None)


async def test_a_failover_needs_no_proven_chances_and_a_move_beside_it_does(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    room = replace(an_action(3, "s3", "h2", "h3"), reason=Reason("MAKES_ROOM", Label("for s1")))
    other = replace(an_action(4, "s3", "h2", "h3"), reason=Reason("RELIEVES", Label("h2 runs hot")))
    saved = replace(rescue(), reason=Reason("FAILS_OVER", Label("h1 is lost")))
    assert unproven(bench.plan(saved, room), ()) == ()
    assert unproven(bench.plan(saved, other), ()) == ("s3",)
    assert unproven(bench.plan(room), ()) == ("s3",), "without a lost host it is for nothing that was proven"


async def test_a_poisoned_shard_is_not_started_on_its_own_host_either(tmp_path: Path) -> None:
    """Lesson 11: the host that came back would be lost again."""
    scene = Scene(tmp_path)
    poisoned = {"s1"}
    scene.settlement._poisoned = lambda: frozenset(poisoned)
    await scene.settlement.settle(HOSTS)
    assert scene.running() == {("h1", "s2", 1), ("h1", "s3", 1)}
    assert "s1 on h1: is poisoned, and not started" in scene.said.getvalue()
    assert "h1" not in scene.settlement.settled
    poisoned.clear()
    await scene.settlement.settle(HOSTS)
    assert ("h1", "s1", 1) in scene.running()
    scene.journal.close()


async def test_a_poisoned_shard_that_still_runs_is_left_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.settlement._poisoned = lambda: frozenset({"s1"})
    scene.own(s1=1, s2=1, s3=1)
    scene.backend.put("h1", "s1", 1)
    await scene.settlement.settle(HOSTS)
    assert ("h1", "s1", 1) in scene.running()
    scene.journal.close()


def test_a_host_in_quarantine_is_up_and_says_why_until_it_is_let_out() -> None:
    said: list[tuple[int, HostState, str]] = []
    specs = [HostSpec(name=Label(n), address="::1", cordoned=n == "b") for n in "ab"]
    states = States(specs, 1.0, 0.0, lambda row, state, why: said.append((row, state, str(why))))
    states.quarantine({0: Label("was lost"), 1: Label("was lost")})
    states.judge(np.array([1.0, 1.0]), 1.0)
    assert states.states == [HostState.QUARANTINED, HostState.CORDONED], "what a person said is stronger"
    assert states.fresh.tolist() == [True, True]
    for now in np.arange(1.5, 4.5, 0.5):
        states.judge(np.array([1.0, 1.0]), float(now))
    assert states.states[0] is HostState.SUSPECT
    states.judge(np.array([4.5, 4.5]), 4.6)
    assert said[-2:] == [(0, HostState.QUARANTINED, "was lost"), (1, HostState.CORDONED, "cordoned in the fleet file")]
    states.quarantine({})
    assert not states.calm(np.array([4.5, 4.5]), 4.7)
    states.judge(np.array([4.5, 4.5]), 4.7)
    assert states.states == [HostState.READY, HostState.CORDONED]


@pytest.mark.parametrize("new", [HostState.SUSPECT, HostState.DEAD, HostState.READY, HostState.CORDONED])
def test_quarantine_can_be_left_in_every_direction(new: HostState) -> None:
    assert advance(HOST, HostState.QUARANTINED, new) is new
    with pytest.raises(IllegalTransition):
        advance(HOST, HostState.QUARANTINED, HostState.UNKNOWN)
