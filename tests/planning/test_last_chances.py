"""Contention that only a move made now could still prevent, and how much room a plan of as few moves leaves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from asked import answer, moves, plan
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fleets import GIB, HostIn, ShardIn, Small

from sidestep.fleet.contention import foresee
from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import NoPlan, Plan
from sidestep.planning import propose
from sidestep.planning.load import foreseen


def doubtful(end: float = 3.0, *, state: float = 0.01 * GIB, policy: Policy | None = None) -> Small:
    """Two of four cores, and in a minute ``end``; the limit is 3.2, and the deviation 0.4."""
    shards = [ShardIn(name, "h1", (1.0, end / 2), sd=0.25, state=state) for name in ("kv-1", "kv-2")]
    return Small([HostIn("h1"), HostIn("h2")], shards, policy or Policy())


def test_unlikely_contention_waits_for_a_surer_forecast_until_it_would_be_too_late() -> None:
    """S3.14: with 3.0 of 3.2 cores at the median it is unlikely, and it is far away or near."""
    far, near = doubtful(), doubtful()
    near.shards = [dataclasses.replace(shard, cpu=1.5) for shard in near.shards]
    assert isinstance(answer(far), NoPlan)
    made = plan(near)
    assert {(a.source, a.destination) for a in made.actions} == {("h1", "h2")}
    seen = made.actions[0].evidence
    assert seen is not None and 0.2 <= seen.probability < near.policy.min_probability
    assert made.actions[0].priority == 4


def test_a_larger_state_has_its_last_chance_earlier() -> None:
    """S3.7: contention - transfer estimate - margin."""
    light, heavy = doubtful(), doubtful(state=2.0 * GIB)
    assert isinstance(answer(light), NoPlan)
    assert isinstance(answer(heavy), Plan)


def test_without_a_forecast_of_what_comes_nothing_is_imminent() -> None:
    """S5.22: how far demand strayed lately is no foresight."""
    small = doubtful()
    small.shards = [dataclasses.replace(shard, cpu=1.5) for shard in small.shards]
    forecast = dataclasses.replace(small.forecast(), fallback=Label("oracle disabled"))
    found = foreseen(small.snapshot(), forecast, small.policy)
    assert found.contention == found.imminent == ()
    unlikely = np.full(forecast.hosts.shape[:2], 0.1, np.float32)
    forecast = dataclasses.replace(small.forecast(), chance=unlikely)
    assert foreseen(small.snapshot(), forecast, small.policy).imminent == ()


def test_who_acts_only_on_what_is_likely_leaves_imminent_contention() -> None:
    small = doubtful(policy=Policy(aggressiveness=2))
    small.shards = [dataclasses.replace(shard, cpu=1.5) for shard in small.shards]
    made = answer(small)
    assert isinstance(made, NoPlan)
    assert [reason.code for reason in made.reasons] == ["NOT_URGENT"]


@given(
    st.lists(st.floats(1.0, 2.0), min_size=2, max_size=2),
    st.floats(0.0, 0.5),
    st.floats(0.5, 0.95),
    st.floats(0.0, 90.0),
)
@settings(deadline=None, max_examples=60)
def test_what_is_imminent_is_hot_at_the_strict_quantile_and_in_time(
    ends: list[float], sd: float, quantile: float, notice: float
) -> None:
    """Nothing counts twice, none is so unlikely that no plan could relieve it, and none is later than the notice."""
    small = Small([HostIn("h1")], [ShardIn(f"kv-{k}", "h1", (1.2, end), sd=sd) for k, end in enumerate(ends)])
    small.policy = Policy(quantile=quantile)
    snapshot, forecast = small.snapshot(), small.forecast()
    seconds = np.full(1, notice)
    found = foresee(snapshot, forecast, small.policy, seconds)
    assert found.contention == foresee(snapshot, forecast, small.policy).contention
    level = forecast.hosts[0, 0, :, :].astype(np.float64)
    upper = np.array([np.interp(quantile, LEVELS, step) for step in level])
    above = upper > 3.2
    runs = [at for at in range(len(above) - 2) if above[at : at + 3].all() and at < 1 + np.ceil(notice / 2.0 - 1e-9)]
    likely = any(item.dimension == "cpu" for item in found.contention)
    assert [item.lead for item in found.imminent] == ([2.0 * (runs[0] + 1)] if runs and not likely else [])


def test_of_as_few_moves_the_plan_leaves_most_room() -> None:
    """S1.13: both shards relieve h1 at the policy's quantile; without the one that strays it stays calm."""
    steady = ShardIn("kv-1", "h1", (1.0, 1.7), sd=0.02, state=1e6)
    stray = ShardIn("kv-2", "h1", (1.0, 1.7), sd=0.5, state=9e6)
    small = Small([HostIn("h1"), HostIn("h2"), HostIn("h3", own_cpu=1.0)], [steady, stray, ShardIn("kv-3", "h1", 0.7)])
    assert moves(plan(small)) == [("kv-2", "h1", "h2")]
    small.policy = Policy(prefer="bytes")
    assert moves(plan(small)) == [("kv-1", "h1", "h2")]


@pytest.mark.parametrize("seed", range(12))
def test_more_room_costs_no_move_more_and_is_feasible_at_the_policys_quantile(seed: int) -> None:
    """The same hosts as with a policy of which the quantile is the highest there is: then nothing is stricter."""
    random = np.random.default_rng(seed)
    shards = [
        ShardIn(f"kv-{k}", f"h{1 + k % 3}", (float(random.uniform(0.4, 0.9)), float(random.uniform(0.5, 1.4))),
                sd=float(random.uniform(0.0, 0.2)), state=float(random.uniform(1e6, 1e9)))
        for k in range(9)
    ]  # fmt: skip
    small = Small([HostIn("h1"), HostIn("h2"), HostIn("h3"), HostIn("h4"), HostIn("h5")], shards)
    made = answer(small)
    if isinstance(made, NoPlan):
        assert {reason.code for reason in made.reasons} == {"NO_CONTENTION"}
        return
    for outlook in made.outlook:
        relieved = outlook.peak_after <= 0.8 + 1e-4 if outlook.dimension == "cpu" else True
        assert relieved or outlook.host in {str(reason.text).split()[0] for reason in made.left}
    assert made.proof is not None and len({a.shard for a in made.actions}) == made.proof.moves
    assert propose(
        small.snapshot(), small.forecast(), small.policy, small.placement(), fleet=small.spec(), number=3,
        created=made.created,
    ) == made  # fmt: skip
