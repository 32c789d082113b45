"""What the worker does with rows, in this process: it learns, forecasts, keeps account, and chooses what to serve."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import SnapshotMaker

from sidestep.fleet.errors import ProtocolError, UsageError
from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.inventory import OracleSpec
from sidestep.forecasting import wire
from sidestep.forecasting.client import row_of
from sidestep.forecasting.service import Service


def serve(service: Service, rows: np.ndarray, make_snapshot: SnapshotMaker, start: int = 1) -> list[wire.Answer]:
    shots = [make_snapshot(start + at, row) for at, row in enumerate(rows)]
    return [service.answer(wire.Ask((row_of(shot),), LEVELS)) for shot in shots]


def test_persistence_is_served_while_the_model_is_clearly_worse(make_snapshot: SnapshotMaker) -> None:
    """S1.5: beats the baseline, else the baseline is served."""
    service = Service(OracleSpec(step=1.0, model="seasonal", season=20.0), 10.0)
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
    service = Service(OracleSpec(step=1.0, min_steps=20), 10.0)
    rows = np.full((30, 2), 0.1)
    rows[5:10] = np.nan
    said = [answer.confidence for answer in serve(service, rows, make_snapshot)]
    assert said == ["insufficient"] * 24 + ["ok"] * 6


def test_hosts_that_come_and_go_keep_their_own_history(make_snapshot: SnapshotMaker) -> None:
    service = Service(OracleSpec(step=1.0, season=0.0), 5.0)
    for at in range(30):
        service.learn(row_of(make_snapshot(at + 1, np.array([1.0, 5.0]), names=("a", "b"))))
    ask = wire.Ask((row_of(make_snapshot(31, np.array([9.0, 5.0]), names=("c", "b"))),), LEVELS)
    answer = service.answer(ask)
    found = wire.from_bytes(answer.hosts, (2, 6, len(answer.knots), len(LEVELS)), "hosts")[:, 0, 0]
    assert found[1, 4] == pytest.approx(5.0, rel=1e-3)
    known, fresh = found[1, -1] - found[1, 0], found[0, -1] - found[0, 0]
    assert known < 0.05
    assert found[0, 4] == pytest.approx(9.0, rel=1e-3)
    assert fresh > max(0.1, 4 * known), "one value says less than thirty"
    assert found[0, 0] > 5.0, "the past of the host that went, which used 1.0, is not that of the one that came"


def test_an_empty_fleet_can_be_forecast_and_can_grow(make_snapshot: SnapshotMaker) -> None:
    service = Service(OracleSpec(step=1.0), 5.0)
    service.answer(wire.Ask((row_of(make_snapshot(1, np.zeros(0))),), LEVELS))
    answer = service.answer(wire.Ask((row_of(make_snapshot(2, np.array([0.2]))),), LEVELS))
    assert len(answer.hosts) == 6 * len(answer.knots) * len(LEVELS) * 4


def test_what_does_not_fit_is_refused_by_name(make_snapshot: SnapshotMaker) -> None:
    with pytest.raises(UsageError, match="unknown model 'magic'"):
        Service(OracleSpec(model="magic"), 5.0)
    row = row_of(make_snapshot(1, np.array([0.2])))
    broken = wire.Row(row.number, row.time, row.host_use[:-1], row.shard_use, row.names)
    with pytest.raises(ProtocolError, match="host use: 23 bytes"):
        Service(OracleSpec(step=1.0), 5.0).learn(broken)
