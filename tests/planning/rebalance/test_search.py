"""The search as a whole: feasible, honest about its cost, the same every time, and no worse than it began."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from made import compile_once, made

from sidestep.planning.rebalance import Reassignment, Settings, bound_of, broken_by, cost_of, rebalance

BUDGET = 400_000


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_an_answer_is_feasible_priced_rightly_and_never_worse(seed: int, compiled: bool) -> None:
    """S1.9, S3.12: every constraint holds, moves at once included; the cost is that of a full count."""
    if compiled:
        compile_once()
    problem = made(seed)
    found = rebalance(problem, Settings(BUDGET, seed, compiled))
    assert found.broken == broken_by(problem, found.host) == {}
    assert found.cost == cost_of(problem, found.host)
    assert found.bound <= found.cost.total <= cost_of(problem, problem.home).total


def test_the_same_seed_and_budget_give_the_same_bytes_and_another_seed_may_not() -> None:
    problem = made(7, hosts=12, shards=90)
    first, again, other = (rebalance(problem, Settings(BUDGET, seed)) for seed in (1, 1, 2))
    assert first.host.tobytes() == again.host.tobytes()
    assert first.proposals == again.proposals
    assert not broken_by(problem, other.host)


def test_a_search_that_a_clock_ended_is_played_back_from_its_readings() -> None:
    problem = made(8, hosts=12, shards=90)
    calls = 0

    def clock() -> float:
        nonlocal calls
        calls += 1
        return calls * calls / 2000

    ended = rebalance(problem, Settings(10**9, 3), clock=clock)
    again = rebalance(problem, Settings(10**9, 3), readings=ended.readings)
    assert ended.host.tobytes() == again.host.tobytes()
    assert again.proposals == ended.proposals


def test_most_tiny_problems_are_solved_to_the_optimum_of_brute_force_and_none_is_far_off() -> None:
    gaps = []
    for seed in range(8):
        problem = made(seed, hosts=3, shards=7, apps=5, domains=2, needs=2)
        every = sorted((cost_of(problem, np.array(each)).total, each) for each in product(range(3), repeat=7))
        best = next(cost for cost, each in every if not broken_by(problem, np.array(each)))
        found = rebalance(problem, Settings(BUDGET, 1)).cost.total
        assert bound_of(problem) <= best <= found
        gaps.append(found / max(1, best) - 1)
    assert sum(gap == 0 for gap in gaps) >= 6
    assert max(gaps) <= 0.15


def test_a_broken_start_is_repaired_first_and_nothing_is_broken_anew() -> None:
    """Constraints that are broken are repaired first, and never worsened."""
    whole = made(3)
    host = np.array(whole.home)
    app = whole.app
    rows = next(np.flatnonzero(app == each) for each in range(whole.apps) if (app == each).sum() >= 3)
    crowded = {**vars(whole), "spread": np.where(np.arange(whole.apps) == app[rows[0]], 0, whole.spread)}
    problem = Reassignment(**crowded)
    assert not broken_by(problem, host)
    wanted = {**vars(whole), "spread": np.minimum(whole.spread + 1, np.bincount(app, minlength=whole.apps))}
    problem = Reassignment(**wanted)
    before = broken_by(problem, problem.home)
    found = rebalance(problem, Settings(BUDGET, 1))
    assert set(found.broken) <= set(before)
    assert all(count <= before[name] for name, count in found.broken.items())
