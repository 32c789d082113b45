"""What is left of a host's uncertainty when shards leave and arrive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_fleets import HostIn, ShardIn, Small

from sidestep.planning.build import build
from sidestep.planning.curves import quantiles
from sidestep.planning.model import Move, State
from sidestep.planning.uncertainty import arriving, combined, deviation_after, share_left

sds = st.lists(st.floats(0.01, 5.0), min_size=1, max_size=6)
rhos = st.floats(0.0, 1.0)


def spread(sd: list[float], rho: float) -> float:
    values = np.array(sd)
    return float(combined(np.array((values**2).sum()), np.array(values.sum()), rho))


@given(sds, rhos)
def test_a_sum_lies_between_independence_and_lockstep(sd: list[float], rho: float) -> None:
    independent, lockstep = sum(s**2 for s in sd), sum(sd) ** 2
    assert independent * (1 - 1e-9) <= spread(sd, rho) <= lockstep * (1 + 1e-9)


@given(sds, sds, rhos)
def test_arrivals_add_exactly_what_the_whole_sum_grows_by(there: list[float], coming: list[float], rho: float) -> None:
    come = np.array(coming)
    added = arriving(np.array((come**2).sum()), np.array(come.sum()), np.array(sum(there)), rho)
    assert spread(there + coming, rho) == pytest.approx(spread(there, rho) + float(added))


@given(st.floats(0, 10), st.floats(0.1, 3))
def test_nothing_changed_is_exactly_the_oracles_number(away: float, z: float) -> None:
    after = deviation_after(np.array([away]), z, share_left(np.array([2.0]), np.array([2.0])), np.zeros(1))
    assert after[0] == pytest.approx(away, rel=1e-12)


def test_a_host_without_shards_keeps_its_own_spread() -> None:
    assert share_left(np.array([0.0]), np.array([0.0]))[0] == 1.0


def test_the_lower_quantiles_widen_downwards() -> None:
    after = deviation_after(np.array([-0.5, 0.5]), np.array([-1.0, 1.0]), np.ones(2), np.full(2, 0.75))
    assert after == pytest.approx([-1.0, 1.0])


def test_leaving_and_arriving_give_the_oracles_forecast_of_the_new_placement() -> None:
    """A host's forecast after a move equals that of a fleet where the shard was there all along."""
    shards = [ShardIn("a", "h1", 0.8, sd=0.2), ShardIn("b", "h1", 0.5, sd=0.1), ShardIn("c", "h2", 0.4, sd=0.3)]
    before = Small([HostIn("h1"), HostIn("h2")], shards)
    moved = Small(before.hosts, [ShardIn("a", "h2", 0.8, sd=0.2), *shards[1:]])
    built = build(before.snapshot(), before.forecast(), before.policy, before.placement(), before.spec())
    state = State(built.problem, (Move(0, 0, 1, 0),))
    for host in (0, 1):
        assert quantiles(built, state, host) == pytest.approx(moved.forecast().hosts[host], rel=1e-5, abs=1e-5)
