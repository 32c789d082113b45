"""The document's decisions about one shard, one host, one loss: by table where there is one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import problem

from sidestep.planning.exact.changes import cordoned, widened
from sidestep.planning.ladder import (
    Breach,
    best_hosts,
    better_quanta,
    deactivate,
    decide,
    failover,
    preflight,
    right_sizes,
    survives,
    with_work,
)
from sidestep.planning.model import Budget, Constraints, Duty, Move, Outcome, Problem, State
from sidestep.planning.relief import final


def relieve(made: Problem, duties: tuple[Duty, ...], budget: Budget) -> Outcome:
    return final(made, duties, budget=replace(budget, iterations=1000))


def hosts(held: list[list[float]], limit: float = 1.0) -> Problem:
    """Hosts of one dimension and one step that hold shards of these sizes."""
    made = problem(0, hosts=len(held), shards=max(1, sum(map(len, held))), dimensions=1, steps=1, hot=0, apps=0)
    at = np.repeat(np.arange(len(held)), [len(h) for h in held]).astype(np.int32)
    edge = np.full((len(held), 1), limit)
    return replace(
        made, host=at, mean=np.array([[x] for h in held for x in h], dtype=np.float32).reshape(-1, 1),
        sd=np.zeros((len(at), 1), dtype=np.float32), median=np.array([[sum(h)] for h in held]),
        limit=edge, room=edge, capacity=edge, cost=np.arange(1.0, len(held) + 1),
        priority=np.full(len(at), 3, dtype=np.int32), bytes=np.ones(len(at)), count=np.ones(len(at), dtype=np.int32),
        movable=np.ones(len(at), dtype=np.bool_), constraints=Constraints.make(len(held), len(at)),
    )  # fmt: skip


RULE = Breach(cpu=0.8, latency=100.0, least=3, windows=5)


@pytest.mark.parametrize(
    ("cpu", "latency", "over"),
    [(0.9, 50.0, True), (0.5, 150.0, True), (0.9, 150.0, True), (0.5, 50.0, False)],
    ids=["cpu", "latency", "both", "neither"],
)
def test_cpu_or_latency_over_its_own_threshold_is_a_breach(cpu: float, latency: float, over: bool) -> None:
    """S1.27: the four combinations of two thresholds."""
    assert RULE.over(np.full((1, 5), cpu), np.full((1, 5), latency)).tolist() == [over]


@pytest.mark.parametrize(
    ("cpu", "latency", "over"),
    [
        ([0.1, 0.1, 9.0, 0.1, 0.1], [1] * 5, False),
        ([0.9, 0.1, 0.9, 0.1, 0.9], [1] * 5, True),
        ([0.9, 0.9, 0.1, 0.1, 0.1], [1, 1, 200, 200, 1], False),
        ([np.nan, 0.9, 0.9, np.nan, np.nan], [np.nan] * 5, False),
        ([0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1], [1] * 7, False),
    ],
    ids=["a single spike", "3 of 5", "2 of cpu and 2 of latency", "unknown windows", "long ago"],
)
def test_only_what_is_consistently_over_is_acted_on(cpu: list[float], latency: list[float], over: bool) -> None:
    """S1.18: m of the last n windows, over one threshold."""
    assert RULE.over(np.array([cpu]), np.array([latency])).tolist() == [over]


def test_a_shard_that_is_not_over_is_only_watched() -> None:
    """S1.30: no action."""
    found = decide(hosts([[0.9, 0.3], [0.1]]), 0, over=False)
    assert (found.code, found.remedies, found.moves) == ("MONITOR", (), ())


def test_a_better_host_comes_before_a_split() -> None:
    """S1.28: the best node, if it is another one and better."""
    found = decide(hosts([[0.7, 0.5], [0.2], [0.1]]), 0, over=True)
    assert (found.code, found.moves, found.remedies) == ("MIGRATE", (Move(0, 0, 2, 0),), ())


def test_the_best_host_may_be_its_own() -> None:
    """S1.28: equal means no move."""
    found = decide(hosts([[0.5], [0.6], [0.7]]), 0, over=True)
    assert (found.code, found.moves) == ("MONITOR", ())


def test_without_a_better_host_it_is_split_and_each_part_is_placed_by_the_scorer() -> None:
    """S1.29: split first, then the moves of the parts; the first part stays."""
    found = decide(hosts([[1.2], [0.7], [0.3]]), 0, over=True)
    assert found.code == "SPLIT" and [r.kind for r in found.remedies] == ["split"]
    assert found.remedies[0].parts == (0, 3) and found.moves == (Move(3, 0, 2, 0),)


def test_parts_go_to_different_hosts_where_those_have_room() -> None:
    """S1.29."""
    found = decide(hosts([[1.2], [0.55], [0.5]]), 0, over=True, parts=3)
    assert found.code == "SPLIT" and [m.shard for m in found.moves] == [3, 4]
    assert (State(found.problem, found.moves).upper() <= 1 + 1e-6).all()


def test_what_fits_nowhere_even_in_parts_is_said() -> None:
    assert decide(hosts([[1.2], [0.9], [0.9]]), 0, over=True).code == "NO_HOST"
    assert decide(hosts([[1.2], [0.1]]), 0, over=True, splittable=False).code == "NO_HOST"


@pytest.mark.parametrize(("dead", "fleet", "braked"), [(1, 4, False), (2, 4, True), (10, 40, False), (11, 40, True)])
def test_healing_stops_when_too_many_are_dead(dead: int, fleet: int, braked: bool) -> None:
    """Lesson 10: more than ten hosts, or 40 % of them."""
    found = failover(hosts([[0.1]] * fleet), range(dead))
    assert (found.code == "BRAKE") == braked and bool(found.duties) != braked
    assert not found.remedies or not braked


def test_lost_shards_start_again_the_most_important_first_and_a_poisoned_one_does_not() -> None:
    """Lesson 11."""
    made = replace(hosts([[0.2, 0.3, 0.1], [0.1], [0.1], [0.1]]), gives=np.array([False, True, True, True]))
    made = replace(made, priority=np.array([3, 1, 2, 3, 3, 3], dtype=np.int32))
    found = failover(made, [0], poisoned=[2])
    assert [r.shard for r in found.remedies] == [1, 0] and found.duties[0].shards == (1, 0)
    moves = relieve(found.problem, found.duties, Budget()).moves
    assert {m.shard for m in moves} == {0, 1} and all(m.destination != 0 for m in moves)


def test_a_loss_that_the_others_hold_is_survived_and_one_that_they_do_not_is_named() -> None:
    held = hosts([[0.5], [0.4], [0.3]])
    assert survives(held, State(held)).survives
    tight = hosts([[0.9], [0.8], [0.8]])
    found = survives(tight, State(tight))
    assert not found.survives and found.missing[0] == pytest.approx(0.5)
    giant = hosts([[0.9], [0.4], [0.4]])
    found = survives(giant, State(giant))
    assert (found.domain, found.shard) == (0, 0) and found.missing[0] == 0


def test_a_lost_zone_is_more_than_a_lost_host() -> None:
    made = hosts([[0.6], [0.5], [0.2], [0.2]])
    zones = np.array([[0, 1, 2, 3], [0, 0, 1, 1]], dtype=np.int32)
    made = replace(made, constraints=Constraints.make(4, 4, domains=zones))
    assert survives(made, State(made), 0).survives
    assert survives(made, State(made), 1).survives
    full = hosts([[0.6], [0.6], [0.5], [0.5]])
    full = replace(full, constraints=Constraints.make(4, 4, domains=zones))
    assert survives(full, State(full), 1).domain == 0


def test_reserves_are_for_losses_and_the_lost_hosts_own_room_is_lost_too() -> None:
    made = hosts([[0.5], [0.4]])
    assert survives(replace(made, room=made.limit * 0.6), State(made)).survives
    assert not survives(hosts([[0.7], [0.4]]), State(hosts([[0.7], [0.4]]))).survives


def test_empty_hosts_are_closed_the_dearest_first_as_long_as_every_loss_is_survived() -> None:
    """S3.15."""
    made = hosts([[0.6], [0.6], [], []])
    found = deactivate(made, State(made), (2, 3))
    assert [(r.kind, r.host, r.amounts) for r in found] == [("deactivate", 3, (4.0,))]
    assert deactivate(made, State(made), (0, 1)) == ()


def test_hosts_are_ranked_and_every_other_one_has_a_reason() -> None:
    """S1.13, S5.17: sufficient resources and low load."""
    made = hosts([[0.5], [0.2], [0.3], [0.9], [0.1], [0.1], [0.0]])
    masks = np.ones((2, 7), dtype=np.bool_)
    masks[1, 4] = False
    rules = Constraints.make(
        7, 7, masks=masks, mask=np.array([1, 0, 0, 0, 0, 0, 0]), groups=[(0, 1, [0, 5])], pairs=[(0, 6)]
    )
    made = replace(made, constraints=rules, accepts=np.array([True] * 5 + [True, True]))
    offer = best_hosts(State(made), 0)
    assert offer.hosts == (1, 2) and not offer.queue
    codes = {r.host: r.code for r in offer.refused}
    assert codes == {0: "HERE", 3: "NO_ROOM", 4: "NOT_ALLOWED", 5: "GROUP", 6: "AVOID"}
    assert next(r.missing for r in offer.refused if r.host == 3) == pytest.approx(0.4)


def test_no_host_fits_is_an_answer_with_reasons() -> None:
    """S5.18: the shard queues."""
    made = cordoned(hosts([[0.5], [0.9]]), [0])
    grown = with_work(made, np.array([0.4]))
    offer = best_hosts(State(grown), made.shards)
    assert offer.queue and [r.code for r in offer.refused] == ["CLOSED", "NO_ROOM"]


def test_all_drained_hosts_are_closed_before_the_first_is_emptied() -> None:
    """Lesson 9: not onto the host that is drained next."""
    found = preflight(hosts([[0.3], [0.2], [0.5], [0.6]]), [0, 1], relieve)
    assert found.possible and all(m.destination in (2, 3) for m in found.outcome.moves)
    assert len(found.outcome.moves) == 2


def test_what_blocks_a_drain_is_named_and_what_would_unblock_it() -> None:
    made = hosts([[0.3, 0.1], [0.2]])
    pinned = replace(made, movable=np.array([True, False, True]))
    found = preflight(pinned, [0], relieve)
    assert [(b.code, b.shard) for b in found.blocks] == [("PINNED", 1)] and found.unpin == (1,)
    assert found.hosts == 0 and found.split == ()
    big = preflight(hosts([[0.8], [0.55], [0.55]]), [0], relieve)
    assert [(b.code, b.shard) for b in big.blocks] == [("NO_ROOM", 0)]
    assert (big.hosts, big.split) == (1, (0,)) and not big.possible


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_right_sizes_are_whole_quanta_that_hold_the_need_and_no_quantum_too_many(seed: int) -> None:
    """S3.12: half cores and two gigabytes."""
    rng = np.random.default_rng(seed)
    quanta = np.array([0.5, 2e9])
    need = rng.uniform(0, 8, (20, 2)) * [1, 1e9]
    limits = rng.integers(1, 16, (20, 2)) * quanta
    least = rng.uniform(0, 2, (20, 2)) * [1, 1e9]
    found = right_sizes(need, limits, least, quanta)
    assert np.round(found.target / quanta) * quanta == pytest.approx(found.target)
    wanted = np.maximum(need, least)
    assert (found.target >= wanted - 1e-6).all() and (found.target < wanted + quanta).all()
    assert found.target == pytest.approx(limits - found.waste + found.short)
    assert np.isnan(right_sizes(need * np.nan, limits, least, quanta).target).all()


def test_a_finer_quantum_is_proposed_where_rounding_up_wastes_too_much() -> None:
    """S3.13."""
    made = hosts([[0.5], [0.4]])
    need = np.full((2, 1), 0.13)
    assert (
        better_quanta(made, need, np.array([0.5]), 0.5) == ((0, 0.125 / 2, "WASTE"),)
        or better_quanta(made, need, np.array([0.5]), 0.5)[0][2] == "WASTE"
    )
    assert better_quanta(made, np.full((2, 1), 0.5), np.array([0.25]), 0.5) == ()
    fragments = better_quanta(hosts([[0.6], [0.6]]), np.full((2, 1), 0.5), np.array([0.5]), 0.3)
    assert [code for _, _, code in fragments] == ["FRAGMENTS"]


def test_a_wider_fleet_has_room_of_its_own() -> None:
    made = widened(hosts([[0.9], [0.9]]), [0])
    assert best_hosts(State(made), 0).hosts == (2,)
