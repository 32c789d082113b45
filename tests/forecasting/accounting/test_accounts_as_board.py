"""The ledgers of a fleet become one board, which is stored and told as it was measured (S4.22)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ledger_doubles import NORMAL, around, at_all

from sidestep.autopilot import accuracy_report as report
from sidestep.autopilot.accuracy_apps import with_apps
from sidestep.autopilot.accuracy_store import AccuracyStore
from sidestep.fleet.accuracy import PEAK, AccuracyBoard, rows_of
from sidestep.fleet.resources import HOST_SERIES, SHARD_SERIES
from sidestep.forecasting.accounting import Ledger, PeakLedger
from sidestep.forecasting.accounting.board import board

HOSTS, SHARDS, STEP = ("web-1", "web-2"), ("s-1", "s-2", "s-3"), 5.0


@pytest.fixture(scope="module")
def found() -> AccuracyBoard:
    """Two hosts and three shards after 300 steps: forecasts of web-2's net are wrong, those of s-3's cpu perfect."""
    hosts, count = len(HOSTS) * len(HOST_SERIES), len(HOSTS) * len(HOST_SERIES) + len(SHARDS) * len(SHARD_SERIES)
    ledger, peaks = Ledger(count, 30), PeakLedger(hosts, (6,))
    series = 50 + np.random.default_rng(1).standard_normal((331, count)).cumsum(axis=0)
    wrong = len(HOST_SERIES) + HOST_SERIES.index("net")
    right = hosts + 2 * len(SHARD_SERIES)
    for step in range(300):
        said = around(at_all(series[step], ledger))
        said[wrong] += 40
        said[right] = series[step + ledger.horizons, right][:, None] + NORMAL
        ledger.settle(series[step], said, at_all(series[step], ledger))
        peaks.settle(series[step, :hosts], (series[step, :hosts, None] + 1)[..., None] + NORMAL)
    served = np.zeros(count, np.uint8)
    served[right] = 1
    return board(99.0, STEP, HOSTS, SHARDS, ledger, peaks, models=("aggregate", "theta"), served=served)


def test_every_series_is_under_its_own_name(found: AccuracyBoard) -> None:
    assert [(part.kind, part.of) for part in found.sections] == [("host", "value"), ("host", PEAK), ("shard", "value")]
    rows = [row for part in found.sections for row in rows_of(found.time, part)]
    assert {row.horizon for row in rows if row.of != PEAK} == {STEP * ahead for ahead in (1, 3, 8, 18, 30)}
    assert {row.horizon for row in rows if row.of == PEAK} == {6 * STEP}
    bad = {(row.name, row.metric) for row in rows if row.of != PEAK and row.skill is not None and row.skill < -1}
    good = {(row.name, row.metric) for row in rows if row.skill is not None and row.skill > 0.9}
    assert bad == {("web-2", "net")}
    assert good == {("s-3", "cpu")}
    assert {(row.name, row.metric) for row in rows if row.model == "theta"} == {("s-3", "cpu")}


def test_from_ledger_to_table(found: AccuracyBoard, tmp_path: Path) -> None:
    """The whole way: measured, pooled by app, stored, asked for, told."""
    said: list[str] = []
    store = AccuracyStore(tmp_path / "accuracy.sqlite", said.append)
    assert store.put(with_apps(found, ("shop", "shop", "mail")))
    table = report.score_table(store.query("host", "web-2", "net"))
    assert len(table) == 1 + 5
    assert all(line[3].startswith("-") for line in table[1:])
    assert report.fleet_table(store.newest("host"), 1)[1][:2] == ["web-2", "net"]
    assert "less than persistence" in report.sentences(store.query("app", "mail", "cpu"), 100.0)[1]
    assert store.query("shard", "s-3", "cpu")[0].skill == pytest.approx(1.0, abs=1e-3)
    assert said == []


def test_whose_contention_is_foreseen_is_not_reactive_on_the_board() -> None:
    ledger = Ledger(len(HOST_SERIES), 1)
    ledger._reactive[:] = True
    foreseen = np.arange(len(HOST_SERIES)) == 0
    part = board(0.0, 1.0, ("a",), (), ledger, foreseen=foreseen).sections[0]
    assert part.arrays()[2][0].tolist() == [False] + [True] * (len(HOST_SERIES) - 1)
