"""What-if questions: the same planner on a fleet that is changed on paper."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields
from small_fleets import GIB, HostIn, ShardIn, Small
from whatif_worlds import changed, planned, world_of

from sidestep.fleet.contention import foresee
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.plans import Plan
from sidestep.planning.queries.whatif import World
from sidestep.planning.queries.whatif_text import parse


def calm() -> Small:
    """Two apps on three hosts of 4 cores: 2.0, 1.5 and 0.5 of them used."""
    return Small(
        [HostIn("h1"), HostIn("h2", own_cpu=0.5), HostIn("h3")],
        [
            ShardIn("kv-1", "h1", 1.0, memory=2 * GIB, sd=0.1),
            ShardIn("web-1", "h1", 1.0, memory=1 * GIB, sd=0.2, app="web"),
            ShardIn("kv-2", "h2", 1.0, memory=2 * GIB, sd=0.1),
            ShardIn("web-2", "h3", 0.5, memory=1 * GIB, app="web"),
        ],
    )


def zoned(small: Small) -> World:
    """The same with zones a, a and b, and racks r1, r2 and r2."""
    world = world_of(small)
    racks = ("r1", "r2", "r2")
    specs = tuple(
        with_fields(spec, labels=((Label("rack"), Label(rack)),), groups=(Label("old"),) if rack == "r1" else ())
        for spec, rack in zip(world.fleet.hosts, racks, strict=True)
    )
    hosts = replace(world.snapshot.hosts, zones=(Label("a"), Label("a"), Label("b")))
    return replace(world, fleet=with_fields(world.fleet, hosts=specs), snapshot=replace(world.snapshot, hosts=hosts))


def medians(world: World) -> np.ndarray:
    return world.forecast.hosts[:, 0, 0, 4].astype(np.float64)


def same(one: World, other: World) -> bool:
    return bool(
        np.array_equal(one.forecast.hosts, other.forecast.hosts)
        and np.array_equal(one.forecast.shard_mean, other.forecast.shard_mean)
        and np.array_equal(one.snapshot.hosts.use, other.snapshot.hosts.use)
        and one.snapshot.hosts.states == other.snapshot.hosts.states
        and one.fleet == other.fleet
    )


def test_nothing_asked_is_the_fleet_as_it_is() -> None:
    """S1.9."""
    assert same(changed(calm()), world_of(calm()))


def test_the_first_world_is_left_as_it_was() -> None:
    world = world_of(calm())
    parse(["load=+50%", "lose=h1", "add=2:like:h1", "drain=h2"]).apply(world)
    assert same(world, world_of(calm()))


def test_more_load_of_everything_is_every_demand_times_that() -> None:
    before, after = world_of(calm()), changed(calm(), "load=+30%")
    np.testing.assert_allclose(after.forecast.hosts, before.forecast.hosts * 1.3, rtol=1e-5)
    np.testing.assert_allclose(after.forecast.shard_mean, before.forecast.shard_mean * 1.3, rtol=1e-5)
    np.testing.assert_allclose(after.snapshot.hosts.use, np.array(before.snapshot.hosts.use) * [1.3, 1.3, 1, 1, 1, 1])


def test_more_load_of_an_app_grows_its_shards_and_their_hosts_only() -> None:
    before, after = world_of(calm()), changed(calm(), "load=app:kv:+50%")
    np.testing.assert_allclose(medians(after) - medians(before), [0.5, 0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(after.snapshot.hosts.use[:, 0], [2.5, 2.0, 0.5])
    assert np.array_equal(after.forecast.hosts[2], before.forecast.hosts[2])


def test_one_dimension_alone_can_grow() -> None:
    before, after = world_of(calm()), changed(calm(), "load=app:kv:memory:x2")
    assert np.array_equal(after.forecast.hosts[:, 0], before.forecast.hosts[:, 0])
    assert after.forecast.shard_mean[0, 1, 0] == pytest.approx(4 * GIB)


def test_more_load_of_a_host_grows_what_it_does_beside_its_shards_too() -> None:
    assert medians(changed(calm(), "load=host:h2:+100%")) == pytest.approx([2.0, 3.0, 0.5])
    assert medians(changed(calm(), "load=shard:kv-2:+100%")) == pytest.approx([2.0, 2.5, 0.5])


@given(st.floats(0.1, 5.0))
def test_growing_every_app_is_growing_every_shard(factor: float) -> None:
    """The spread of a host all of whose demand is its shards' grows as theirs does."""
    text = f"x{factor:.3f}"
    apart = changed(calm(), f"load=app:kv:{text}", f"load=app:web:{text}")
    together = changed(calm(), f"load={text}")
    for host in (0, 2):
        np.testing.assert_allclose(apart.forecast.hosts[host], together.forecast.hosts[host], rtol=2e-3)


def test_more_load_brings_the_contention_that_it_would_bring() -> None:
    """S3.14."""
    world = changed(calm(), "load=app:web:+200%")
    found = foresee(world.snapshot, world.forecast, world.policy).contention
    assert [(c.host, c.dimension) for c in found] == [("h1", "cpu")]
    plan = planned(world)
    assert isinstance(plan, Plan)
    assert {a.source for a in plan.actions} == {"h1"}


def test_calibrated_chances_are_not_said_of_changed_demand() -> None:
    world = world_of(calm())
    said = replace(
        world.forecast, chance=np.full((3, 2), 0.9, np.float32), host_peaks=np.ones((3, 6, 1, 10), np.float32),
        windows=(30,),
    )  # fmt: skip
    after = parse(["load=app:kv:+10%"]).apply(replace(world, forecast=said)).forecast
    assert np.isnan(after.chance[:2]).all() and (after.chance[2] == np.float32(0.9)).all()
    assert np.isnan(after.host_peaks[:2, :2]).all() and not np.isnan(after.host_peaks[2]).any()


def test_a_drained_host_takes_no_more_shards() -> None:
    """S1.9."""
    world = changed(calm(), "drain=h2,h3")
    assert world.snapshot.hosts.states == (HostState.READY, HostState.DRAINING, HostState.DRAINING)
    assert [spec.cordoned for spec in world.fleet.hosts] == [False, True, True]


def test_a_lost_host_demands_nothing_and_what_it_held_starts_elsewhere() -> None:
    """S1.13: where the shards of a host would go, and the room that is left."""
    world = changed(calm(), "lose=h1")
    assert not world.forecast.hosts[0].any() and world.snapshot.hosts.states[0] is HostState.DRAINING
    plan = planned(world)
    assert isinstance(plan, Plan)
    assert {(a.shard, a.source) for a in plan.actions} == {("kv-1", "h1"), ("web-1", "h1")}
    assert {a.destination for a in plan.actions} <= {"h2", "h3"}
    everything = planned(changed(calm(), "lose=h1,h2"))
    left = everything.left if isinstance(everything, Plan) else everything.reasons
    assert {reason.code for reason in left} & {"NO_ROOM", "IMPOSSIBLE"}


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("lose=zone:a", [0, 1]),
        ("lose=zone:b", [2]),
        ("lose=rack:r2", [1, 2]),
        ("lose=group:old", [0]),
        ("lose=h[1-2]", [0, 1]),
        ("lose=h*", [0, 1, 2]),
        ("lose=h1, h3", [0, 2]),
    ],
)
def test_hosts_are_meant_by_name_pattern_or_failure_domain(text: str, dead: list[int]) -> None:
    """S3.17."""
    states = parse([text]).apply(zoned(calm())).snapshot.hosts.states
    assert [row for row, state in enumerate(states) if state is HostState.DRAINING] == dead


def test_added_hosts_are_empty_and_like_the_one_that_is_named() -> None:
    world = changed(calm(), "add=2:like:h2")
    hosts, forecast = world.snapshot.hosts, world.forecast
    assert hosts.names[3:] == ("new-1", "new-2") and hosts.states[3:] == (HostState.READY,) * 2
    assert np.array_equal(hosts.allocatable[3], hosts.allocatable[1], equal_nan=True)
    assert medians(world)[3:] == pytest.approx([0.5, 0.5]), "what h2 does beside its shards"
    assert forecast.hosts.shape[0] == 5 and [h.name for h in world.fleet.hosts][3:] == ["new-1", "new-2"]
    assert changed(calm(), "add=1:like:h1", "add=1:like:new-1").snapshot.hosts.names[3:] == ("new-1", "new-2")


def test_an_added_host_takes_what_no_other_has_room_for() -> None:
    """S1.13: no host fits, and one more would."""
    small = Small(
        [HostIn("h1"), HostIn("h2", own_cpu=3.0)],
        [ShardIn("kv-1", "h1", (1.0, 2.0)), ShardIn("kv-2", "h1", (1.0, 2.0))],
    )
    assert not isinstance(planned(world_of(small)), Plan)
    plan = planned(changed(small, "add=1:like:h1"))
    assert isinstance(plan, Plan) and [a.destination for a in plan.actions] == ["new-1"]


def test_another_policy_is_the_policy_that_is_asked() -> None:
    strict = Policy(name=Label("strict"), threshold_cpu=0.4)
    world = parse(["policy=strict"], {"strict": strict}).apply(world_of(calm()))
    assert world.policy == strict == world.fleet.policy
    assert foresee(world.snapshot, world.forecast, world.policy).contention[0].host == "h1"


def test_changes_are_made_in_their_order() -> None:
    one = changed(calm(), "load=host:h1:+100%", "add=1:like:h1")
    other = changed(calm(), "add=1:like:h1", "load=host:new-1:+100%")
    assert medians(one)[0] == pytest.approx(4.0) and medians(other)[0] == pytest.approx(2.0)
    assert str(parse(["load=+10%", "lose=h1"])) == "load=+10%; lose=h1"


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("drain", "not a change", "drain=h3,h4"),
        ("melt=h1", "melt=h1", "drain=h3,h4"),
        ("drain=", "nothing stands after", "drain=h3,h4"),
        ("drain=h9", "no host is h9", "h1"),
        ("drain=h1,,h2", "a name is missing", "commas"),
        ("lose=zone:c", "no host is zone:c", "did you mean|known are|no host has a zone"),
        ("lose=room:1", "no host is room:1", "no host has a room"),
        ("lose=h[1-", "bracket", "web"),
        ("load=30%", "not a change of load", "\\+30%"),
        ("load=-130%", "not a change of load", "x2"),
        ("load=x1e9", "not a change of load", "x2"),
        ("load=app:+5%", "not whose load", "app:NAME"),
        ("load=zone:a:+5%", "not whose load", "app:NAME"),
        ("load=app:nothing:+5%", "no app is nothing", "kv"),
        ("add=h1", "how many", "add=2:like:h1"),
        ("add=0:like:h1", "0 hosts", "1 to"),
        ("add=2:like:h*", "is 3 hosts", "like:h1"),
        ("policy=best", "no policy is best", ""),
        ("drain=h\x1b[2J", "<1b>", ""),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_text_and_a_remedy(text: str, said: str, remedy: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        changed(calm(), text)
    assert "\x1b" not in str(caught.value)
    assert re.search(remedy, caught.value.hint)


def test_too_many_changes_are_refused() -> None:
    with pytest.raises(UsageError, match="at most"):
        parse(["load=+1%"] * 51)
