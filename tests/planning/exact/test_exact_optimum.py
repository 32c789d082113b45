"""The exact solver against trying everything, on problems small enough for that."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import contentions, problem

from sidestep.planning.exact import Limits, Scope, optimum
from sidestep.planning.exact.check import done, sequence
from sidestep.planning.model import Constraints, Duty, Move, Problem, State


def tried(made: Problem, duties: tuple[Duty, ...]) -> int | None:
    """The fewest moves of all placements that do the duties and that some order leads to."""
    best: int | None = None
    for at in product(range(made.hosts), repeat=made.shards):
        moves = tuple(Move(s, int(made.host[s]), h, 0) for s, h in enumerate(at) if h != made.host[s])
        count = int(made.count[[m.shard for m in moves]].sum())
        if best is not None and count >= best:
            continue
        if not all(made.movable[m.shard] for m in moves) or not all(done(made, d, moves) for d in duties):
            continue
        if sequence(made, moves)[0] is not None:
            best = count
    return best


def small(seed: int, **how: object) -> Problem:
    return problem(seed, hosts=3, shards=6, dimensions=2, steps=2, hot=1, apps=2, **how)  # type: ignore[arg-type]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    fill=st.sampled_from([0.5, 0.6, 0.7, 0.8]),
    noise=st.sampled_from([0.0, 0.0, 0.2]),
    duration=st.sampled_from([1, 2]),
    pairs=st.sampled_from([0, 3]),
    pinned=st.sampled_from([0.0, 0.3]),
    zones=st.sampled_from([0, 2]),
)
def test_the_optimum_is_what_trying_everything_finds(
    seed: int, fill: float, noise: float, duration: int, pairs: int, pinned: float, zones: int
) -> None:
    """S1.13, S3.15: fewest moves, or the proof that none do; rules, rooms and an order included."""
    made = small(seed, fill=fill, noise=noise, duration=duration, pairs=pairs, pinned=pinned, zones=zones)
    made = replace(made, count=np.random.default_rng(seed).integers(1, 3, made.shards).astype(np.int32))
    duties = contentions(made)
    found, best = optimum(made, duties), tried(made, duties)
    if found.capped:
        assert best is None or found.bound <= best
    elif best is None:
        assert found.status == "INFEASIBLE" and not found.moves
    else:
        assert (found.status, found.count, found.bound) == ("OPTIMAL", best, best)
    assert all(done(made, duty, found.moves) for duty in duties) or not found.moves


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), fill=st.sampled_from([0.5, 0.7]))
def test_other_duties_are_done_with_the_fewest_moves_too(seed: int, fill: float) -> None:
    """S3.16, S3.17: a host is emptied, a broken pair parted, and nothing else breaks."""
    made = small(seed, fill=fill)
    rules = made.constraints
    one, two = np.flatnonzero(made.host == made.host[0])[[0, -1]].tolist()
    made = replace(made, constraints=replace(rules, avoids=Constraints.make(3, 6, pairs=[(one, two)]).avoids))
    drained = int(made.host[1])
    accepts = made.accepts.copy()
    accepts[drained] = False
    made = replace(made, accepts=accepts)
    duties = (
        Duty(kind="drain", host=drained, shards=tuple(made.on(drained).tolist())),
        *((Duty(kind="rule", host=int(made.host[one]), shards=(one, two)),) if one != two else ()),
    )
    found, best = optimum(made, duties), tried(made, duties)
    if not found.capped:
        assert (found.count if found.moves else None) == best
        assert found.status == ("INFEASIBLE" if best is None else "OPTIMAL")


def test_of_equally_few_moves_the_lightest_are_chosen() -> None:
    """S3.15: bytes decide between plans of as many moves."""
    made = problem(1, hosts=6, shards=40, fill=0.5, hot=1, apps=10)
    duties = contentions(made)
    found = optimum(made, duties)
    assert found.status == "OPTIMAL" and found.lightest
    for shard in made.on(duties[0].host).tolist():
        if made.bytes[shard] < found.bytes and found.count == 1:
            state = State(made)
            for host in np.flatnonzero(state.spare(shard) >= 0).tolist():
                assert not done(made, duties[0], (Move(shard, duties[0].host, host, 0),))


def test_a_gain_that_is_asked_for_is_reached() -> None:
    """Lesson 6: a peak must fall by the least gain, not just below the limit."""
    made = problem(1, hosts=6, shards=40, fill=0.5, hot=1, apps=10)
    plain = contentions(made)
    asked = tuple(replace(d, gain=0.3) for d in plain)
    found = optimum(made, asked)
    before, after = State(made).upper(), State(made, found.moves).upper()
    assert found.status == "OPTIMAL" and found.count >= optimum(made, plain).count
    for duty in asked:
        for first in range(0, made.timed, made.steps):
            span = slice(first, first + made.steps)
            if any(first <= c < first + made.steps for c in duty.columns):
                fall = before[duty.host, span].max() - after[duty.host, span].max()
                assert fall >= 0.3 * made.capacity[duty.host, first] - 1e-9


def test_fewer_than_a_known_plan_is_found_or_refuted() -> None:
    made = problem(0, hosts=6, shards=40, fill=0.6, hot=2, apps=10)
    duties = contentions(made)
    best = optimum(made, duties)
    assert optimum(made, duties, known=best.count + 2).count == best.count
    refuted = optimum(made, duties, known=best.count)
    assert (refuted.status, refuted.bound, refuted.moves) == ("INFEASIBLE", best.count, ())


def test_a_duty_that_no_move_could_do_is_named() -> None:
    made = problem(0, hosts=6, shards=40, fill=0.6, hot=2, apps=10)
    duties = contentions(made)
    stuck = replace(made, movable=np.zeros(made.shards, dtype=np.bool_))
    found = optimum(stuck, duties)
    assert (found.status, found.hopeless) == ("INFEASIBLE", duties[0])


def test_room_for_all_at_once_needs_no_more_room_than_there_is_now() -> None:
    """S2.7: while all moves run, shards count at both ends."""
    made = problem(0, hosts=6, shards=40, fill=0.6, hot=2, apps=10)
    duties = contentions(made)
    found = optimum(made, duties, scope=Scope(together=True))
    state = State(made, found.moves)
    came = sorted({m.destination for m in found.moves})
    assert found.status == "OPTIMAL" and found.count >= optimum(made, duties).count
    assert (state.upper(np.array(came), during=True) <= made.room[came] * (1 + 1e-6)).all()


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_same_question_has_the_same_answer_and_a_cap_is_said(noise: float) -> None:
    made = problem(1, hosts=8, shards=60, fill=0.75, noise=noise, hot=2, apps=15)
    duties = contentions(made)
    limits = Limits(nodes=1, rounds=2)
    first = optimum(made, duties, limits=limits)
    assert first == optimum(made, duties, limits=limits)
    assert first.status in {"OPTIMAL", "INFEASIBLE"} or first.capped
