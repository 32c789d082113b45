"""The best next host for new work, right sizes, and whether a host can be emptied."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields
from small_fleets import GIB, NOW, HostIn, ShardIn, Small
from whatif_worlds import world_of

from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.questions import BestHost, Preflight
from sidestep.planning.queries.drain import preflight
from sidestep.planning.queries.host_for import best_host
from sidestep.planning.queries.sizes import right_sizes
from sidestep.planning.queries.whatif import World


def three() -> Small:
    """3.0, 2.0 and 0.2 of 4 cores are free below the limit of 3.2, and h3 is cordoned in some tests."""
    return Small(
        [HostIn("h1", own_cpu=0.2), HostIn("h2", own_cpu=1.2), HostIn("h3", own_cpu=3.0)],
        [ShardIn("kv-1", "h2", 0.0, app="kv"), ShardIn("web-1", "h1", 0.0, app="web", avoid=("kv",))],
    )


def offered(small: Small, **wanted: object) -> BestHost:
    return best_host(world_of(small), **{"cpu": 1.0, "memory": 0, **wanted})  # type: ignore[arg-type]


def names(best: BestHost) -> list[str]:
    return [str(offer.host) for offer in best.offers]


def test_hosts_with_room_are_offered_the_emptiest_first() -> None:
    """S1.13: hard fit on quantile demand, then projected headroom."""
    best = offered(three())
    assert names(best) == ["h1", "h2"] and best.refusals == ()
    assert best.offers[0].room_cpu == pytest.approx(2.0) and best.offers[1].room == pytest.approx(0.25)


def test_no_room_is_an_answer_with_a_reason_for_every_host() -> None:
    """S1.28, S5.17: host or explanation."""
    best = offered(three(), cpu=3.1)
    assert best.offers == ()
    assert [(r.host, r.reason.code) for r in best.refusals] == [("h1", "NO_ROOM"), ("h2", "NO_ROOM"), ("h3", "NO_ROOM")]
    assert "0.10 cores" in best.refusals[0].reason.text


def test_a_host_that_takes_nothing_is_not_offered() -> None:
    small = three()
    small.hosts[0] = HostIn("h1", cordoned=True)
    small.hosts[1] = HostIn("h2", state=HostState.DEAD)
    best = offered(small, cpu=0.1)
    assert names(best) == ["h3"]


def test_the_rules_of_an_app_count_for_its_new_work() -> None:
    """S3.17."""
    assert names(offered(three(), app="web")) == ["h1"]
    assert names(offered(three(), app="kv")) == ["h2"]


def test_near_is_preferred_where_there_is_room() -> None:
    """S2.7."""
    for near in ("kv-1", "kv", "h2"):
        best = offered(three(), near=near)
        assert names(best) == ["h2", "h1"] and best.offers[0].near
    assert names(offered(three(), near="h3")) == ["h1", "h2"]


def test_the_cheapest_host_is_best_where_cost_comes_first() -> None:
    """S3.15."""
    small = three()
    small.hosts[0] = HostIn("h1", own_cpu=0.2, cost=2.0)
    small.hosts[1] = HostIn("h2", own_cpu=1.2, cost=1.0)
    small.policy = Policy(goals=(Label("cost"), Label("headroom")))
    assert names(offered(small)) == ["h2", "h1"]


def test_fewer_can_be_asked_for() -> None:
    assert names(offered(three(), limit=1)) == ["h1"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"cpu": 0.0}, "no size"),
        ({"cpu": float("nan")}, "no size"),
        ({"memory": -1}, "no size"),
        ({"app": "nothing"}, "no such app"),
        ({"near": "nowhere"}, "no shard, app or host"),
    ],
)
def test_what_cannot_be_asked_is_refused(wanted: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        offered(three(), **wanted)


@settings(deadline=None)
@given(
    own=st.lists(st.floats(0, 4), min_size=1, max_size=6),
    cpu=st.floats(0.1, 4),
    memory=st.integers(0, 9 * GIB),
)
def test_a_host_is_offered_if_and_only_if_the_work_fits_under_its_limits(
    own: list[float], cpu: float, memory: int
) -> None:
    """S1.13, checked with a loop over hosts and no arrays."""
    small = Small([HostIn(f"h{i}", own_cpu=load) for i, load in enumerate(own)], [])
    small.shards.append(ShardIn("s", "h0", 0.0, memory=0.0))
    best = offered(small, cpu=cpu, memory=memory, limit=1000)
    fits = [
        f"h{i}"
        for i, load in enumerate(own)
        if load <= 3.2 and load + cpu <= 3.2 * (1 + 1e-9) and memory <= 0.85 * 8 * GIB * (1 + 1e-9)
    ]
    close = {f"h{i}" for i, load in enumerate(own) if abs(load + cpu - 3.2) < 1e-5 or abs(load - 3.2) < 1e-5}
    assert set(names(best)) - close == set(fits) - close
    assert bool(best.offers) != bool(best.refusals)


def sized(**limits: float) -> World:
    small = Small([HostIn("h1"), HostIn("h2")], [ShardIn("kv-1", "h1", (1.0, 2.2), memory=3 * GIB)])
    world = world_of(small)
    shards = tuple(with_fields(spec, **limits) for spec in world.fleet.shards)
    return replace(world, fleet=with_fields(world.fleet, shards=shards))


def test_a_shard_that_needs_more_than_its_limit_should_grow() -> None:
    """S3.24, S3.12: in whole quanta."""
    (size,) = right_sizes(sized(limit_cpu=1.5, limit_memory=4 * GIB), 10).sizes
    assert (size.reason.code, size.cpu, size.cpu_before) == ("GROW", 2.5, 1.5)
    assert size.memory == 4 * GIB


def test_a_shard_that_is_given_far_too_much_should_shrink_but_not_below_its_guarantee() -> None:
    """S4.16."""
    (size,) = right_sizes(sized(limit_cpu=4.0, limit_memory=16 * GIB), 10).sizes
    assert (size.reason.code, size.cpu, size.memory) == ("SHRINK", 2.5, 4 * GIB)
    (size,) = right_sizes(sized(limit_cpu=4.0, limit_memory=16 * GIB, guarantee_cpu=3.5), 10).sizes
    assert size.cpu == 3.5


def test_a_shard_of_the_right_size_or_without_limits_is_left_alone() -> None:
    assert right_sizes(sized(limit_cpu=2.5, limit_memory=4 * GIB), 10).sizes == ()
    assert right_sizes(sized(), 10).sizes == ()


def drained(small: Small, host: int) -> Preflight:
    return preflight(world_of(small), host, number=1, created=NOW + 1)


def loaded(*hosts: HostIn) -> Small:
    return Small(
        [HostIn("h1"), *hosts],
        [ShardIn(f"kv-{i}", "h1", 0.8) for i in range(3)],
    )


def test_a_host_that_can_be_emptied_says_how() -> None:
    found = drained(loaded(HostIn("h2"), HostIn("h3")), 0)
    assert found.possible and found.shards == 3 and found.blocks == ()
    assert found.answer.plan is not None and {a.source for a in found.answer.plan.actions} == {"h1"}


def test_a_pinned_shard_blocks_and_the_remedy_is_named() -> None:
    small = loaded(HostIn("h2"), HostIn("h3"))
    small.shards[1] = ShardIn("kv-1", "h1", 0.8, pinned=True)
    found = drained(small, 0)
    assert not found.possible
    assert found.blocks[0].code == "PINNED" and "kv-1" in found.blocks[0].text
    assert "remove pinned from kv-1" in found.unblocks[0]


def test_without_room_elsewhere_the_hosts_that_would_do_are_counted_by_trying() -> None:
    """Every remedy was tried with the planner."""
    found = drained(loaded(HostIn("h2", own_cpu=3.0)), 0)
    assert not found.possible and found.blocks[0].code == "NO_ROOM"
    assert found.unblocks == ("1 more host like h1; tried with --what-if add=1:like:h1",)


def test_hosts_that_are_drained_together_are_no_room_for_each_other() -> None:
    """Lesson 9: all are closed before the first is emptied, and what both hold has to fit elsewhere together."""
    small = loaded(HostIn("h2"), HostIn("h3"))
    world = world_of(small)
    found = preflight(world, 0, others=(1,), number=1, created=NOW + 1)
    assert found.possible and found.answer.plan is not None
    assert {a.destination for a in found.answer.plan.actions} == {"h3"} and found.shards == 3
    assert not preflight(world, 0, others=(1, 2), number=1, created=NOW + 1).possible


def test_an_empty_host_can_be_drained_at_once() -> None:
    assert drained(loaded(HostIn("h2")), 1).possible


def test_the_churn_budget_does_not_keep_a_host_from_being_emptied() -> None:
    small = replace(loaded(HostIn("h2"), HostIn("h3")), policy=Policy(max_moves=1))
    assert drained(small, 0).possible
