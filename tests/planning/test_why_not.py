"""Why a shard moves, why it stays, why it does not go there: every reason, and each one true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_fleets import GIB, HostIn, ShardIn, Small
from whatif_worlds import planned, world_of

from sidestep.fleet.inventory import Policy
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.plans import Plan
from sidestep.fleet.questions import Why, WhyNot
from sidestep.planning.queries.verdict import Ground
from sidestep.planning.queries.whatif import World
from sidestep.planning.queries.why import why, why_not


def hot(*hosts: HostIn, **shard: object) -> Small:
    """h1 grows from 1.5 to 3.7 of 4 cores; kv-1 is the cheap one to move."""
    return Small(
        [HostIn("h1"), *(hosts or (HostIn("h2"), HostIn("h3", own_cpu=1.0)))],
        [
            ShardIn("kv-1", "h1", (0.5, 1.7), state=10e6, **shard),  # type: ignore[arg-type]
            ShardIn("kv-2", "h1", (1.0, 2.0), state=90e6),
        ],
    )


def asked(small: Small | World, shard: str, host: str, **ground: frozenset[str]) -> WhyNot:
    world = small if isinstance(small, World) else world_of(small)
    made = planned(world, **ground)
    found = Ground.of(world, **ground)
    rules = found.built.rules
    return why_not(found, rules.shard_row[shard], rules.host_row[host], made if isinstance(made, Plan) else None)


def codes(answer: WhyNot) -> list[str]:
    return [obstacle.reason.code for obstacle in answer.obstacles]


def told(small: Small, shard: str) -> Why:
    world = world_of(small)
    ground = Ground.of(world)
    return why(ground, ground.built.rules.shard_row[shard], planned(world), proposed=True)


def test_a_shard_that_moves_says_why_with_evidence_and_alternatives() -> None:
    """S3.14."""
    answer = told(hot(), "kv-1")
    assert (answer.moves, answer.reason.code, answer.plan) == (True, "RELIEVES", 1)
    assert answer.evidence is not None and answer.evidence.host == "h1"
    assert [a.destination for a in answer.alternatives] == ["h3"] and len(answer.digest) == 64


def test_a_shard_that_stays_names_the_move_that_does_instead() -> None:
    answer = told(hot(), "kv-2")
    assert (answer.moves, answer.reason.code) == (False, "NOT_NEEDED")
    assert "kv-1 to h2" in answer.reason.text and "h1 is predicted" in answer.reason.text
    assert {a.destination for a in answer.hosts} == {"h2", "h3"}


def test_on_a_calm_host_a_shard_stays_for_want_of_contention() -> None:
    """S1.30."""
    small = hot(HostIn("h2"), HostIn("h3"))
    small.shards.append(ShardIn("kv-3", "h3", 1.0))
    answer = told(small, "kv-3")
    assert answer.reason.code == "NO_CONTENTION" and "cpu reaches 25%" in answer.reason.text
    assert "limit is 80%" in answer.reason.text


@pytest.mark.parametrize(
    ("shard", "code"),
    [
        ({"pinned": True}, "PINNED"),
        ({"movable": False}, "PINNED"),
        ({"shard_state": ShardState.STOPPED}, "NOT_RUNNING"),
    ],
)
def test_a_shard_that_cannot_move_says_what_keeps_it(shard: dict[str, object], code: str) -> None:
    assert told(hot(**shard), "kv-1").reason.code == code
    assert codes(asked(hot(**shard), "kv-1", "h2"))[0] == code


def test_a_shard_that_stays_on_a_hot_host_names_what_the_planner_lacks() -> None:
    """S1.13: no host fits, with reasons."""
    answer = told(hot(HostIn("h2", own_cpu=3.0)), "kv-1")
    assert answer.reason.code == "NO_ROOM" and answer.reason.text.startswith("h1 is predicted")
    assert [(a.destination, a.reason.code) for a in answer.hosts] == [("h2", "NO_ROOM")]


def test_where_it_goes_there_is_no_reason_against() -> None:
    answer = asked(hot(), "kv-1", "h2")
    assert answer.goes and codes(answer) == []


def test_where_it_is_already_it_does_not_go() -> None:
    assert codes(asked(hot(), "kv-1", "h1")) == ["HERE"]


@pytest.mark.parametrize(
    ("host", "code"),
    [
        (HostIn("h2", cordoned=True), "CORDONED"),
        (HostIn("h2", state=HostState.MAINTENANCE), "CORDONED"),
        (HostIn("h2", state=HostState.SUSPECT), "NOT_READY"),
        (HostIn("h2", standby=True), "STANDBY"),
        (HostIn("h2", own_cpu=3.9), "HOT"),
    ],
)
def test_a_host_that_takes_nothing_says_so_first(host: HostIn, code: str) -> None:
    assert codes(asked(hot(host, HostIn("h3")), "kv-1", "h2"))[0] == code


def test_settling_and_busy_hosts_say_so() -> None:
    assert codes(asked(hot(), "kv-1", "h2", settling=frozenset({"h2"})))[0] == "SETTLING"
    assert codes(asked(hot(), "kv-1", "h2", busy=frozenset({"h2"})))[0] == "BUSY"
    assert codes(asked(hot(), "kv-1", "h2", settling=frozenset({"kv-1"})))[0] == "SETTLING"


def test_missing_room_is_told_with_the_amount_and_the_instant() -> None:
    """1.7 of 4 cores at the end, 2.5 there already, the limit is 3.2."""
    answer = asked(hot(HostIn("h2", own_cpu=2.5), HostIn("h3")), "kv-1", "h2")
    (lack,) = answer.obstacles
    assert (lack.reason.code, lack.dimension, lack.at) == ("NO_ROOM", "cpu", 60.0)
    assert lack.lacks == pytest.approx(1.0, abs=1e-3) and "1.00 cores of cpu" in lack.reason.text
    assert lack.since == pytest.approx(12.0)  # 0.5 + 1.2 * k / 29 > 0.7
    assert answer.room == pytest.approx(-0.25, abs=1e-3)


def test_every_dimension_that_lacks_is_named() -> None:
    small = hot(HostIn("h2", own_cpu=3.1, memory=1 * GIB), HostIn("h3"), memory=2 * GIB)
    assert [o.dimension for o in asked(small, "kv-1", "h2").obstacles] == ["cpu", "memory"]


def test_a_neighbour_to_avoid_is_named() -> None:
    small = hot(HostIn("h2"), HostIn("h3"), avoid=("web-1",))
    small.shards.append(ShardIn("web-1", "h2", 0.1, app="web"))
    answer = asked(small, "kv-1", "h2")
    assert codes(answer) == ["AVOID"] and "web-1" in answer.obstacles[0].reason.text


def test_a_failure_domain_that_is_full_is_named_with_who_fills_it() -> None:
    """S3.17."""
    small = hot(HostIn("h2", zone="a"), HostIn("h3", zone="b"), spread="zone", app="db")
    small.hosts[0] = HostIn("h1", zone="b")
    small.shards.append(ShardIn("db-2", "h2", 0.1, app="db", spread="zone"))
    answer = asked(small, "kv-1", "h2")
    assert codes(answer) == ["AVOID"] and "its zone holds db-2" in answer.obstacles[0].reason.text


def test_a_label_that_is_required_is_missed() -> None:
    small = hot(HostIn("h2"), HostIn("h3", labels=(("disk", "ssd"),)), requires=(("disk", "ssd"),))
    small.hosts[0] = HostIn("h1", labels=(("disk", "ssd"),))
    assert codes(asked(small, "kv-1", "h2")) == ["NOT_ALLOWED"]


def test_all_reasons_are_told_and_not_only_the_first() -> None:
    small = hot(HostIn("h2", cordoned=True, own_cpu=3.0), HostIn("h3"), pinned=True)
    assert codes(asked(small, "kv-1", "h2")) == ["PINNED", "CORDONED", "NO_ROOM"]


def test_a_fuller_host_is_hotter() -> None:
    answer = asked(hot(), "kv-1", "h3")
    assert codes(answer) == ["HOTTER"] and answer.chosen == "h2"
    assert answer.room is not None and answer.chosen_room is not None and answer.room < answer.chosen_room


def test_a_shard_that_nothing_asks_to_move_could() -> None:
    assert codes(asked(hot(), "kv-2", "h3")) == ["NOT_NEEDED"]
    calm = hot(HostIn("h2"), HostIn("h3"))
    calm.shards.append(ShardIn("kv-3", "h3", 1.0))
    assert codes(asked(calm, "kv-3", "h2")) == ["NO_CONTENTION"]


def test_room_kept_for_failures_is_told_apart_from_room_that_is_not_there() -> None:
    """N-1 headroom."""
    policy = Policy(tolerate="host")
    small = replace(hot(HostIn("h2", own_cpu=1.0), HostIn("h3", own_cpu=1.0)), policy=policy)
    answer = asked(small, "kv-1", "h2")
    assert codes(answer)[0] == "NO_ROOM"
    assert "kept for failures" in answer.obstacles[0].reason.text


def test_unknown_demand_is_said_to_be_so() -> None:
    world = world_of(hot())
    mean = np.array(world.forecast.shard_mean)
    mean[0] = np.nan
    unknown = replace(world, forecast=replace(world.forecast, shard_mean=mean))
    assert codes(asked(unknown, "kv-1", "h2"))[0] == "UNKNOWN"
