"""What the planner proposes, and what it says when it does not."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from small_fleets import GIB, NOW, HostIn, ShardIn, Small

from sidestep.fleet.inventory import Policy
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.placement import Owner, Placement
from sidestep.fleet.plans import NoPlan, Plan
from sidestep.planning import TransferModel, basis_now, propose


def answer(small: Small, **more: object) -> Plan | NoPlan:
    return propose(
        small.snapshot(),
        small.forecast(),
        small.policy,
        small.placement(),
        fleet=small.spec(),
        number=3,
        created=NOW + 1,
        **more,  # type: ignore[arg-type]
    )


def plan(small: Small, **more: object) -> Plan:
    made = answer(small, **more)
    assert isinstance(made, Plan), made
    return made


def refusal(small: Small, **more: object) -> NoPlan:
    made = answer(small, **more)
    assert isinstance(made, NoPlan), made.summary
    return made


def codes(made: NoPlan) -> list[str]:
    return [reason.code for reason in made.reasons]


def moves(made: Plan) -> list[tuple[str, str, str]]:
    return [(a.shard, a.source, a.destination) for a in made.actions]


def rising(*hosts: HostIn, policy: Policy | None = None, **shard: object) -> Small:
    """h1 grows from 1.5 to 3.7 of 4 cores: kv-1 is the small one, kv-2 the big one."""
    return Small(
        [HostIn("h1"), *(hosts or (HostIn("h2"), HostIn("h3", own_cpu=1.0)))],
        [
            ShardIn("kv-1", "h1", (0.5, 1.7), state=10e6, **shard),  # type: ignore[arg-type]
            ShardIn("kv-2", "h1", (1.0, 2.0), state=90e6),
        ],
        policy or Policy(),
    )


def test_the_cheapest_shard_that_suffices_moves_to_the_host_with_most_room() -> None:
    """S1.13: hard fit on quantile demand, then projected headroom."""
    assert moves(plan(rising())) == [("kv-1", "h1", "h2")]


def test_no_predicted_contention_is_no_plan_with_the_nearest_host() -> None:
    """S1.28, S1.30: nothing is better than where it is, so nothing moves."""
    made = refusal(Small([HostIn("h1"), HostIn("h2")], [ShardIn("kv-1", "h1", 1.0)]))
    assert codes(made) == ["NO_CONTENTION"]
    assert "h1 with cpu at 25%" in made.reasons[0].text


def test_the_evidence_is_the_forecast_segment_before_and_after() -> None:
    """S3.14: the plan explains itself with the curves that it was decided on."""
    action = plan(rising()).actions[0]
    seen = action.evidence
    assert seen is not None
    assert (seen.host, seen.dimension, seen.threshold, seen.quantile) == ("h1", "cpu", 0.8, 0.8)
    assert len(seen.times) == len(seen.median) == len(seen.upper) == len(seen.upper_after) == 30
    assert seen.times[0] == 1.0
    assert max(seen.upper) > 0.8 > max(seen.upper_after)
    crossing = next(t for t, v in zip(seen.times, seen.upper, strict=True) if v > 0.8)
    assert seen.lead == pytest.approx(crossing)
    assert action.reason.code == "RELIEVES"
    assert action.undo == "move kv-1 back to h1"


def test_long_curves_are_thinned_to_sixty_points() -> None:
    small = rising(policy=Policy(horizon=600.0))
    small.steps = 300
    seen = plan(small).actions[0].evidence
    assert seen is not None
    assert len(seen.times) == 60
    assert seen.times[-1] == 599.0


def test_the_latest_start_leaves_time_for_transfer_and_margin() -> None:
    """S3.7: contention - transfer estimate - margin."""
    action = plan(rising(), transfer=TransferModel(bytes_per_s=1e6, fixed_s=3.0)).actions[0]
    assert action.transfer_s == 13.0
    assert action.freeze_ms == 10250.0
    assert action.evidence is not None
    assert action.latest_start == action.evidence.starts_at - 13.0 - 5.0


def test_soon_and_sure_is_more_urgent_than_late() -> None:
    late = plan(rising()).actions[0].priority
    small = rising()
    small.shards[0].cpu = (1.6, 1.7)
    small.shards[1].cpu = (2.0, 2.0)
    assert plan(small).actions[0].priority == 1 < late


def test_the_best_rejected_destinations_are_shown_with_coded_reasons() -> None:
    hosts = (
        HostIn("h2"),
        HostIn("h3", own_cpu=1.0),
        HostIn("h4", cpu=1.0),
        HostIn("h5", state=HostState.CORDONED),
        HostIn("h6", state=HostState.SUSPECT),
    )
    rejected = plan(rising(*hosts)).actions[0].alternatives
    assert [(a.destination, a.reason.code) for a in rejected] == [
        ("h3", "HOTTER"),
        ("h4", "NO_ROOM"),
        ("h5", "CORDONED"),
    ]
    assert rejected[0].peak == pytest.approx((1.0 + 1.7) / 4)


def test_the_outlook_holds_every_touched_and_hot_host() -> None:
    made = plan(rising())
    assert [(o.host, o.dimension) for o in made.outlook] == [
        (host, dimension) for host in ("h1", "h2") for dimension in ("cpu", "memory")
    ]
    assert made.outlook[0].probability_before > 0.99 > 0.01 > made.outlook[0].probability_after


def test_the_plan_without_the_forecast_is_told_apart() -> None:
    """Lesson 4: the forecast has an effect that can be seen."""
    assert plan(rising()).without_forecast == "from present load alone: no move"
    small = rising()
    small.shards[0].cpu, small.shards[1].cpu = (1.7, 1.7), (2.0, 2.0)
    assert plan(small).without_forecast == "from present load alone: the same moves"
    small.shards[0].cpu = (1.7, 0.2)
    small.shards[1].cpu = (2.0, 3.5)
    small.hosts[1].cpu = 8.0
    assert moves(plan(small)) == [("kv-2", "h1", "h2")]
    assert "moves kv-1 to h2" in plan(small).without_forecast


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
        [HostIn("h1"), HostIn("h2"), HostIn("h3", own_cpu=1.0)],
        [
            ShardIn("r-1", "h1", (0.5, 3.5), app="r", avoid=("r",)),
            ShardIn("r-2", "h2", 0.1, app="r", avoid=("r",)),
            ShardIn("r-3", "h2", 0.1, app="r", avoid=("r",)),
        ],
    )
    small.policy = Policy(threshold_cpu=0.8)
    small.hosts[2].cpu = 8.0
    assert moves(plan(small)) == [("r-1", "h1", "h3")]


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
    owners = {**placement.owners, placement_key(placement, "kv-1"): Owner(small.spec().hosts[1].name, 9)}
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


def placement_key(placement: Placement, name: str):  # type: ignore[no-untyped-def]
    return next(key for key in placement.owners if key == name)


def test_the_basis_notices_a_move_that_the_plan_did_not_know() -> None:
    """Lesson 1: what was approved is compared with the world before it runs."""
    small = rising()
    made = plan(small)
    key = placement_key(small.placement(), "kv-1")
    moved = small.placement().move(key, small.spec().hosts[2].name, expected_token=1)
    lines = made.basis.differences(basis_now(made, small.snapshot(), moved))
    assert any("kv-1" in line for line in lines)


def noisy(small: Small, seed: int) -> Small:
    factors = np.random.default_rng(seed).normal(1, 0.02, len(small.shards))
    ends = [np.broadcast_to(s.cpu, 2) * factor for s, factor in zip(small.shards, factors, strict=True)]
    shards = [replace(s, cpu=(float(a), float(b))) for s, (a, b) in zip(small.shards, ends, strict=True)]
    return Small(small.hosts, shards, small.policy)


def test_a_plan_survives_noise_in_the_forecast() -> None:
    """Research 6: a fresh plan may choose among near equals anew; the shown one is kept."""
    small = Small(
        [HostIn(f"h{i}") for i in range(1, 7)],
        [
            *(ShardIn(f"kv-{i}", "h1", (0.5, 1.0), sd=0.02, state=10e6 + 1e5 * i) for i in range(4)),
            *(ShardIn(f"web-{i}", f"h{i}", 0.8, sd=0.02) for i in range(2, 7)),
        ],
    )
    made = plan(small)
    fresh = [moves(plan(noisy(small, seed))) for seed in range(8)]
    kept = [moves(plan(noisy(small, seed), previous=made)) for seed in range(8)]
    assert any(other != moves(made) for other in fresh)
    assert all(other == moves(made) for other in kept)


def test_a_plan_that_no_longer_solves_the_problem_is_replaced() -> None:
    small = rising()
    made = plan(small)
    small.hosts[1].state = HostState.CORDONED
    assert moves(plan(small, previous=made)) == [("kv-1", "h1", "h3")]


def test_a_plan_that_became_much_dearer_than_another_is_replaced() -> None:
    small = rising()
    made = plan(small)
    small.shards[0].state = 200e6
    assert moves(plan(small, previous=made)) == [("kv-2", "h1", "h2")]


def test_an_empty_fleet_is_no_plan() -> None:
    assert codes(refusal(Small([], []))) == ["NO_CONTENTION"]
    assert codes(refusal(Small([HostIn("h1")], []))) == ["NO_CONTENTION"]


def test_a_shard_without_a_forecast_stays_and_a_host_without_one_receives_nothing() -> None:
    small = rising()
    forecast = small.forecast()
    forecast.shard_mean[0] = np.nan
    forecast.hosts[1] = np.nan
    made = propose(
        small.snapshot(), forecast, small.policy, small.placement(), fleet=small.spec(), number=1, created=NOW
    )
    assert isinstance(made, Plan)
    assert moves(made) == [("kv-2", "h1", "h3")]
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan) == made


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("probability", [0.005, 0.2, 0.5, 0.99])
def test_any_policy_that_can_be_declared_ends_in_an_answer(quantile: float, probability: float) -> None:
    small = rising(policy=Policy(quantile=quantile, min_probability=probability))
    for shard in small.shards:
        shard.sd = 0.05
    made = answer(small)
    if isinstance(made, Plan):
        assert all(o.probability_after < max(probability, 0.02) for o in made.outlook)


def test_many_small_shards_are_covered_by_few_cheap_ones() -> None:
    """Beyond exact search: thirty shards on the hot host, one of which is big and cheap to move."""
    crowd = [ShardIn(f"kv-{i:02}", "h1", (0.05, 0.1), state=50e6) for i in range(30)]
    small = Small([HostIn("h1"), HostIn("h2")], [*crowd, ShardIn("web-1", "h1", (0.3, 0.9), state=60e6)])
    assert moves(plan(small)) == [("web-1", "h1", "h2")]


def test_a_cover_larger_than_the_churn_budget_is_refused_by_name() -> None:
    crowd = [ShardIn(f"kv-{i:02}", "h1", (0.05, 0.1), state=50e6) for i in range(30)]
    small = Small([HostIn("h1"), HostIn("h2")], [*crowd, ShardIn("web-1", "h1", (0.3, 1.15), pinned=True)])
    assert codes(refusal(small)) == ["CHURN"]
    small.policy = Policy(max_moves=12, min_duration=2.0)
    assert len(plan(small).actions) == 10


def test_fewer_bytes_come_before_fewer_moves() -> None:
    """S2.7: two light shards rather than either of the heavy ones that would do alone."""
    small = Small(
        [HostIn("h1"), HostIn("h2")],
        [
            ShardIn("heavy-1", "h1", (0.5, 1.0), state=50e6),
            ShardIn("heavy-2", "h1", (0.5, 1.0), state=60e6),
            ShardIn("light-1", "h1", (0.3, 0.45), state=10e6),
            ShardIn("light-2", "h1", (0.3, 0.45), state=10e6),
            ShardIn("fixed", "h1", 1.0, pinned=True),
        ],
    )
    assert {shard for shard, _, _ in moves(plan(small))} == {"light-1", "light-2"}
    small.shards[0].state = 20e6
    assert [shard for shard, _, _ in moves(plan(small))] == ["heavy-1"]
