"""Contention from what the oracle has calibrated, from pressure, and from what is measured."""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.fleet.contention import (
    PRESSURES,
    actionable,
    foresee,
    likeliest,
    pressure_thresholds,
    threshold_of,
)
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.resources import DIMENSIONS, HOST_SERIES
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot

POLICY = Policy(horizon=10, min_duration=3, threshold_cpu=0.8, min_probability=0.5, quantile=0.8)
NORMAL = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
KNOTS = (1, 4, 10)
STEPS = 10


def world(cpu: float = 0.5, hosts: int = 1, use: float = 0.5) -> tuple[Snapshot, Forecast]:
    """Hosts of one core with that cpu demand, give or take 0.02, and hardly any memory or pressure."""
    names = tuple(Label(f"h{at}") for at in range(hosts))
    room = np.full((hosts, len(DIMENSIONS)), np.nan)
    room[:, :2] = 1.0
    used = np.zeros((hosts, len(DIMENSIONS)))
    used[:, 0] = use
    columns = HostColumns(
        names=names, states=(HostState.READY,) * hosts, reasons=(Label(""),) * hosts, zones=(Label(""),) * hosts,
        capacity=room.copy(), allocatable=room, use=used, pressure=np.zeros((hosts, 3)), age=np.zeros(hosts),
    )  # fmt: skip
    nobody = np.zeros(0)
    shards = ShardColumns(
        names=(), apps=(), states=(), host=nobody.astype(np.int32), use=np.zeros((0, len(DIMENSIONS))),
        state_bytes=nobody, priority=nobody.astype(np.int32), token=nobody.astype(np.int64),
        movable=nobody.astype(bool),
    )  # fmt: skip
    centre = np.zeros((hosts, 2, STEPS, 1)) + 0.1
    centre[:, 0] = cpu
    none = np.zeros((0, 2, STEPS), np.float32)
    forecast = Forecast(
        id="f", snapshot=1, time=1000.0, step=1.0, model=Label("m"), confidence="ok", fallback=Label(""),
        hosts=(centre + 0.02 * NORMAL).astype(np.float32), shard_mean=none, shard_sd=none,
    )  # fmt: skip
    return Snapshot(number=1, time=1000.0, generation=1, hosts=columns, shards=shards), forecast


def with_chance(forecast: Forecast, chance: float, proven: bool = False) -> Forecast:
    """The same forecast with that calibrated chance of every cpu, and none of memory."""
    hosts = len(forecast.hosts)
    chances = np.full((hosts, 2), np.nan, np.float32)
    chances[:, 0] = chance
    return dataclasses.replace(forecast, chance=chances, proven=np.full((hosts, 2), proven))


def with_pressure(forecast: Forecast, kind: str, percent: tuple[float, float, float], sd: float = 1.0) -> Forecast:
    """The same with a pressure at the knots, in percent."""
    values = np.zeros((len(forecast.hosts), len(HOST_SERIES), len(KNOTS), len(LEVELS)), np.float32)
    values[:, HOST_SERIES.index(kind)] = np.array(percent)[:, None] + sd * NORMAL
    return dataclasses.replace(forecast, knots=KNOTS, host_knots=values)


def test_the_calibrated_chance_decides_where_there_is_one() -> None:
    """S5.6 S3.14"""
    snapshot, forecast = world(cpu=0.5)
    assert foresee(snapshot, forecast, POLICY).contention == ()
    (found,) = foresee(snapshot, with_chance(forecast, 0.7), POLICY).contention
    assert (found.host, found.dimension, found.cause) == ("h0", "cpu", "demand")
    assert found.probability == pytest.approx(0.7)
    assert 1 <= found.lead <= POLICY.horizon and found.starts_at == 1000 + found.lead
    high = world(cpu=0.95)
    assert len(foresee(*high, POLICY).contention) == 1
    assert foresee(high[0], with_chance(high[1], 0.2), POLICY).contention == ()


def test_where_nothing_is_calibrated_the_quantiles_decide() -> None:
    snapshot, forecast = world(cpu=0.95)
    without, plain = (foresee(snapshot, each, POLICY) for each in (with_chance(forecast, math.nan), forecast))
    np.testing.assert_array_equal(without.risk, plain.risk)
    assert without.contention == plain.contention != ()


@given(st.floats(0, 1), st.floats(0.3, 1.2), st.booleans())
@settings(deadline=None, max_examples=40)
def test_risk_and_contention_agree_whoever_says_it(chance: float, cpu: float, proven: bool) -> None:
    snapshot, forecast = world(cpu=cpu, hosts=2)
    risk, contention, _ = foresee(snapshot, with_chance(forecast, chance, proven), POLICY)
    assert [c.probability for c in contention] == [r for r in risk.ravel() if r >= POLICY.min_probability]
    assert all(c.proven == proven for c in contention)


def test_automation_acts_only_on_what_is_proven() -> None:
    """S5.6: until a series shows positive skill, automation above advise ignores its probability."""
    snapshot, forecast = world(cpu=0.95, hosts=2)
    alone = foresee(snapshot, forecast, POLICY).contention
    assert len(alone) == 2 and actionable(alone) == ()
    chances = with_chance(forecast, 0.9)
    mixed = dataclasses.replace(chances, proven=np.array([[True, True], [False, False]]))
    found = foresee(snapshot, mixed, POLICY).contention
    assert [c.host for c in found] == ["h0", "h1"]
    assert [c.host for c in actionable(found)] == ["h0"]


def test_a_proof_is_of_the_calibrated_chance_and_of_no_other() -> None:
    snapshot, forecast = world(cpu=0.95)
    claimed = dataclasses.replace(with_chance(forecast, math.nan), proven=np.ones((1, 2), np.bool_))
    (found,) = foresee(snapshot, claimed, POLICY).contention
    assert not found.proven


def test_the_peak_is_that_of_the_window_where_it_is_forecast() -> None:
    snapshot, forecast = world(cpu=0.9)
    peaks = np.zeros((1, len(HOST_SERIES), 3, len(LEVELS)), np.float32)
    peaks[:, 0] = np.array([0.95, 1.3, 9.0])[:, None]
    forecast = dataclasses.replace(forecast, windows=(2, 10, 40), host_peaks=peaks)
    (found,) = foresee(snapshot, forecast, POLICY).contention
    assert found.peak == pytest.approx(1.3)
    later = dataclasses.replace(forecast, windows=(20, 30, 40))
    assert foresee(snapshot, later, POLICY).contention[0].peak == pytest.approx(0.9 + 0.02 * 0.84, abs=0.01)


@pytest.mark.parametrize(("use", "expected"), [(0.9, 1.0), (0.5, math.nan), (math.nan, math.nan)])
def test_of_what_cannot_be_forecast_only_what_is_measured_counts(use: float, expected: float) -> None:
    """S5.22: reactive where forecastability is low."""
    snapshot, forecast = world(cpu=0.95, use=use)
    reactive = dataclasses.replace(with_chance(forecast, 0.9, proven=True), reactive=np.array([[True, False]]))
    risk, contention, _ = foresee(snapshot, reactive, POLICY)
    assert risk[0, 0] == pytest.approx(expected, nan_ok=True)
    assert [(c.lead, c.proven) for c in contention] == ([(1.0, False)] if expected == 1 else [])


def test_what_is_measured_needs_no_proof() -> None:
    """S5.22: automation acts on a host that is over its limit now and cannot be forecast, and on no guess about it."""
    snapshot, forecast = world(cpu=0.1, hosts=2, use=0.9)
    reactive = dataclasses.replace(forecast, reactive=np.array([[True, False], [False, False]]))
    found = foresee(snapshot, reactive, POLICY).contention
    (fact,) = [c for c in found if c.host == "h0" and c.dimension == "cpu"]
    assert (fact.measured, fact.proven, fact.probability) == (True, False, 1.0)
    assert fact.peak == pytest.approx(0.9), "at least what is measured, whatever is forecast"
    assert actionable(found) == (fact,)
    guessed = dataclasses.replace(with_chance(world(cpu=0.95, hosts=2, use=0.5)[1], 0.9), reactive=reactive.reactive)
    assert actionable(foresee(world(hosts=2, use=0.5)[0], guessed, POLICY).contention) == ()


@pytest.mark.parametrize(("use", "held", "found"), [(0.9, True, True), (0.9, False, False), (0.7, True, False)])
def test_what_has_lasted_above_its_limit_is_contention_whatever_is_forecast(
    use: float, held: bool, found: bool
) -> None:
    """A calibrated chance of a tenth that has proved right is wrong where the host stands above its limit."""
    snapshot, forecast = world(cpu=0.6, use=use)
    sure = dataclasses.replace(forecast, chance=np.full((1, 2), 0.1, np.float32), proven=np.ones((1, 2), bool))
    there = foresee(snapshot, dataclasses.replace(sure, held=np.array([[held, False]])), POLICY)
    assert there.risk[0].tolist() == pytest.approx([1.0 if found else 0.1, 0.1])
    assert [(one.dimension, one.measured, one.lead) for one in there.contention] == [("cpu", True, 1.0)] * found
    assert actionable(there.contention) == there.contention
    assert all(one.peak >= use for one in there.contention)


def test_of_a_dead_host_neither_chance_nor_pressure_is_said() -> None:
    snapshot, forecast = world(cpu=0.95)
    forecast = with_pressure(with_chance(forecast, 0.9), "psi_io", (90, 90, 90))
    dead = dataclasses.replace(snapshot, hosts=dataclasses.replace(snapshot.hosts, states=(HostState.DEAD,)))
    risk, contention, _ = foresee(dead, forecast, POLICY)
    assert np.isnan(risk).all() and contention == ()


@pytest.mark.parametrize("kind", PRESSURES)
def test_predicted_pressure_is_contention_too(kind: str) -> None:
    """S5.6: predicted PSI. It rises from 0 to 72 % between steps 4 and 10 and passes the limit in between."""
    snapshot, forecast = world()
    forecast = with_pressure(forecast, kind, (0, 0, 72))
    (found,) = foresee(snapshot, forecast, POLICY).contention
    assert (found.dimension, found.cause, found.proven) == (kind, "pressure", False)
    assert found.probability > 0.95
    crossing = 4 + 6 * threshold_of(POLICY, kind) / 0.72
    assert crossing - 1 <= found.lead <= crossing + 1
    assert found.peak == pytest.approx(0.72, abs=0.02)
    assert actionable((found,)) == ()


def test_pressure_that_does_not_last_or_is_below_its_threshold_is_none() -> None:
    snapshot, forecast = world()
    assert foresee(snapshot, with_pressure(forecast, "psi_cpu", (0, 35, 35)), POLICY).contention == ()
    late = msgspec.structs.replace(POLICY, min_duration=8)
    assert foresee(snapshot, with_pressure(forecast, "psi_cpu", (0, 0, 60)), late).contention == ()


def test_a_threshold_of_nothing_turns_pressure_off() -> None:
    snapshot, forecast = world()
    forecast = with_pressure(forecast, "psi_memory", (90, 90, 90))
    off = msgspec.structs.replace(POLICY, threshold_psi_memory=0.0)
    assert len(foresee(snapshot, forecast, POLICY).contention) == 1
    assert foresee(snapshot, forecast, off).contention == ()


def test_unknown_pressure_is_no_contention() -> None:
    snapshot, forecast = world()
    forecast = with_pressure(forecast, "psi_io", (90, math.nan, 90))
    assert foresee(snapshot, forecast, POLICY).contention == ()


def test_pressure_and_demand_are_told_together_soonest_first() -> None:
    snapshot, forecast = world(cpu=0.95)
    found = foresee(snapshot, with_pressure(forecast, "psi_io", (0, 0, 60)), POLICY).contention
    assert [c.cause for c in found] == ["demand", "pressure"]
    assert found[0].lead < found[1].lead


def test_every_dimension_and_pressure_has_its_threshold() -> None:
    assert threshold_of(POLICY, "cpu") == 0.8
    assert threshold_of(POLICY, "memory") == POLICY.threshold_memory
    assert [threshold_of(POLICY, kind) for kind in PRESSURES] == pressure_thresholds(POLICY).tolist()
    with pytest.raises(KeyError):
        threshold_of(POLICY, "net")


def test_the_likeliest_stretch_is_the_one_of_the_largest_smallest_chance() -> None:
    chance = np.array([[0.1, 0.4, 0.2, 0.3, 0.3, np.nan], [np.nan] * 6])
    assert likeliest(chance, 2).tolist() == [3, 0]
    assert likeliest(chance, 1).tolist() == [1, 0]


def test_contention_from_before_there_were_proofs_is_unproven_demand() -> None:
    old = b'{"host":"h1","dimension":"cpu","probability":0.9,"starts_at":1.0,"lead":2.0,"peak":0.9}'
    read = msgspec.json.decode(old, type=Contention)
    assert (read.proven, read.cause) == (False, "demand")
