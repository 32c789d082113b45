"""Planning on calibrated chances: room is made for what is expected, with the correlation that was measured."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fleets import NOW, HostIn, ShardIn, Small

from sidestep.fleet.contention import exceedance, foresee, sustained
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.plans import NoPlan, Plan
from sidestep.fleet.resources import HOST_SERIES
from sidestep.planning import propose
from sidestep.planning.load import read


def calm() -> Small:
    """Two hosts of four cores; the first is at 60 %, below its threshold of 80 %."""
    shards = [ShardIn(f"kv-{at}", "h1", 0.6, sd=0.05) for at in range(4)]
    return Small([HostIn("h1"), HostIn("h2")], shards)


def with_chance(forecast: Forecast, chance: float) -> Forecast:
    """The first host's cpu has that calibrated chance of contention."""
    chances = np.full(forecast.hosts.shape[:2], np.nan, np.float32)
    chances[0, 0] = chance
    return dataclasses.replace(forecast, chance=chances)


def asked(small: Small, forecast: Forecast) -> Plan | NoPlan:
    return propose(
        small.snapshot(), forecast, small.policy, small.placement(), fleet=small.spec(), number=1, created=NOW + 1
    )


def test_contention_that_only_the_calibrated_chance_sees_is_planned_for() -> None:
    """S3.14: unproven too: advise proposes, a person decides."""
    small = calm()
    assert isinstance(asked(small, small.forecast()), NoPlan)
    made = asked(small, with_chance(small.forecast(), 0.8))
    assert isinstance(made, Plan)
    assert {(a.source, a.destination) for a in made.actions} == {("h1", "h2")}
    evidence = made.actions[0].evidence
    assert evidence is not None and evidence.probability == pytest.approx(0.8)
    assert max(evidence.upper_after) < 0.8 <= max(evidence.upper) + 1e-3


@given(st.floats(0.51, 0.99))
@settings(deadline=None, max_examples=25)
def test_demand_is_raised_to_what_the_chance_says(chance: float) -> None:
    small = calm()
    snapshot, forecast = small.snapshot(), with_chance(small.forecast(), chance)
    load = read(snapshot, forecast, small.policy)
    said = sustained(exceedance(load.quantiles, load.limit), load.duration)
    assert said[0, 0] == pytest.approx(min(chance, 1 - LEVELS[0]), abs=0.03)
    np.testing.assert_array_equal(load.quantiles[1], forecast.hosts[1])
    np.testing.assert_array_equal(load.quantiles[0, 1], forecast.hosts[0, 1])


@pytest.mark.parametrize("chance", [0.0, 0.1, math.nan])
def test_demand_is_never_lowered_nor_raised_for_a_small_chance(chance: float) -> None:
    small = calm()
    forecast = with_chance(small.forecast(), chance)
    np.testing.assert_array_equal(read(small.snapshot(), forecast, small.policy).quantiles, forecast.hosts)


def test_a_host_that_may_run_hot_is_no_destination_though_its_quantiles_are_low() -> None:
    small = Small(
        [HostIn("h1"), HostIn("h2")], [*(ShardIn(f"a-{at}", "h1", 0.9) for at in range(4)), ShardIn("b", "h2", 0.2)]
    )
    free = asked(small, small.forecast())
    assert isinstance(free, Plan)
    chances = np.full((2, 2), np.nan, np.float32)
    chances[1, 0] = 0.4
    assert isinstance(asked(small, dataclasses.replace(small.forecast(), chance=chances)), NoPlan)


def test_pressure_alone_is_shown_and_moves_nothing() -> None:
    small = calm()
    forecast = small.forecast()
    values = np.zeros((2, len(HOST_SERIES), 2, len(LEVELS)), np.float32)
    values[:, 3:] = 95.0
    forecast = dataclasses.replace(forecast, knots=(1, forecast.steps), host_knots=values)
    assert {c.cause for c in foresee(small.snapshot(), forecast, small.policy).contention} == {"pressure"}
    assert read(small.snapshot(), forecast, small.policy).contentions == ()
    assert isinstance(asked(small, forecast), NoPlan)


@pytest.mark.parametrize(("measured", "expected"), [(math.nan, 0.3), (0.7, 0.7), (0.0, 0.0)])
def test_the_measured_correlation_replaces_the_policys(measured: float, expected: float) -> None:
    small = calm()
    forecast = dataclasses.replace(small.forecast(), rho=measured)
    load = read(small.snapshot(), forecast, small.policy)
    assert small.policy.common_factor == 0.3
    assert load.rho == expected
    sums = (1 - expected) * load.variance + expected * load.deviation**2
    np.testing.assert_allclose(load.spread, sums)
