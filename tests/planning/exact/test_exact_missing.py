"""What is missing when no moves do, and what is still possible around a plan that is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import contentions, problem

from sidestep.planning.exact import Limits, optimum, touched, what_is_missing
from sidestep.planning.exact.changes import split, widened
from sidestep.planning.exact.check import done, sequence
from sidestep.planning.model import Duty, Left, Move, Outcome, Problem
from sidestep.planning.relief import final

#: enough here, and seconds at the most
LIMITS = Limits(nodes=100, rounds=5)


def small(seed: int, fill: float) -> Problem:
    return problem(seed, hosts=4, shards=12, dimensions=2, steps=2, hot=2, apps=3, fill=fill)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), fill=st.sampled_from([0.7, 0.85]))
def test_so_many_hosts_more_would_do_and_one_fewer_would_not(seed: int, fill: float) -> None:
    """S3.15: "no plan exists, N standby hosts are needed", proven both ways."""
    made = small(seed, fill)
    duties = contentions(made)
    found = what_is_missing(made, duties, most=2, splittable=tuple(range(made.shards)), limits=LIMITS)
    alone = optimum(made, duties, limits=LIMITS)
    assert found.needed == (not alone.moves and alone.status != "OPTIMAL")
    if not found.needed:
        return
    assert found.proven == (alone.status == "INFEASIBLE")
    if found.hosts:
        wide = widened(made, [found.like] * found.hosts)
        assert all(done(wide, duty, found.moves) for duty in duties) and sequence(wide, found.moves)[0] is not None
        if found.fewest and found.hosts > 1:
            assert (
                optimum(widened(made, [found.like] * (found.hosts - 1)), duties, limits=LIMITS).status == "INFEASIBLE"
            )
    if found.splits:
        parted = made
        for shard in found.splits:
            parted = split(parted, shard, (0.5, 0.5))
        assert optimum(parted, duties, limits=LIMITS).moves


def test_what_moves_alone_do_needs_nothing() -> None:
    made = problem(0, hosts=6, shards=40, fill=0.6, hot=2, apps=10)
    assert not what_is_missing(made, contentions(made)).needed


def test_a_shard_larger_than_any_host_needs_a_split_and_no_number_of_hosts_does() -> None:
    made = problem(0, hosts=2, shards=2, dimensions=1, steps=1, hot=0, apps=0)
    edge = np.ones((2, 1))
    made = replace(
        made, mean=np.array([[1.4], [0.2]], dtype=np.float32), median=np.array([[1.4], [0.2]]),
        host=np.array([0, 1], dtype=np.int32), limit=edge, room=edge, capacity=edge,
    )  # fmt: skip
    found = what_is_missing(made, contentions(made), splittable=(0,))
    assert (found.needed, found.proven, found.hosts, found.splits) == (True, True, 0, (0,))


def test_a_plan_with_a_move_too_many_is_found_out() -> None:
    made = problem(0, hosts=6, shards=40, fill=0.6, hot=2, apps=10)
    duties = contentions(made)
    best = optimum(made, duties)
    moved = {m.shard for m in best.moves}
    for shard in range(made.shards):
        if shard in moved:
            continue
        for host in range(made.hosts):
            moves = (*best.moves, Move(shard, int(made.host[shard]), host, -1))
            if host != made.host[shard] and sequence(made, moves)[0] and all(done(made, d, moves) for d in duties):
                found = touched(made, Outcome(moves=moves), duties)
                assert (found.verdict, found.count) == ("FEWER", best.count)
                return
    raise AssertionError("no idle move anywhere")


def test_the_best_plan_is_confirmed_and_a_left_duty_that_can_be_done_is_told() -> None:
    made = problem(0, hosts=6, shards=40, fill=0.6, hot=2, apps=10)
    duties = contentions(made)
    outcome = final(made, duties)
    found = touched(made, outcome, duties)
    assert found.verdict == "BEST" and found.bound == found.count
    idle = Outcome(moves=(), left=tuple(Left(duty=d, code="BUDGET") for d in duties))
    assert touched(made, idle, duties).verdict == "POSSIBLE"


def test_a_duty_that_cannot_be_done_does_not_hide_one_that_can() -> None:
    made = problem(0, hosts=6, shards=40, fill=0.6, hot=2, apps=10)
    duties = contentions(made)
    movable = made.movable.copy()
    movable[made.on(duties[0].host)] = False
    made = replace(made, movable=movable)
    idle = Outcome(moves=(), left=tuple(Left(duty=d, code="BUDGET") for d in duties))
    found = touched(made, idle, duties)
    assert found.verdict == "POSSIBLE" and done(made, duties[1], found.moves)
    only = (Duty(kind="contention", host=duties[0].host, columns=duties[0].columns),)
    none = touched(made, Outcome(moves=(), left=(Left(duty=only[0], code="IMMOVABLE"),)), only)
    assert none.verdict == "BEST"
