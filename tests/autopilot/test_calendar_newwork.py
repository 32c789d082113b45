"""New work as the daemon expects it: from snapshots, kept over restarts."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import numpy as np

from sidestep.autopilot.calendar_newwork import NewWork
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.newwork import RequestClass
from sidestep.fleet.resources import DIMENSIONS
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot

DAY, HOUR = 86400.0, 3600.0
MIDNIGHT = 1_760_000_000 // DAY * DAY
NAMES = (Label("web-1"), Label("report"))


def snapshot(time: float, report: ShardState) -> Snapshot:
    one = np.ones((1, len(DIMENSIONS)))
    use = np.full((2, len(DIMENSIONS)), np.nan)
    use[:, :2] = [[1.0, 1e8], [3.0, 2e9]]
    if report is not ShardState.RUNNING:
        use[1] = np.nan
    hosts = HostColumns(
        names=(Label("h0"),), states=(HostState.READY,), reasons=(Label(""),), zones=(Label(""),), capacity=one,
        allocatable=one.copy(), use=one.copy(), pressure=np.zeros((1, 3)), age=np.zeros(1),
    )  # fmt: skip
    shards = ShardColumns(
        names=NAMES, apps=(Label("shop"), Label("reports")), states=(ShardState.RUNNING, report),
        host=np.zeros(2, np.int32), use=use, state_bytes=np.zeros(2), priority=np.ones(2, np.int32),
        token=np.ones(2, np.int64), movable=np.ones(2, np.bool_),
    )  # fmt: skip
    return Snapshot(number=1, time=time, generation=1, hosts=hosts, shards=shards)


def nights(work: NewWork, days: int, unknown: float = -1.0) -> float:
    """A report runs from 02:00 to 03:00; ``unknown`` seconds into it the host is out of reach for a minute."""
    for time in np.arange(MIDNIGHT, MIDNIGHT + days * DAY, 60.0).tolist():
        into = time % DAY - 2 * HOUR
        state = ShardState.RUNNING if 0 <= into < HOUR else ShardState.STOPPED
        work.look(snapshot(time, ShardState.DEGRADED if unknown <= into < unknown + 240 else state))
    return MIDNIGHT + days * DAY


def test_a_shard_that_is_started_every_night_is_expected_and_known_after_a_restart(tmp_path: Path) -> None:
    """S4.13."""
    path = tmp_path / "state" / "newwork.json"
    work = NewWork(path)
    now = nights(work, 3, unknown=1200.0)
    (found,) = work.expected(now, 3 * HOUR)
    assert (found.name, found.app, found.speculative) == ("report", "reports", True)
    assert abs(found.begins - now - 2 * HOUR) <= 60
    assert abs(found.lasts - HOUR) <= 120, "a host out of reach for minutes does not end it"
    assert found.demand[0][0] == 3.0
    work.save()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = NewWork(path)
    assert again.trouble == ""
    assert again.expected(now, 3 * HOUR) == (found,)
    assert [rate.kind for rate in again.hit_rates()] == ["seasonal", "template"]


def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path) -> None:
    path = tmp_path / "newwork.json"
    path.write_text('{"seasonal": {}, "templates": 3}')
    work = NewWork(path)
    assert "begins anew" in work.trouble
    assert not path.exists() and path.with_name("newwork.json.damaged").exists()
    work.save()
    assert NewWork(path).trouble == ""


def test_rising_requests_are_matched_to_the_apps_that_run() -> None:
    """S4.13 b: templates are the fleet's own apps with what their shards need."""
    work = NewWork()
    work.look(snapshot(MIDNIGHT, ShardState.STOPPED))
    for at, count in enumerate([1, 2, 1, 1, 2, 40, 60, 80]):
        work.requests(MIDNIGHT + 60 * at, 60.0, [RequestClass(name=Label("web shop refund"), count=float(count))])
    (found,) = work.expected(MIDNIGHT + 480, 60.0)
    assert (found.kind, found.template, found.app) == ("template", "shop", "shop")
    assert found.demand == ((1.0, 1.0, 1.0), (1e8, 1e8, 1e8))


def test_a_fleet_without_shards_expects_nothing() -> None:
    work = NewWork()
    empty = snapshot(MIDNIGHT, ShardState.STOPPED)
    none = np.zeros(0)
    shards = replace(
        empty.shards, names=(), apps=(), states=(), host=none.astype(np.int32), use=np.zeros((0, len(DIMENSIONS))),
        state_bytes=none, priority=none.astype(np.int32), token=none.astype(np.int64), movable=none.astype(np.bool_),
    )  # fmt: skip
    for minute in range(5):
        work.look(replace(empty, time=MIDNIGHT + 60.0 * minute, shards=shards))
    assert work.expected(MIDNIGHT + 300, DAY) == ()
