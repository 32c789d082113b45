"""Forecasts are held against what came, and a model that is worse than nothing is not served."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import SnapshotMaker

from sidestep.fleet.errors import ProtocolError, UsageError
from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.inventory import OracleSpec
from sidestep.forecasting import wire
from sidestep.forecasting.accounts import Accounts
from sidestep.forecasting.client import row_of
from sidestep.forecasting.service import Service


def band(center: np.ndarray, width: float, horizons: int) -> np.ndarray:
    return np.stack([np.repeat(center[:, None] + d, horizons, axis=1) for d in (-width, 0.0, width)], axis=-1)


def test_nothing_is_claimed_before_anything_was_scored() -> None:
    own, plain = Accounts("trend", 2, 10).rows()
    assert (own.model, plain.model) == ("trend", "persistence")
    assert own.scored == 0
    assert math.isnan(own.skill)
    assert math.isnan(own.coverage)


def test_skill_and_coverage_are_what_they_say() -> None:
    """Truth climbs by 1 a step; persistence is wrong by the horizon, the model by half of it."""
    accounts = Accounts("trend", 3, 5)
    for at in range(60):
        truth = np.full(3, 100.0 + at)
        model = np.stack([band(truth + h / 2, h, 1)[:, 0] for h in accounts.horizons], axis=1)
        accounts.settle(truth, model, band(truth, 0.5, len(accounts.horizons)))
    own, plain = accounts.rows()
    assert own.skill == pytest.approx(0.5, abs=0.01)
    assert own.coverage == pytest.approx(1.0)
    assert plain.coverage == 0.0
    assert plain.skill == 0.0
    assert own.scored == sum((60 - int(h)) * 3 for h in accounts.horizons)
    for _, skill, inside in accounts.by_horizon():
        assert skill == pytest.approx(0.5, abs=0.01)
        assert inside == pytest.approx(1.0)


def test_missing_truth_is_not_scored_and_new_hosts_start_empty() -> None:
    accounts = Accounts("trend", 2, 1)
    said = band(np.array([1.0, 1.0]), 0.1, 1)
    accounts.settle(np.array([1.0, 1.0]), said, said)
    accounts.settle(np.array([np.nan, 1.0]), said, said)
    assert accounts.scored == 1
    accounts.select(np.array([1, -1]))
    accounts.settle(np.array([1.0, 1.0]), said, said)
    assert accounts.scored == 2


def serve(service: Service, rows: np.ndarray, make_snapshot: SnapshotMaker, start: int = 1) -> list[wire.Answer]:
    shots = [make_snapshot(start + at, row) for at, row in enumerate(rows)]
    return [service.answer(wire.Ask(row_of(shot), LEVELS)) for shot in shots]


def test_persistence_is_served_while_the_model_is_clearly_worse(make_snapshot: SnapshotMaker) -> None:
    """S1.5: beats the baseline, else the baseline is served."""
    service = Service(OracleSpec(model="seasonal", season=20.0), 10.0)
    walk = 100 + np.cumsum(np.random.default_rng(1).standard_normal((400, 3)), axis=0)
    answers = serve(service, walk, make_snapshot)
    assert answers[20].model == "seasonal"
    assert answers[-1].model == "persistence"
    assert "seasonal is worse than persistence" in answers[-1].fallback
    day = 100 + 10 * np.sin(2 * np.pi * np.arange(1200) / 20)[:, None] + np.zeros(3)
    better = serve(service, day, make_snapshot, 401)
    assert better[-1].model == "seasonal"
    assert better[-1].fallback == ""


def test_confidence_is_insufficient_until_enough_valid_steps(make_snapshot: SnapshotMaker) -> None:
    service = Service(OracleSpec(min_steps=20), 10.0)
    rows = np.full((30, 2), 0.1)
    rows[5:10] = np.nan
    said = [answer.confidence for answer in serve(service, rows, make_snapshot)]
    assert said == ["insufficient"] * 24 + ["ok"] * 6


def test_hosts_that_come_and_go_keep_their_own_history(make_snapshot: SnapshotMaker) -> None:
    service = Service(OracleSpec(season=0.0), 5.0)
    for at in range(30):
        service.learn(row_of(make_snapshot(at + 1, np.array([1.0, 5.0]), names=("a", "b"))))
    ask = wire.Ask(row_of(make_snapshot(31, np.array([9.0, 5.0]), names=("c", "b"))), LEVELS)
    answer = service.answer(ask)
    found = wire.from_bytes(answer.hosts, (2, 2, 5, len(LEVELS)), "hosts")[:, 0, 0]
    assert found[1, 4] == pytest.approx(5.0, rel=1e-3)
    assert found[1, -1] - found[1, 0] < 0.5
    assert found[0, 4] == pytest.approx(9.0, rel=1e-3)
    assert found[0, -1] - found[0, 0] > 1.0


def test_an_empty_fleet_can_be_forecast_and_can_grow(make_snapshot: SnapshotMaker) -> None:
    service = Service(OracleSpec(), 5.0)
    service.answer(wire.Ask(row_of(make_snapshot(1, np.zeros(0))), LEVELS))
    answer = service.answer(wire.Ask(row_of(make_snapshot(2, np.array([0.2]))), LEVELS))
    assert len(answer.hosts) == 2 * 5 * len(LEVELS) * 4


def test_what_does_not_fit_is_refused_by_name(make_snapshot: SnapshotMaker) -> None:
    with pytest.raises(UsageError, match="unknown model 'magic'"):
        Service(OracleSpec(model="magic"), 5.0)
    row = row_of(make_snapshot(1, np.array([0.2])))
    broken = wire.Row(row.number, row.time, row.hosts, row.shards, row.host_use[:-1], row.shard_use)
    with pytest.raises(ProtocolError, match="host use: 7 bytes"):
        Service(OracleSpec(), 5.0).learn(broken)
