"""The ladder: what else than moves is done, in which order, and what it never does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import contentions, problem

from sidestep.planning.exact.changes import cordoned, merge, placed, resized, split, widened
from sidestep.planning.exact.check import done
from sidestep.planning.ladder import Allowed, Climbed, climb, merges
from sidestep.planning.ladder.climb import _with_parts
from sidestep.planning.model import Budget, Duty, Outcome, Problem, State
from sidestep.planning.relief import final


def relieve(made: Problem, duties: tuple[Duty, ...], budget: Budget) -> Outcome:
    return final(made, duties, budget=replace(budget, iterations=1000))


def demands(made: Problem) -> np.ndarray:  # type: ignore[type-arg]
    return made.median + made.away


def full(seed: int, **how: object) -> Problem:
    """A fleet in which moves alone often do not do."""
    return problem(seed, hosts=6, shards=30, **{"fill": 0.85, "hot": 2, **how})  # type: ignore[arg-type]


def rungs(made: Problem, rng: np.random.Generator) -> Allowed:
    peak = made.mean.reshape(made.shards, made.dimensions, made.steps).max(axis=2).astype(np.float64)
    return Allowed(
        limits=np.ceil(peak * 1.2 / 0.1) * 0.1,
        least=peak * 0.6,
        quanta=np.full(made.dimensions, 0.1),
        splits=rng.random(made.shards) < 0.5,
        max_splits=3,
        standby=(made.hosts - 1,),
        guaranteed=rng.random(made.shards) < 0.3,
        max_preempted=2,
    )


def check(made: Problem, duties: tuple[Duty, ...], allowed: Allowed, found: Climbed) -> None:
    """What holds of every climb."""
    after, moves = found.problem, found.outcome.moves
    state = State(after)
    for move in moves:
        assert after.movable[move.shard] and state.open(move.shard)[move.destination]
        assert state.spare(move.shard, np.array([move.destination]), during=False)[0] >= -1e-9
        state.push(move)
    undone = {left.duty.host for left in found.outcome.left}
    splits = [r for r in found.remedies if r.kind == "split"]
    for duty in duties:
        assert done(after, _with_parts(duty, splits), moves) or duty.host in undone
    victims = [r for r in found.remedies if r.kind == "preempt"]
    assert len(victims) <= allowed.max_preempted
    for remedy in found.remedies:
        shard = remedy.shard
        if remedy.kind == "preempt":
            assert made.priority[shard] > made.priority[remedy.sake]
            assert allowed.guaranteed is None or not allowed.guaranteed[shard]
            assert after.host[shard] == -1 and not any(m.shard == shard for m in moves)
        elif remedy.kind == "resize":
            assert allowed.limits is not None and allowed.least is not None and allowed.quanta is not None
            amounts = np.array(remedy.amounts)
            assert (amounts >= np.minimum(allowed.least[shard], allowed.limits[shard]) - 1e-9).all()
            assert (amounts <= allowed.limits[shard] + 1e-9).all()
            lower = amounts < allowed.limits[shard] - 1e-9
            assert np.allclose(amounts[lower] / allowed.quanta[lower], np.round(amounts[lower] / allowed.quanta[lower]))
        elif remedy.kind == "activate":
            assert remedy.host in allowed.standby and any(m.destination == remedy.host for m in moves)
        elif remedy.kind == "split":
            assert allowed.splits is not None and allowed.splits[shard]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), fill=st.sampled_from([0.7, 0.85, 0.95]), noise=st.sampled_from([0.0, 0.2]))
def test_the_ladder_breaks_no_guarantee_and_leaves_no_more_undone_than_moves(
    seed: int, fill: float, noise: float
) -> None:
    """S4.16, S5.19, S3.24: rules, rooms, guarantees, quanta, strictly lower priority, and a budget of victims."""
    made = cordoned(full(seed, fill=fill, noise=noise), [5])
    made = replace(made, movable=made.movable & (made.host != 5))
    duties, allowed = contentions(made), rungs(made, np.random.default_rng(seed))
    found = climb(made, duties, allowed, relieve)
    check(made, duties, allowed, found)
    assert found.left <= len(relieve(made, duties, Budget()).left)


def test_the_same_question_has_the_same_ladder() -> None:
    made = full(3)
    first, again = (climb(made, contentions(made), rungs(made, np.random.default_rng(3)), relieve) for _ in range(2))
    assert (first.remedies, first.outcome, first.log) == (again.remedies, again.outcome, again.log)


def test_nothing_is_done_that_moves_alone_do() -> None:
    """S1.30: no split, no activation, no victim where there is room."""
    made = problem(0, hosts=6, shards=40, fill=0.6, hot=2, apps=10)
    duties, allowed = contentions(made), replace(rungs(made, np.random.default_rng(0)), limits=None)
    found = climb(made, duties, allowed, relieve)
    assert found.remedies == () and found.left == 0 and found.outcome.moves


def giant(fits: float = 0.3) -> Problem:
    """Three hosts of 1.0; on the first a shard of 1.2 beside one of 0.1; the others are empty but for ``1 - fits``."""
    made = problem(0, hosts=3, shards=4, dimensions=1, steps=1, hot=0, apps=0)
    mean = np.array([[1.2], [0.1], [1 - fits], [1 - fits]], dtype=np.float32)
    median = np.array([[1.3], [1 - fits], [1 - fits]])
    edge = np.ones((3, 1))
    return replace(
        made, mean=mean, median=median, host=np.array([0, 0, 1, 2], dtype=np.int32), limit=edge, room=edge,
        capacity=edge, away=np.zeros((3, 1)), variance=np.zeros((3, 1)), deviation=np.zeros((3, 1)),
        sd=np.zeros((4, 1), dtype=np.float32), priority=np.array([1, 5, 3, 3], dtype=np.int32),
    )  # fmt: skip


def test_what_fits_nowhere_is_split_and_the_parts_go() -> None:
    """S1.20, S1.29: the split comes first, then the moves of its parts."""
    made = giant(fits=0.65)
    duties = contentions(made)
    found = climb(made, duties, Allowed(splits=np.ones(4, dtype=np.bool_)), relieve)
    (remedy,) = found.remedies
    assert (remedy.kind, remedy.shard, remedy.parts, found.left) == ("split", 0, (0, 4), 0)
    assert {m.shard for m in found.outcome.moves} & {0, 4}
    nothing = climb(made, duties, Allowed(splits=np.zeros(4, dtype=np.bool_)), relieve)
    assert nothing.left == 1 and not nothing.remedies


def test_the_cheapest_standby_host_that_helps_is_opened() -> None:
    """S3.15: two standby hosts of one size; the dearer one stays closed."""
    made = widened(giant(fits=0.05), [0, 0])
    made = replace(made, cost=np.array([1, 1, 1, 9, 2.0]), mean=made.mean.copy(), median=made.median.copy())
    mean, median = made.mean.copy(), made.median.copy()
    mean[0], median[0] = 0.95, 1.05
    made = cordoned(replace(made, mean=mean, median=median), [3, 4])
    found = climb(made, contentions(made), Allowed(standby=(3, 4)), relieve)
    assert [(r.kind, r.host) for r in found.remedies] == [("activate", 4)] and found.left == 0


def test_the_least_important_makes_room_for_a_lost_shard_and_what_is_guaranteed_does_not() -> None:
    """S5.19: a shard of a dead host; one victim of strictly lower priority; without one it queues (S5.18)."""
    made = replace(giant(fits=0.05), priority=np.array([2, 2, 3, 4], dtype=np.int32))
    mean, median = made.mean.copy(), made.median.copy()
    mean[0], mean[1], median[0] = 0.9, 0.01, 0.91
    made = cordoned(replace(made, mean=mean, median=median), [0])
    duties = (Duty(kind="failover", host=0, shards=(0, 1)),)
    found = climb(made, duties, Allowed(max_preempted=1), relieve)
    assert [(r.kind, r.shard, r.sake) for r in found.remedies] == [("preempt", 3, 0)] and found.left == 0
    for allowed in (
        Allowed(max_preempted=0),
        Allowed(max_preempted=9, guaranteed=np.array([False, False, True, True])),
    ):
        kept = climb(made, duties, allowed, relieve)
        assert [r.kind for r in kept.remedies] == ["queue"] and kept.left == 1
    equal = replace(made, priority=np.full(4, 2, dtype=np.int32))
    assert [r.kind for r in climb(equal, duties, Allowed(max_preempted=9), relieve).remedies] == ["queue"]


def test_limits_are_lowered_before_anything_moves() -> None:
    """S3.24, S3.12: in whole quanta, no more than needed, and only of what matters less."""
    made = giant(fits=0.05)
    mean = made.mean.copy()
    mean[0], mean[1] = 0.7, 0.6
    made = replace(made, mean=mean)
    limits = np.array([[0.8], [0.8], [1.0], [1.0]])
    allowed = Allowed(limits=limits, least=np.full((4, 1), 0.1), quanta=np.array([0.1]))
    found = climb(made, contentions(made), allowed, relieve)
    (remedy,) = found.remedies
    assert (remedy.kind, remedy.shard, found.outcome.moves) == ("resize", 1, ())
    assert remedy.amounts[0] == pytest.approx(0.3) and demands(found.problem)[0, 0] <= 1.0 + 1e-6


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), noise=st.sampled_from([0.0, 0.3]), parts=st.integers(2, 4))
def test_a_split_conserves_demand_and_a_merge_takes_it_back(seed: int, noise: float, parts: int) -> None:
    """S1.20, S1.21, S3.12."""
    made = full(seed, noise=noise)
    shard = seed % made.shards
    parted = split(made, shard, [1.0 / parts] * parts)
    rows = [shard, *range(made.shards, parted.shards)]
    assert demands(parted) == pytest.approx(demands(made))
    assert parted.mean[rows].sum(axis=0) == pytest.approx(made.mean[shard], rel=1e-5)
    assert parted.bytes[rows].sum() == pytest.approx(made.bytes[shard])
    for group in made.constraints.groups_of(shard).tolist():
        assert set(rows) <= set(parted.constraints.members_of(group).tolist())
    whole = parted
    for row in rows[1:]:
        whole = merge(whole, shard, row)
    assert whole.mean[shard] == pytest.approx(made.mean[shard], rel=1e-5)
    assert whole.variance == pytest.approx(made.variance, rel=1e-4, abs=1e-6)
    assert whole.deviation == pytest.approx(made.deviation, rel=1e-4, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), noise=st.sampled_from([0.0, 0.3]))
def test_a_new_start_demands_what_the_trial_did_and_who_is_off_demands_nothing(seed: int, noise: float) -> None:
    made = full(seed, noise=noise)
    moves = [(s, (int(made.host[s]) + 1) % made.hosts) for s in range(0, made.shards, 5)]
    after = placed(made, moves)
    own = np.zeros((3, *made.median.shape))
    sd = after.sd.astype(np.float64)
    for into, part in zip(own, (after.mean, sd**2, sd), strict=True):
        np.add.at(into, after.host, part)
    scale = made.z * np.sqrt((1 - made.rho) * own[1] + made.rho * own[2] ** 2)
    assert demands(after) == pytest.approx(own[0] + scale, rel=1e-3, abs=1e-3)
    off = placed(made, (), off=made.on(0).tolist())
    assert demands(off)[0] == pytest.approx(0.0, abs=1e-4) and not off.movable[made.on(0)].any()
    assert demands(resized(made, 0, np.ones(made.limit.shape[1]))) == pytest.approx(demands(made))


def test_only_cold_neighbours_are_merged_and_never_to_what_would_be_split_again() -> None:
    """S1.21."""
    made = problem(0, hosts=2, shards=6, dimensions=1, steps=1, hot=0, apps=0)
    made = replace(made, host=np.array([0, 0, 0, 0, 1, 1], dtype=np.int32), mean=np.full((6, 1), 1.0, np.float32))
    cold = np.array([True, True, True, False, True, True])
    after, found = merges(made, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)], cold, np.array([4.0]))
    assert [(r.shard, r.parts) for r in found] == [(0, (0, 1)), (4, (4, 5))]
    assert after.mean[[0, 1, 4, 5], 0].tolist() == [2.0, 0.0, 2.0, 0.0] and after.host[1] == -1
    assert merges(made, [(0, 1)], cold, np.array([3.9]))[1] == ()
