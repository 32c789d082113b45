"""What is true of every relief plan, whatever the fleet."""

from __future__ import annotations

import sys
from itertools import combinations, product
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent))  # problems.py is shared by all tests of the planner's cores
sys.path.insert(0, str(Path(__file__).parent))

from problems import contentions, problem
from replay import flaws, undone

from sidestep.planning.model import Budget, Duty, Move, Problem
from sidestep.planning.relief import final, relieve

BUDGET = Budget(iterations=4000, seed=1)
fleets = st.fixed_dictionaries({
    "seed": st.integers(0, 10_000),
    "hosts": st.integers(3, 9),
    "shards": st.integers(10, 60),
    "noise": st.sampled_from([0.0, 0.0, 0.2]),
    "duration": st.sampled_from([1, 1, 2]),
    "fill": st.sampled_from([0.5, 0.7, 0.85]),
    "hot": st.integers(0, 4),
    "zones": st.sampled_from([0, 3]),
    "pairs": st.sampled_from([0, 8]),
    "pinned": st.sampled_from([0.0, 0.3]),
})  # fmt: skip


def drained(made: Problem, host: int, level: int = 0) -> Duty:
    return Duty(kind="drain", host=host, shards=tuple(made.on(host).tolist()), level=level)


#: making room for one shard moves another that was just to be moved itself
TWICE = {
    "seed": 1121, "hosts": 5, "shards": 46, "noise": 0.2, "duration": 2, "fill": 0.85, "hot": 0, "zones": 0,
    "pairs": 0, "pinned": 0.0,
}  # fmt: skip
#: doing another duty takes more moves, but that one is sooner
SOONER = {**TWICE, "shards": 45, "hot": 1}


@settings(max_examples=30, deadline=None)
@given(fleet=fleets, drain=st.booleans())
@example(fleet=TWICE, drain=False)
@example(fleet=SOONER, drain=False)
def test_every_prefix_of_every_plan_is_feasible_and_no_worse_than_the_start(fleet: dict[str, int], drain: bool) -> None:
    """S1.9, S1.12, S3.16: double occupancy, rules and rooms are replayed from the shards alone."""
    made = problem(**fleet)  # type: ignore[arg-type]
    duties = contentions(made)
    if drain:
        host = fleet["seed"] % made.hosts
        duties = (drained(made, host), *(Duty(**{**vars(d), "level": 1}) for d in duties if d.host != host))
    best = None
    for outcome in relieve(made, duties, budget=BUDGET):
        assert flaws(made, outcome.moves) == []
        left = undone(made, duties, outcome.moves)
        assert {d.host for d in left} == {one.duty.host for one in outcome.left}
        moves = int(made.count[[m.shard for m in outcome.moves]].sum())
        levels = [[duty in left for duty in duties if duty.level == level] for level in (0, 1)]
        rating = ([(sum(wrong), wrong) for wrong in levels], moves)
        assert best is None or rating <= best
        best = rating
        assert outcome.bound <= moves


@settings(max_examples=8, deadline=None)
@given(fleet=fleets)
def test_the_same_problem_and_seed_give_the_same_plan(fleet: dict[str, int]) -> None:
    """S3.17: a plan can be made again bit for bit."""
    made, again = problem(**fleet), problem(**fleet)  # type: ignore[arg-type]
    assert final(made, contentions(made), budget=BUDGET) == final(again, contentions(again), budget=BUDGET)


def exhaustive(made: Problem, duties: tuple[Duty, ...], most: int) -> int | None:
    """The fewest moves that do all duties in some order, by looking at every set of up to ``most`` moves."""
    for size in range(most + 1):
        for shards in combinations(range(made.shards), size):
            for hosts in product(range(made.hosts), repeat=size):
                moves = [Move(s, int(made.host[s]), h, 0) for s, h in zip(shards, hosts, strict=True)]
                if any(m.source == m.destination for m in moves) or undone(made, duties, moves):
                    continue
                if orderable(made, moves):
                    return size
    return None


def orderable(made: Problem, moves: list[Move]) -> bool:
    done: list[Move] = []
    rest = list(moves)
    while rest:
        ready = next((m for m in rest if not flaws(made, [*done, m])), None)
        if ready is None:
            return False
        done.append(ready)
        rest.remove(ready)
    return True


@pytest.mark.parametrize("seed", range(8))
def test_tiny_fleets_need_as_few_moves_as_looking_at_every_plan_finds(seed: int) -> None:
    """S1.10, S3.15: and what is proven is true."""
    made = problem(seed, hosts=3, shards=9, hot=1, fill=0.6, apps=3, noise=0.2 * (seed % 2), steps=2)
    duties = contentions(made)
    best = exhaustive(made, duties, 3)
    outcome = final(made, duties, budget=BUDGET)
    if not outcome.left:
        assert outcome.bound <= len(outcome.moves)
        assert best is None or best == len(outcome.moves)
        if best is not None:
            assert outcome.bound <= best
    elif best is not None:
        pytest.fail(f"{best} moves would do")
