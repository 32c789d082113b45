"""What the planner proposes, and how it says why."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from asked import answer, codes, moves, plan, refusal, rising
from small_fleets import NOW, HostIn, ShardIn, Small

from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.plans import Plan
from sidestep.planning import TransferModel, basis_now, propose


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


def test_the_basis_notices_a_move_that_the_plan_did_not_know() -> None:
    """Lesson 1: what was approved is compared with the world before it runs."""
    small = rising()
    made = plan(small)
    moved = small.placement().move(Label("kv-1"), small.spec().hosts[2].name, expected_token=1)
    lines = made.basis.differences(basis_now(made, small.snapshot(), moved))
    assert any("kv-1" in line for line in lines)


def noisy(small: Small, seed: int) -> Small:
    factors = np.random.default_rng(seed).normal(1, 0.02, len(small.shards))
    ends = [np.broadcast_to(s.cpu, 2) * factor for s, factor in zip(small.shards, factors, strict=True)]
    shards = [replace(s, cpu=(float(a), float(b))) for s, (a, b) in zip(small.shards, ends, strict=True)]
    return Small(small.hosts, shards, small.policy)


def test_a_plan_survives_noise_in_the_forecast() -> None:
    """A fresh plan may choose among near equals anew; the shown one is kept."""
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
    small = rising(policy=Policy(prefer="bytes"))
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


def test_the_policy_prefers_fewer_moves_or_fewer_bytes() -> None:
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
    assert [shard for shard, _, _ in moves(plan(small))] == ["heavy-1"]
    small.policy = Policy(prefer="bytes")
    assert {shard for shard, _, _ in moves(plan(small))} == {"light-1", "light-2"}
    small.shards[0].state = 20e6
    assert [shard for shard, _, _ in moves(plan(small))] == ["heavy-1"]
