"""Every level of aggressiveness shows in what is proposed (lesson 4: no knob without an effect)."""

from __future__ import annotations

import pytest
from small_fleets import NOW, HostIn, ShardIn, Small

from sidestep.fleet.contention import foresee
from sidestep.fleet.inventory import Policy
from sidestep.fleet.plans import NoPlan, Plan
from sidestep.fleet.policies import effective, least_priority
from sidestep.planning.build import build
from sidestep.planning.planner import propose
from sidestep.planning.urgency import urgent


def proposed(small: Small, level: int) -> Plan | NoPlan:
    policy = Policy(aggressiveness=level)
    return propose(
        small.snapshot(), small.forecast(), policy, small.placement(),
        fleet=small.spec(), number=1, created=NOW,
    )  # fmt: skip


def risky(peak: float, start: float | None = None) -> Small:
    """A host of which one shard grows to ``peak`` cores, give or take a quarter; another host is free."""
    shards = [
        ShardIn("a", "h1", cpu=(peak if start is None else start, peak), sd=0.25),
        ShardIn("b", "h1", cpu=1.5, pinned=True),
    ]
    return Small([HostIn("h1"), HostIn("h2", cpu=16.0)], shards)


@pytest.mark.parametrize(
    ("peak", "levels"),
    [(2.6, {1, 2, 3, 4, 5}), (2.05, {2, 3, 4, 5}), (1.76, {3, 4, 5}), (1.68, {4, 5}), (1.6, {5}), (1.2, set())],
)
def test_the_bolder_a_policy_is_the_less_likely_contention_may_be(peak: float, levels: set[int]) -> None:
    """As long as there is time: what is imminent is in ``test_last_chances``."""
    small = risky(peak, peak - 0.5)
    sure = Policy(min_probability=0.001)
    chances = [c.probability for c in foresee(small.snapshot(), small.forecast(), sure).contention]
    asked = {level: effective(Policy(aggressiveness=level)).min_probability for level in range(1, 6)}
    assert {level for level in asked if chances and chances[0] >= asked[level]} == levels, chances
    assert {level for level in asked if isinstance(proposed(small, level), Plan)} == levels


def test_the_bolder_a_policy_is_the_less_a_move_must_gain() -> None:
    """Lesson 6: at the usual level nothing moves for a gain of one percent."""
    for gain, levels in ((0.06, {2, 3, 4, 5}), (0.03, {3, 4, 5}), (0.015, {4, 5}), (0.005, {5})):
        # just above the limit of 3.2 cores; all that can move is a small shard
        shards = [ShardIn("a", "h1", cpu=4 * gain), ShardIn("b", "h1", cpu=3.201 - 4 * gain, pinned=True)]
        small = Small([HostIn("h1"), HostIn("h2")], shards)
        assert {level for level in range(1, 6) if isinstance(proposed(small, level), Plan)} == levels, gain


def left_for_later(level: int, peak: float) -> dict[str, str]:
    """What of a fleet with a broken rule and one contention is not urgent enough, by host."""
    small = risky(peak, 0.2)
    small.shards += [ShardIn("c", "h2", avoid=("d",)), ShardIn("d", "h2")]
    small.policy = Policy(aggressiveness=level)
    acting = effective(small.policy)
    made = build(small.snapshot(), small.forecast(), acting, small.placement(), small.spec())
    assert {duty.kind for duty in made.duties} == {"rule", "contention"}
    rest, spared = urgent(made, least_priority(small.policy))
    assert [duty for duty in rest.duties if duty.kind == "rule"] == [
        duty for duty in made.duties if duty.kind == "rule"
    ]
    assert len(rest.duties) == len(made.duties) - len(spared)
    return {host: reason.code for host, reason in spared.items()}


def test_the_lower_levels_leave_what_is_doubtful_or_far_away_with_the_reason() -> None:
    """Nearly sure but not soon is priority 2; likely and far away is priority 4."""
    assert [left_for_later(level, 2.6) for level in range(1, 6)] == [{"h1": "NOT_URGENT"}, {}, {}, {}, {}]
    assert [left_for_later(level, 2.05) for level in range(2, 6)] == [{"h1": "NOT_URGENT"}, {}, {}, {}]


def test_a_plan_or_its_absence_says_what_is_not_urgent_enough() -> None:
    small = risky(2.6, 0.2)
    none = proposed(small, 1)
    assert isinstance(none, NoPlan) and [reason.code for reason in none.reasons] == ["NOT_URGENT"]
    assert "priority 2, and the policy's aggressiveness acts on 1" in none.reasons[0].text
    assert isinstance(proposed(small, 2), Plan)
    small.shards += [ShardIn("c", "h2", avoid=("d",)), ShardIn("d", "h2")]
    plan = proposed(small, 1)
    assert isinstance(plan, Plan) and [action.reason.code for action in plan.actions] == ["REPAIRS"]
    assert [reason.code for reason in plan.left] == ["NOT_URGENT"]
