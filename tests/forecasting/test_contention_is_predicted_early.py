"""The whole point: a host that is filling up is named well before it is full, and the others are not."""

from __future__ import annotations

import numpy as np
from conftest import SnapshotMaker

from sidestep.fleet.contention import predict_contention
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.inventory import OracleSpec, Policy
from sidestep.fleet.labels import scrub
from sidestep.fleet.snapshot import Snapshot
from sidestep.forecasting import wire
from sidestep.forecasting.client import row_of
from sidestep.forecasting.expand import curves_of, make
from sidestep.forecasting.service import Service

HOSTS, SHARDS, CAPACITY, CROSSING = 4, 3, 0.3, 80
#: seeds that no constant was chosen on
SEEDS = range(7000, 7016)


def busy(seed: int, steps: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Hosts (H, K) and shards (H * 3, K) in cores: Poisson requests, a minute-long day, one ramp from t=25."""
    rng = np.random.default_rng(seed)
    times = np.arange(steps)
    base = rng.uniform(0.08, 0.12, HOSTS)
    day = 1 + 0.15 * np.sin(2 * np.pi * times / 60 + rng.uniform(0, 2 * np.pi))
    load = (base[:, None] * day)[:, None, :] * rng.dirichlet(np.full(SHARDS, 8.0), HOSTS)[:, :, None]
    victim = int(rng.integers(HOSTS))
    slope = (0.8 * CAPACITY - base[victim]) / (CROSSING - 25)
    load[victim, 0] += np.clip(times - 25, 0, None) * slope
    used = rng.poisson(load * 2000) / 2000 * np.exp(0.05 * rng.standard_normal(load.shape))
    return used.sum(axis=1), used.reshape(-1, steps), victim


def forecast_of(service: Service, snapshot: Snapshot) -> Forecast:
    row = row_of(snapshot)
    answer = service.answer(wire.Ask((row,), LEVELS))
    assert row.names is not None
    curves = curves_of(answer, HOSTS, HOSTS * SHARDS)
    return make(snapshot, 1.0, curves, None, model=scrub(answer.model), confidence=answer.confidence, accounts=())


def alarms(seed: int, make_snapshot: SnapshotMaker) -> tuple[list[int], set[str], str]:
    """When the ramping host was named, which other hosts were, and its name."""
    hosts, shards, victim = busy(seed, CROSSING)
    service = Service(OracleSpec(model="trend", season=60.0), 60.0)
    name, when, others = f"host-{victim}", [], set()
    for at in range(CROSSING):
        snapshot = make_snapshot(at + 1, hosts[:, at], shards[:, at], capacity=CAPACITY)
        forecast = forecast_of(service, snapshot)
        assert forecast.model == "trend", forecast.fallback
        if forecast.confidence != "ok":
            continue
        named = {c.host for c in predict_contention(snapshot, forecast, Policy())}
        others |= named - {name}
        if name in named:
            when.append(at)
    return when, others, name


def test_a_ramp_is_seen_20_seconds_ahead_and_steady_hosts_are_left_alone(make_snapshot: SnapshotMaker) -> None:
    """S5.6, S1.1: contention is predicted before it happens."""
    early, disturbed = 0, 0
    for seed in SEEDS:
        when, others, _ = alarms(seed, make_snapshot)
        early += bool(when) and CROSSING - when[0] >= 20
        disturbed += bool(others)
    assert early >= 0.9 * len(SEEDS)
    assert disturbed <= 1
