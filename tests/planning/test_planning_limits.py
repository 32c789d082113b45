"""What the planner must not do: limits that hold whatever the forecast says."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from asked import codes, moves, plan, refusal, rising
from small_fleets import GIB, NOW, HostIn, ShardIn, Small

from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState
from sidestep.fleet.placement import Owner, Placement
from sidestep.fleet.plans import NoPlan, Plan
from sidestep.planning import basis_now, propose


def test_an_insufficient_forecast_moves_nothing() -> None:
    small = rising()
    small.confidence = "insufficient"
    assert codes(refusal(small)) == ["INSUFFICIENT"]


def test_a_forecast_of_another_fleet_moves_nothing() -> None:
    small = rising()
    forecast = small.forecast()
    small.shards.append(ShardIn("kv-3", "h2", 0.1))
    made = propose(
        small.snapshot(), forecast, small.policy, small.placement(), fleet=small.spec(), number=1, created=NOW
    )
    assert isinstance(made, NoPlan)
    assert codes(made) == ["OUTDATED"]


@pytest.mark.parametrize(
    ("settling", "code"), [({"h1"}, "SETTLING"), ({"kv-1", "kv-2"}, "IMMOVABLE"), ({"h2", "h3"}, "NO_ROOM")]
)
def test_nothing_is_decided_before_the_last_move_shows(settling: set[str], code: str) -> None:
    """Lesson 5: settle time per shard and host, at both ends."""
    assert codes(refusal(rising(), settling=frozenset(settling))) == [code]


def test_what_moves_already_is_left_alone() -> None:
    """Lesson 5: a shard in flight is not planned again, its hosts receive nothing."""
    made = plan(rising(), busy=frozenset({"kv-1", "h2"}))
    assert moves(made) == [("kv-2", "h1", "h3")]
    assert made.actions[0].alternatives[-1].reason.code == "BUSY"


def test_no_shard_moves_for_a_gain_below_the_minimum() -> None:
    """Lesson 6: a move that lowers the peak by 1 % is not worth its risk."""
    small = Small(
        [HostIn("h1", own_cpu=3.17), HostIn("h2")],
        [ShardIn("kv-1", "h1", 0.04)],
        Policy(min_gain=0.02),
    )
    assert codes(refusal(small)) == ["MIN_GAIN"]
    small.policy = Policy(min_gain=0.005)
    assert moves(plan(small)) == [("kv-1", "h1", "h2")]


@pytest.mark.parametrize(
    "state",
    [{"pinned": True}, {"movable": False}, {"shard_state": ShardState.FROZEN}, {"shard_state": ShardState.FAILED}],
)
def test_immovable_things_are_never_planned(state: dict[str, object]) -> None:
    """Lesson 7: pinned, moving and broken shards stay; what else suffices goes."""
    assert moves(plan(rising(**state))) == [("kv-2", "h1", "h2")]


def test_a_hot_host_with_nothing_movable_is_said_to_be_so() -> None:
    small = rising(pinned=True)
    small.shards[1].pinned = True
    made = refusal(small)
    assert codes(made) == ["IMMOVABLE"]
    assert "h1 cpu" in made.reasons[0].text


def test_a_full_destination_is_never_forced() -> None:
    """Lesson 8: no room is an answer, and says what would unblock it."""
    made = refusal(rising(HostIn("h2", own_cpu=2.0), HostIn("h3", own_cpu=2.5)))
    assert codes(made) == ["NO_ROOM"]
    assert "kv-1 needs 0.50 cores more cpu on h2 or 1.00 cores more cpu on h3" in made.reasons[0].text


def test_memory_is_part_of_the_fit() -> None:
    """Lesson 14: a host with idle processors and full memory is no destination."""
    small = rising(HostIn("h2", memory=0.15 * GIB), HostIn("h3", own_cpu=1.0))
    small.shards.append(ShardIn("kv-9", "h2", 0.0, memory=0.1 * GIB))
    assert moves(plan(small)) == [("kv-1", "h1", "h3")]


def test_no_host_takes_shards_that_will_have_to_leave_again() -> None:
    """Lesson 9: a cordoned host, or one that will be hot itself, is no destination."""
    small = rising(HostIn("h2", cordoned=True), HostIn("h3"), HostIn("h4", own_cpu=1.0))
    small.shards.append(ShardIn("kv-3", "h3", (0.1, 3.9), pinned=True))
    assert moves(plan(small)) == [("kv-1", "h1", "h4")]


def test_earlier_moves_of_the_plan_use_up_room() -> None:
    """Lesson 13: two hot hosts whose best destination is the same do not both go there."""
    small = Small(
        [HostIn("h1"), HostIn("h2"), HostIn("h3", own_cpu=1.0), HostIn("h4", own_cpu=1.2)],
        [
            ShardIn("a", "h1", (0.5, 1.7), state=1e6),
            ShardIn("b", "h1", 2.0, state=9e6),
            ShardIn("c", "h2", (0.5, 1.7), state=1e6),
            ShardIn("d", "h2", 2.0, state=9e6),
        ],
    )
    made = plan(small)
    assert moves(made) == [("a", "h1", "h3"), ("c", "h2", "h4")]
    assert made.actions[1].alternatives[-1].reason.code in {"NO_ROOM", "HOT"}


def test_shards_that_avoid_each_other_do_not_meet() -> None:
    """S3.17: both ways, by shard and by app."""
    small = rising(avoid=("web",))
    small.shards.append(ShardIn("web-1", "h2", 0.1, app="web"))
    assert moves(plan(small)) == [("kv-1", "h1", "h3")]
    small.shards[0].avoid, small.shards[2].avoid = (), ("kv-1",)
    assert moves(plan(small)) == [("kv-1", "h1", "h3")]


def test_a_broken_rule_is_not_worsened() -> None:
    """S3.17: replicas that share a host by mistake are not joined by a third."""
    small = Small(
        [HostIn("h1"), HostIn("h2"), HostIn("h3", own_cpu=1.0), HostIn("h4", own_cpu=1.5)],
        [
            ShardIn("r-1", "h1", (0.5, 3.5), app="r", avoid=("r",)),
            ShardIn("r-2", "h2", 0.1, app="r", avoid=("r",)),
            ShardIn("r-3", "h2", 0.1, app="r", avoid=("r",)),
        ],
    )
    small.policy = Policy(threshold_cpu=0.8)
    small.hosts[2].cpu = 8.0
    made = {shard: to for shard, _, to in moves(plan(small))}
    assert made.pop("r-1") == "h3"
    assert set(made.values()) == {"h4"}


def test_the_churn_budget_serves_the_soonest_and_names_the_rest() -> None:
    """Lesson 5: at most max_moves at a time; the plan says which hosts stay hot."""
    small = Small(
        [HostIn("h1"), HostIn("h2"), HostIn("h3")],
        [
            ShardIn("a", "h1", (0.5, 2.0)),
            ShardIn("b", "h1", 2.0),
            ShardIn("c", "h2", (1.0, 2.0)),
            ShardIn("d", "h2", 2.0),
        ],
        Policy(max_moves=1),
    )
    made = plan(small)
    assert [a.source for a in made.actions] == ["h2"]
    assert "stays hot: h1 CHURN" in made.summary


def test_one_host_is_helped_even_if_another_cannot_be() -> None:
    small = rising(HostIn("h2"), HostIn("h3"))
    small.shards.append(ShardIn("kv-9", "h3", (0.1, 3.9), pinned=True))
    made = plan(small)
    assert moves(made) == [("kv-1", "h1", "h2")]
    assert "stays hot: h3 IMMOVABLE" in made.summary


def test_room_is_made_when_there_is_none_and_the_move_waits_for_it() -> None:
    small = Small(
        [HostIn("h1"), HostIn("h2"), HostIn("h3", cpu=1.5)],
        [
            ShardIn("giant", "h1", (2.2, 3.1), state=50e6),
            ShardIn("fixed", "h1", 0.5, pinned=True),
            ShardIn("small", "h2", 1.0, state=5e6),
        ],
    )
    made = plan(small)
    assert moves(made) == [("small", "h2", "h3"), ("giant", "h1", "h2")]
    assert [a.reason.code for a in made.actions] == ["MAKES_ROOM", "RELIEVES"]
    assert [a.after for a in made.actions] == [(), (1,)]
    assert made.actions[0].latest_start <= made.actions[1].latest_start - made.actions[0].transfer_s


def test_unknown_capacity_is_no_destination() -> None:
    small = rising(HostIn("h2", memory=np.nan), HostIn("h3", own_cpu=1.0))
    made = plan(small)
    assert moves(made) == [("kv-1", "h1", "h3")]


def test_a_hot_host_of_unknown_memory_is_relieved_and_its_plan_keeps() -> None:
    small = rising()
    small.hosts[0].memory = np.nan
    made = plan(small)
    assert moves(made) == [("kv-1", "h1", "h2")]
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan) == made
    assert made.basis.differences(basis_now(made, small.snapshot(), small.placement())) == ()


def test_a_shard_that_is_elsewhere_than_seen_is_left_alone() -> None:
    small = rising()
    placement = small.placement()
    owners = {**placement.owners, Label("kv-1"): Owner(small.spec().hosts[1].name, 9)}
    made = propose(
        small.snapshot(),
        small.forecast(),
        small.policy,
        Placement(9, owners),
        fleet=small.spec(),
        number=1,
        created=NOW,
    )
    assert isinstance(made, NoPlan)
    assert codes(made) == ["DISPUTED"]
