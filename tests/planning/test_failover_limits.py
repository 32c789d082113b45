"""What of a lost host is planned elsewhere, beside what, and on which numbers (S2.21, lessons 10 and 11)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from asked import codes
from msgspec.structs import replace as with_fields
from small_fleets import NOW, HostIn, ShardIn, Small

from sidestep.fleet.inventory import FailoverSpec, Policy
from sidestep.fleet.machines import HostState
from sidestep.fleet.plans import NoPlan, Plan
from sidestep.planning import propose

POLICY = Policy(kinds=("migrate", "failover"), max_moves=2)


def fleet(shards: int = 5, hosts: int = 6, *more: ShardIn) -> Small:
    """The first host is DEAD and holds the shards kv-*."""
    return Small(
        [HostIn(f"h{n}", state=HostState.DEAD if n == 0 else HostState.READY) for n in range(hosts)],
        [*(ShardIn(f"kv-{n}", "h0", 0.1, app=f"a{n}") for n in range(shards)), *more],
        POLICY,
    )


def ask(
    small: Small,
    *,
    lost: tuple[int, ...] | None = None,
    stays: dict[int, str] | None = None,
    failover: FailoverSpec | None = None,
    unknown: tuple[int, ...] = (),
    **more: Any,
) -> Plan | NoPlan:
    """``lost`` rows of hosts are given up, shards in ``stays`` stay, the demand of ``unknown`` is not known."""
    snapshot, forecast, spec = small.snapshot(), small.forecast(), small.spec()
    if lost is not None:
        marks = np.isin(np.arange(len(small.hosts)), lost)
        snapshot = replace(snapshot, hosts=replace(snapshot.hosts, lost=marks))
    if stays:
        snapshot = replace(snapshot, shards=replace(snapshot.shards, stays=stays))
    if unknown:
        mean = np.array(forecast.shard_mean)
        mean[list(unknown)] = np.nan
        forecast = replace(forecast, shard_mean=mean)
    if failover is not None:
        spec = with_fields(spec, failover=failover)
    return propose(snapshot, forecast, small.policy, small.placement(), fleet=spec, number=3, created=NOW + 1, **more)


def saved(made: Plan | NoPlan) -> list[str]:
    assert isinstance(made, Plan), made
    return sorted(a.shard for a in made.actions if a.kind == "failover")


def test_every_shard_of_a_lost_host_is_in_one_plan_whatever_the_churn_budget() -> None:
    """Who is down does not wait for a budget that protects who is up."""
    made = ask(fleet())
    assert saved(made) == [f"kv-{n}" for n in range(5)]
    assert isinstance(made, Plan)
    assert all((a.priority, a.earliest, a.latest_start, a.freeze_ms) == (1, 0.0, 0.0, 0.0) for a in made.actions)


def test_a_host_that_is_dead_and_not_given_up_is_waited_for() -> None:
    assert isinstance(ask(fleet(), lost=()), NoPlan)
    assert len(saved(ask(fleet(), lost=(0,)))) == 5


def test_shards_that_stay_are_left_out_and_the_others_are_saved() -> None:
    made = ask(fleet(), stays={0: "WAITS", 3: "NO_CAPSULE", 4: "POISONED"})
    assert saved(made) == ["kv-1", "kv-2"]


@pytest.mark.parametrize("word", ["busy", "settling"])
def test_a_shard_that_moves_or_settles_is_left_out(word: str) -> None:
    """One that a failover has just failed for is not tried again at once."""
    made = ask(fleet(), **{word: frozenset({"kv-2"})})
    assert "kv-2" not in saved(made) and len(saved(made)) == 4


def test_contention_elsewhere_waits_until_the_lost_shards_are_saved() -> None:
    hot = fleet(1, 6, ShardIn("hot-1", "h1", (2.0, 3.9)), ShardIn("hot-2", "h1", 0.05))
    made = ask(hot)
    assert isinstance(made, Plan)
    assert {a.reason.code for a in made.actions} == {"FAILS_OVER"}


@pytest.mark.parametrize(("spec", "braked"), [
    (FailoverSpec(brake_hosts=10, brake_share=0.4), False),
    (FailoverSpec(brake_hosts=1, brake_share=0.9), True),
    (FailoverSpec(brake_hosts=10, brake_share=0.2), True),
])  # fmt: skip
def test_the_brake_is_the_fleets_and_counts_hosts_that_are_not_given_up_yet(spec: FailoverSpec, braked: bool) -> None:
    """Lesson 10: two of six are DEAD, one of them lost."""
    small = fleet()
    small.hosts[1].state = HostState.DEAD
    made = ask(small, lost=(0,), failover=spec)
    if braked:
        assert isinstance(made, NoPlan) and "BRAKE" in codes(made)
    else:
        assert len(saved(made)) == 5


def test_a_shard_whose_demand_is_not_known_any_more_needs_what_it_is_guaranteed() -> None:
    """It is taken for nothing nowhere: h1 has no room for its guarantee, h2 has."""
    small = fleet(1, 3)
    small.hosts[1].own_cpu, small.shards[0].guarantee_cpu = 2.5, 1.5
    made = ask(small, unknown=(0,))
    assert isinstance(made, Plan)
    assert [(a.shard, a.destination) for a in made.actions] == [("kv-0", "h2")]
    small.hosts[2].own_cpu = 2.5
    assert isinstance(ask(small, unknown=(0,)), NoPlan)


def test_a_plan_that_was_shown_is_kept_while_it_is_good() -> None:
    first = ask(fleet())
    assert isinstance(first, Plan)
    again = ask(fleet(), previous=first)
    assert isinstance(again, Plan)
    assert [(a.shard, a.destination) for a in again.actions] == [(a.shard, a.destination) for a in first.actions]


def test_nothing_is_placed_on_a_host_in_quarantine_and_its_own_shards_may_leave() -> None:
    small = fleet(1, 3)
    small.hosts[1].state = HostState.QUARANTINED
    made = ask(small)
    assert isinstance(made, Plan) and made.actions[0].destination == "h2"
    small.hosts[2].state = HostState.CORDONED
    assert isinstance(ask(small), NoPlan)
