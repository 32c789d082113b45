"""The planner's model: trials that add up, and rules that are told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import contentions, problem

from sidestep.planning.model import Constraints, Move, Problem, State


def recomputed(made: Problem, at: np.ndarray) -> np.ndarray:
    """(H, D) demand at the quantile from the shards alone, with the common factor."""
    mean, var, dev = (np.zeros(made.median.shape) for _ in range(3))
    sd = made.sd.astype(np.float64)
    for into, part in ((mean, made.mean), (var, sd**2), (dev, sd)):
        np.add.at(into, at, part)
    return np.asarray(mean + made.z * np.sqrt((1 - made.rho) * var + made.rho * dev**2))


@given(seed=st.integers(0, 200), noise=st.sampled_from([0.0, 0.2]))
def test_a_trial_demands_what_the_shards_that_are_there_add_up_to(seed: int, noise: float) -> None:
    """S1.13, S2.7: whatever was pushed and taken back, the sums are those of the placement."""
    made = problem(seed, noise=noise)
    rng = np.random.default_rng(seed)
    state = State(made)
    for shard in rng.permutation(made.shards)[:12].tolist():
        to = int(rng.integers(made.hosts))
        if to != made.host[shard]:
            arriving = state.arrivals(shard, during=False)[to]
            state.push(Move(shard, int(made.host[shard]), to, 0))
            assert state.upper()[to] == pytest.approx(arriving)
    assert state.upper() == pytest.approx(recomputed(made, state.at), rel=1e-4, abs=1e-4)
    assert (state.upper(during=True) >= state.upper() - 1e-9).all()
    state.reset(0)
    assert (state.upper() == made.median + made.away).all()


@given(seed=st.integers(0, 100))
def test_what_sets_leave_behind_is_what_a_trial_finds(seed: int) -> None:
    """S1.13: covers are judged with the same arithmetic as the plan."""
    made = problem(seed, noise=0.3)
    for duty in contentions(made):
        rows = made.on(duty.host)
        state = State(made)
        pick = np.arange(len(rows)) % 2 == 0
        expected = state.without(duty.host, rows, pick[None])[0]
        to = (duty.host + 1) % made.hosts
        for row in rows[pick].tolist():
            state.push(Move(row, duty.host, to, duty.host))
        assert state.upper()[duty.host] == pytest.approx(expected)


@pytest.mark.parametrize(("duration", "hot"), [(1, True), (2, True), (3, False)])
def test_contention_lasts_for_the_duration(duration: int, hot: bool) -> None:
    """S3.14: a run of two steps is contention for a duration of up to two."""
    made = problem(0, hosts=1, shards=2, dimensions=1, steps=6, duration=duration, hot=0)
    curve = np.array([[0.5, 1.2, 1.2, 0.5, 1.2, 0.5]]) * made.limit
    assert made.held(curve, made.limit).tolist() == [hot]


def test_rules_are_told_and_a_broken_one_is_not_worsened() -> None:
    """S3.16, S3.17."""
    rules = Constraints.make(4, 5, groups=[(0, 1, [0, 1, 2])], pairs=[(3, 4)])
    at = np.array([0, 0, -1, 2, 2], dtype=np.int32)
    assert rules.blocked(at, 2).tolist() == [True, False, False, False]
    assert rules.blocked(at, 3).tolist() == [False, False, True, False]
    assert rules.broken(at) == [("group", 0, (0, 1)), ("avoid", -1, (3, 4))]
