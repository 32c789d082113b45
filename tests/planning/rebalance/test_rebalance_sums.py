"""The incremental sums: after any moves they are what a full count gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import made

from sidestep.fleet.errors import UsageError
from sidestep.planning.rebalance import Reassignment, broken_by, cost_of
from sidestep.planning.rebalance.anneal import WALL, chances, ends_of, favoured, gumbels, rounded
from sidestep.planning.rebalance.greedy import descend
from sidestep.planning.rebalance.kernels import KINDS
from sidestep.planning.rebalance.ledger import NEVER, allowed, move, rises, saved
from sidestep.planning.rebalance.state import EXCESS, SHORT, TOTAL, UNMET, State, begin
from sidestep.planning.rebalance.walk import walk

#: what depends on the order of moves, not on where the shards are
ORDERED = {"slot", "rows"}


def counted(problem: Reassignment, state: State) -> None:
    """The state's sums are those of a fresh count of its assignment."""
    fresh = begin(problem, state.host.astype(np.int64))
    for name in State._fields:
        if name not in ORDERED:
            np.testing.assert_array_equal(getattr(state, name), getattr(fresh, name), err_msg=name)
    for host, filled in enumerate(state.filled):
        row = state.rows[host, :filled]
        assert (state.host[row] == host).all()
        assert (state.slot[row] == np.arange(filled)).all()
    assert state.sums[TOTAL] == cost_of(problem, state.host.astype(np.int64)).total


def walked(problem: Reassignment, seed: int, temperature: float, penalty: int, crush: int, kind: int | None) -> State:
    state = begin(problem, np.array(problem.home))
    shares = tuple(1 if kind in (None, at) else 0 for at in range(KINDS))
    tally, scratch = np.zeros((KINDS, 2), np.int64), np.zeros((3, 16), np.int64)
    random = np.array([seed + 1], np.uint64)
    hot = favoured(state.cost, seed % 256)
    field = np.zeros((2, problem.hosts), np.int64)
    ends, noise = ends_of(shares), gumbels()
    walk(state, random, 3000, temperature, penalty, crush, ends, hot, 512, chances(), noise, tally, scratch, field)
    return state


@given(
    seed=st.integers(0, 10**6),
    temperature=st.sampled_from([0.0, 50.0, 1e4]),
    kind=st.sampled_from([None, *range(KINDS)]),
)
@settings(max_examples=60, deadline=None)
def test_a_walk_keeps_its_sums_and_every_constraint(seed: int, temperature: float, kind: int | None) -> None:
    """S3.12: the sum of accepted differences is the difference of full counts, for each kind of move."""
    problem = made(seed % 50)
    state = walked(problem, seed, temperature, WALL, 0, kind)
    counted(problem, state)
    assert not broken_by(problem, state.host.astype(np.int64))


@given(seed=st.integers(0, 10**6), penalty=st.sampled_from([0, 30, 10**6]), crush=st.sampled_from([1, 40]))
@settings(max_examples=30, deadline=None)
def test_soft_constraints_are_counted_as_they_break(seed: int, penalty: int, crush: int) -> None:
    problem = made(seed % 50)
    state = walked(problem, seed, 500.0, penalty, crush, None)
    counted(problem, state)
    broken = broken_by(problem, state.host.astype(np.int64))
    assert "conflict" not in broken
    for place, name in ((SHORT, "spread"), (UNMET, "needs"), (EXCESS, "capacity")):
        assert (state.sums[place] > 0) == (name in broken)


@pytest.mark.parametrize("seed", range(4))
def test_downhill_nothing_ever_gets_dearer(seed: int) -> None:
    problem = made(seed)
    assert walked(problem, seed, 0.0, WALL, 0, None).sums[TOTAL] <= cost_of(problem, problem.home).total


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_the_numpy_ledger_prices_and_books_as_a_full_count_does(seed: int) -> None:
    problem = made(seed % 50)
    state = begin(problem, np.array(problem.home))
    random = np.random.default_rng(seed)
    for _ in range(25):
        shard, to = int(random.integers(problem.shards)), int(random.integers(problem.hosts))
        at = int(state.host[shard])
        if at == to:
            continue
        rows = np.array([shard], np.int32)
        rise = int(rises(state, at, rows)[0, to])
        host = state.host.astype(np.int64)
        host[shard] = to
        broken = broken_by(problem, host)
        assert (rise < NEVER and allowed(state, shard, to)) == (not broken)
        if not broken:
            before, after = cost_of(problem, state.host.astype(np.int64)), cost_of(problem, host)
            difference = after.total - after.app_moves - before.total + before.app_moves
            assert rise - int(saved(state, at, rows)[0]) == difference
            move(state, shard, to)
    counted(problem, state)


@pytest.mark.parametrize("seed", range(5))
def test_the_greedy_lowers_the_cost_and_breaks_nothing(seed: int) -> None:
    problem = made(seed, hosts=12, shards=80)
    state = begin(problem, np.array(problem.home))
    assert descend(state, 1000, lambda: False) > 0
    counted(problem, state)
    assert state.sums[TOTAL] < cost_of(problem, problem.home).total
    assert not broken_by(problem, state.host.astype(np.int64))


def test_temperatures_and_chances_are_the_same_in_any_mathematics_library() -> None:
    assert rounded(0.1) == rounded(0.1 + 1e-12)
    assert rounded(0.0) == 0.0
    assert all(value == rounded(value) for value in chances()[:50].tolist())


def test_a_problem_that_makes_no_sense_is_refused_with_its_reason() -> None:
    whole = vars(made(1))
    for name, value, said in (
        ("home", np.full_like(whole["home"], 99), "home holds 99"),
        ("demand", -whole["demand"], "negative"),
        ("app", whole["app"][:-1], "shape"),
        ("weight", np.full_like(whole["weight"], 2**60), "exact"),
        ("balances", np.array([[0, 9, 1]]), "dimension"),
    ):
        with pytest.raises(UsageError, match=said):
            Reassignment(**{**whole, name: value})
