"""What is decided for all pools at once: bounds, guarantees, priorities, drills and guesses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.fleet.labels import Label
from sidestep.fleet.newwork import SpeculativeWork
from sidestep.fleet.pools import PoolSpec
from sidestep.planning.pool import Decider, Look, Terms
from sidestep.planning.pool.drills import due, oldest
from sidestep.planning.pool.share import Room, share
from sidestep.planning.pool.speculative import Guess, prepare, settle

quick = settings(deadline=None, max_examples=50)
LEVELS = (0.05, 0.5, 0.95)


def pool(**changes: object) -> PoolSpec:
    known: dict[str, object] = {"name": Label("p"), "apps": (Label("p"),), "hosts": (Label("h"),), "max": 20}
    return PoolSpec(**{**known, **changes})  # type: ignore[arg-type]


def look(demand: list[float], now: float = 0.0, load: float = 8.0, serving: int = 2) -> Look:
    quantiles = np.array([[[0.8 * each, each, 1.2 * each] for each in demand]])
    return Look(now, LEVELS, 1.0, quantiles, np.array([load]), np.array([serving]), np.array([0.1]), np.array([2.0]))


def test_instances_serve_before_the_load_arrives() -> None:
    """S4.6: the lead covers the activation, the margin and the time until the next decision"""
    decider = Decider(Terms.of([pool(margin=1.0)]), 1.0)
    flat = decider.decide(look([8, 8, 8, 8, 8]), np.zeros(1, dtype=np.int64))
    rising = Decider(Terms.of([pool(margin=1.0)]), 1.0).decide(look([8, 8, 80, 80, 80]), np.zeros(1, dtype=np.int64))
    assert flat.active[0] == 2
    assert rising.active[0] > 10


def test_slow_ticks_are_a_longer_lead() -> None:
    """S4.6: what was meant to be decided every second is decided every four: the rise is within reach by then."""
    early = replace(look([8, 8, 8, 8, 80]), every=4.0)
    none = np.zeros(1, dtype=np.int64)
    assert Decider(Terms.of([pool(margin=1.0)]), 1.0).decide(look([8, 8, 8, 8, 80]), none).active[0] == 2
    assert Decider(Terms.of([pool(margin=1.0)]), 1.0).decide(early, none).active[0] > 10


def test_without_a_forecast_what_serves_goes_on_and_measurement_rules() -> None:
    decider = Decider(Terms.of([pool()]), 1.0)
    decision = decider.decide(look([float("nan")] * 3, load=30.0), np.zeros(1, dtype=np.int64))
    assert decision.active[0] >= 4
    assert np.isnan(decision.more[0])


def test_a_forecast_alone_shrinks_nothing_that_is_in_use() -> None:
    """S4.19: the rule is configurable"""
    none = np.zeros(1, dtype=np.int64)
    busy = look([1, 1, 1], load=60.0, serving=8)
    assert Decider(Terms.of([pool(stabilise=0, step_down=0)]), 1.0).decide(busy, none).active[0] >= 8
    alone = pool(stabilise=0, step_down=0, shrink="forecast", react_most=0)
    assert Decider(Terms.of([alone]), 1.0).decide(busy, none).active[0] == 1


@quick
@given(
    st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500), st.integers(0, 30)), min_size=1, max_size=12),
    st.integers(1, 25),
)
def test_no_wish_leads_beyond_the_bounds_of_a_pool(ticks: list[tuple[float, float, int]], most: int) -> None:
    """S4.3"""
    decider = Decider(Terms.of([pool(max=most, min=min(2, most))]), 1.0)
    for at, (demand, load, guessed) in enumerate(ticks):
        decision = decider.decide(look([demand] * 4, float(at), load), np.array([guessed]))
        assert decision.active[0] >= 0 and decision.active[0] + decision.ready[0] <= most
        assert decision.active[0] >= min(2, most)


@st.composite
def crowded(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Room]:
    pools, hosts = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    ints = lambda low, high, shape: np.array(  # noqa: E731
        draw(st.lists(st.integers(low, high), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    ).reshape(shape)
    room = Room(
        ints(0, 12, (hosts, 1)).astype(float), ints(1, 3, (pools, 1)).astype(float), np.ones((pools, hosts), bool)
    )
    return ints(0, 15, (pools,)), ints(0, 4, (pools,)), ints(1, 5, (pools,)), ints(0, 4, (pools, hosts)), room


@quick
@given(crowded())
def test_room_is_never_given_away_twice_and_guarantees_come_first(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Room],
) -> None:
    """S4.16"""
    wanted, guarantee, priority, now, room = case
    given_ = share(wanted, guarantee, priority, now, room)
    used = np.einsum("ph,pr->hr", given_, room.size)
    assert (given_ >= 0).all() and (used <= room.free + 1e-9).all()
    assert (given_.sum(axis=1) <= wanted).all()
    left = room.free - used
    for row in range(len(wanted)):
        lacking = given_[row].sum() < wanted[row]
        # who lacks something has no room left for one more
        assert not lacking or (left[:, 0] < room.size[row, 0]).all()


def test_the_lowest_priority_gives_way_first_and_no_guarantee_is_broken() -> None:
    """S4.16"""
    room = Room(np.array([[10.0]]), np.ones((3, 1)), np.ones((3, 1), dtype=bool))
    now = np.array([[2], [4], [4]])
    found = share(np.array([8, 4, 4]), np.array([0, 1, 1]), np.array([1, 3, 5]), now, room)
    assert found[:, 0].tolist() == [8, 1, 1]


def test_instances_stay_where_they_are_while_there_is_room() -> None:
    room = Room(np.array([[10.0], [10.0]]), np.ones((1, 1)), np.ones((1, 2), dtype=bool))
    assert share(np.array([4]), np.zeros(1, dtype=int), np.ones(1, dtype=int), np.array([[4, 0]]), room).tolist() == [
        [4, 0]
    ]
    spread = share(np.array([6]), np.zeros(1, dtype=int), np.ones(1, dtype=int), np.array([[0, 0]]), room)
    assert spread.tolist() == [[3, 3]]


def test_a_drill_comes_when_it_is_due_and_takes_the_one_that_slept_longest() -> None:
    """S4.14"""
    last, every = np.array([-np.inf, 90.0, 0.0, 0.0]), np.array([10.0, 20.0, 0.0, 10.0])
    found = due(100.0, last, every, np.array([1, 1, 1, 0]), np.zeros(4, dtype=bool))
    assert found.tolist() == [True, False, False, False]
    assert not due(100.0, last, every, np.ones(4, dtype=np.int64), np.ones(4, dtype=bool)).any()
    assert oldest(np.array([5.0, 3.0, 1.0]), np.array([True, True, False])) == 1


def work(name: str, chance: float = 0.8, quota: int = 2) -> SpeculativeWork:
    return SpeculativeWork(
        name=Label(name), app=Label("a"), kind="seasonal", begins=100.0, lasts=60.0, chance=chance, demand=(),
        quota=quota, expires=200.0, reason=Label("it came every day"),
    )  # fmt: skip


def test_guesses_stay_within_their_quotas_and_are_settled_one_way_or_the_other() -> None:
    """S4.13"""
    expected = [work("f", 0.9), work("g"), work("h", 0.1), work("i", quota=9)]
    made = prepare(50.0, expected, (), {"a": "p"}, {"p": 5}, {"p": 60.0}, frozenset({"g"}))
    assert [(guess.name, guess.count) for guess in made] == [("f", 2), ("i", 3)]
    assert prepare(50.0, expected, made, {"a": "p"}, {"p": 5}, {"p": 60.0}, frozenset()) == ()
    assert prepare(10.0, expected, (), {"a": "p"}, {"p": 5}, {"p": 60.0}, frozenset()) == ()
    kept, settled = settle(150.0, made, frozenset({"f"}))
    assert [guess.name for guess in kept] == ["i"]
    assert [(each.name, each.hit) for each in settled] == [("f", True)]
    assert [each.hit for each in settle(200.0, kept, frozenset())[1]] == [False]
    assert isinstance(made[0], Guess)
